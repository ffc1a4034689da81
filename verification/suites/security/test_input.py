"""What callers send: refused with the right 4xx, or taken as it is; never a 5xx, never a guess."""

from __future__ import annotations

from typing import TYPE_CHECKING

from verification.contract import http, promises
from verification.harness import capabilities as can
from verification.harness.claims import claim

if TYPE_CHECKING:
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

    assert target.http.get("/api/nowhere").status == 404
    assert target.http.get(http.CHAT.path).status == 405
    assert target.http.post(http.HEALTH.path).status == 405
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
