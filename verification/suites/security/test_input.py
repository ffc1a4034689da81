"""What callers send: refused with the right 4xx, or taken as it is; never a 5xx, never a guess."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from verification.contract import http, promises
from verification.harness import capabilities as can
from verification.harness.claims import claim

if TYPE_CHECKING:
    from collections.abc import Iterable

    from verification.harness.http_client import Answer
    from verification.harness.target import Target

# Body -> the status that it is refused with.
REFUSED: dict[str, tuple[bytes, int]] = {
    "no JSON": (b"hello", 400),
    "empty": (b"", 400),
    "cut": (b'{"message": "hel', 400),
    "not UTF-8": (b'{"message": "\xff\xfe"}', 400),
    "a list": (b'["hello"]', 422),
    "no message": (b"{}", 422),
    "an empty message": (b'{"message": ""}', 422),
    "a number": (b'{"message": 1}', 422),
    "null": (b'{"message": null}', 422),
    "an object": (b'{"message": {"text": "hello"}}', 422),
    "parts": (b'{"message": [{"type": "text", "text": "hello"}]}', 422),
    "stream as a word": (b'{"message": "hello", "stream": "yes"}', 422),
    "an unknown model": (b'{"message": "hello", "model": "no-such-model"}', 422),
    "an unknown field": (b'{"message": "hello", "temprature": 1}', 422),
    "not a number": (b'{"message": "hello", "max_tokens": NaN}', 400),
    "a very long number": (b'{"message": "hello", "n": 1e309}', 422),
    "five thousand deep": (b'{"message": ' + b"[" * 5000 + b"]" * 5000 + b"}", 400),
    "too long": (b'{"message": "' + b"x" * http.CHAT_BODY_BYTES_MAX + b'"}', 413),
}
# More than one status is right for these: JSON readers differ on them, the promise does not.
EITHER = frozenset({"not a number", "a very long number", "five thousand deep"})
# Message -> what some layer below might do to it.
VERBATIM = (
    "{",
    "{x} {0.__class__.__mro__}",
    "%s %d %(x)s",
    "${x} $(id) `id`",
    "\\n \\u0041",
    "<b>&amp;</b>",
    "日本語 👩‍👩‍👧 e\u0301",
    "\u202eright to left",
    "tab\there\nline",
    "'; DROP TABLE x;--",
)


@claim("security.input.refused", proves=[promises.INPUT_IS_CHECKED], needs=[can.USERS, can.SCRIPT])
def test_malformed_input_is_refused_with_its_4xx_and_costs_no_call(target: Target) -> None:
    user = target.new_user()

    answers = {
        case: target.http.post(http.CHAT.path, content=body, key=user.key)
        for case, (body, _) in REFUSED.items()
    }

    wrong = {
        case: answer.status
        for case, answer in answers.items()
        if answer.status not in ({400, 422} if case in EITHER else {REFUSED[case][1]})
    }
    unnamed = {
        case: answer.code
        for case, answer in answers.items()
        if http.ERROR_CODES.get(str(answer.code)) != answer.status
    }
    assert (wrong, unnamed) == ({}, {})
    assert target.provider(target.providers[0]).journal() == []


@claim("security.input.bounds", proves=[promises.INPUT_IS_CHECKED], needs=[can.USERS, can.SCRIPT])
def test_what_is_just_within_its_bounds_is_taken_and_what_is_beyond_them_is_not(
    target: Target,
) -> None:
    user, provider = target.new_user("enterprise"), target.provider(target.providers[0])
    provider.reply(text="taken")
    asked = b'{"message": "hello"}'
    widest = asked.ljust(http.CHAT_BODY_BYTES_MAX)
    # Characters count, of however many bytes.
    longest = "é" * http.MESSAGE_CHARACTERS_MAX
    form = {"content-type": "multipart/form-data; boundary=x"}

    def status(content: bytes | Iterable[bytes], headers: dict[str, str] | None = None) -> int:
        return target.http.post(
            http.CHAT.path, content=content, key=user.key, headers=headers
        ).status

    taken = [status(widest), status(iter([widest])), target.chat(user, longest).status]
    unannounced = status(iter([widest, b" "]))
    too_long = target.chat(user, longest + "é")

    assert taken == [200] * 3
    assert (unannounced, too_long.status, too_long.code) == (413, 422, "invalid_request")
    assert (status(asked, form), status(asked, {"content-encoding": "gzip"})) == (415, 415)
    assert len(provider.journal()) == len(taken)


@claim("security.input.verbatim", proves=[promises.INPUT_IS_CHECKED], needs=[can.USERS, can.SCRIPT])
def test_what_a_caller_says_reaches_the_provider_as_it_was_said(target: Target) -> None:
    user = target.new_user("pro")

    results = [target.chat(user, message) for message in VERBATIM]
    calls = target.provider(target.providers[0]).journal()

    sent = [call.body["messages"][-1]["content"] for call in calls]
    assert [result.status for result in results] == [200] * len(VERBATIM)
    assert sent == list(VERBATIM)


@claim("security.input.no-5xx", proves=[promises.INPUT_IS_CHECKED], needs=[can.USERS])
def test_text_that_cannot_be_encoded_is_no_server_error(target: Target) -> None:
    user = target.new_user("pro")
    texts = (r"\ud800", r"\u0000", r"\udc00\ud800", r"a\u0000b")
    bodies = [f'{{"message": "{text}", "conversation_id": "{text}"}}' for text in texts]
    bodies += [f'{{"message": "{text}", "stream": true}}' for text in texts]

    answers = [target.http.post(http.CHAT.path, content=body, key=user.key) for body in bodies]

    assert [str(answer) for answer in answers if answer.status not in {200, 400, 422}] == []
    assert [str(answer) for answer in answers if b"event: error" in answer.body] == []


@claim("security.input.methods-and-paths", proves=[promises.INPUT_IS_CHECKED])
def test_unknown_paths_methods_and_content_are_refused_by_name(target: Target) -> None:
    form = {"content-type": "multipart/form-data; boundary=x"}

    not_here = [target.http.get(http.CHAT.path), target.http.post(http.HEALTH.path)]

    allowed = [one.headers.get("allow", "") for one in not_here]
    assert target.http.get("/api/nowhere").status == 404
    assert [one.status for one in not_here] == [405] * 2
    assert ("POST" in allowed[0], "GET" in allowed[1]) == (True, True)
    assert target.http.post(http.CHAT.path, content=b"--x--", headers=form).status in {401, 415}


def wrong_with(answer: Answer) -> list[str]:
    """What an error lacks of a problem document; nothing when it is one."""
    body = answer.json() if isinstance(answer.json(), dict) else {}
    checks = {
        "content type": answer.headers.get("content-type", "").startswith(http.PROBLEM_TYPE),
        "fields": set(body) >= http.PROBLEM_FIELDS,
        "status": body.get("status") == answer.status,
        "request id": body.get("request_id") == answer.request_id,
        "code": http.ERROR_CODES.get(str(body.get("code"))) == answer.status,
    }
    return [f"{answer.request.url}: {what}" for what, is_right in checks.items() if not is_right]


@claim("security.errors.problems", proves=[promises.PROBLEM_ERRORS, promises.REQUEST_ID])
def test_every_error_is_a_problem_document_with_code_and_request_id(target: Target) -> None:
    answers = [
        target.http.get("/api/nowhere"),
        target.http.get(http.CHAT.path),
        target.http.post(http.CHAT.path, content=b"{"),
        target.http.post(http.WEBHOOKS.path, content=b"{}"),
        target.http.get(http.LEDGER.path),
    ]

    assert [answer.status for answer in answers if answer.status < 400] == []
    assert [wrong for answer in answers for wrong in wrong_with(answer)] == []


# What is no HTTP request at all -> the status and code that it is refused with.
NO_REQUESTS = {
    b"GET / HTTP/1.1\r\nHost: x\r\nBad Header\r\n\r\n": (400, "malformed_request"),
    b"\x16\x03\x01\x02nonsense\r\n\r\n": (400, "malformed_request"),
    b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * 90_000 + b"\r\n\r\n": (
        431,
        "headers_too_large",
    ),
}
# On every answer, whoever gives it.
ALWAYS = ("x-request-id", "x-served-by", "x-content-type-options", "cache-control", "vary")


@claim(
    "security.errors.no-request",
    proves=[promises.PROBLEM_ERRORS, promises.REQUEST_ID, promises.SECURITY_HEADERS],
)
def test_what_is_no_request_at_all_is_refused_as_every_other_error_is(target: Target) -> None:
    for sent, (status, code) in NO_REQUESTS.items():
        head, _, body = target.http.raw(sent, timeout_s=5.0).decode().partition("\r\n\r\n")
        first, *lines = head.split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in map(_parts, lines)}

        told = json.loads(body)
        assert first.split(" ")[1] == str(status) == str(told["status"])
        assert set(told) >= http.PROBLEM_FIELDS
        assert (told["code"], told["request_id"]) == (code, headers["x-request-id"])
        assert headers["content-type"].startswith(http.PROBLEM_TYPE)
        assert [name for name in ALWAYS if not headers.get(name)] == []


def _parts(line: str) -> tuple[str, str, str]:
    return line.partition(":")
