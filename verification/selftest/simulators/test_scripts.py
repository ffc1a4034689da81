"""Rules: which one answers, for how long, what it may say, and what is refused."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest

from verification.harness.http_client import Http
from verification.harness.simulated import SimulatorError
from verification.selftest.simulators.callers import ask

if TYPE_CHECKING:
    from verification.harness.simulated import SimulatedProvider, SimulatedStripe


def test_rules_answer_in_order_each_as_often_as_it_says(openai: SimulatedProvider) -> None:
    openai.fail(500, times=2)
    openai.fail(429, times=1)

    assert [ask(openai).status for _ in range(4)] == [500, 500, 429, 200]
    assert [call.rule is None for call in openai.journal()] == [False, False, False, True]


def test_a_rule_without_times_answers_until_it_is_forgotten(openai: SimulatedProvider) -> None:
    openai.fail(500)
    spoilt = [ask(openai).status for _ in range(3)]

    openai.clear_rules()

    assert (spoilt, ask(openai).status) == ([500] * 3, 200)


def test_a_rule_answers_only_the_calls_that_hold_its_text(openai: SimulatedProvider) -> None:
    openai.fail(500, contains='the "marked" é')

    asked = [ask(openai, text).status for text in ("a plain one", 'the "marked" é one')]

    assert asked == [200, 500]


def test_a_rule_answers_only_the_calls_with_its_key(openai: SimulatedProvider) -> None:
    openai.reply(key="sk-second", status=401)

    assert [ask(openai, key=key).status for key in ("sk-first", "sk-second")] == [200, 401]
    assert [call.key for call in openai.journal()] == ["sk-first", "sk-second"]


def test_a_refused_call_uses_no_rule_up(openai: SimulatedProvider) -> None:
    openai.fail(500, times=1)

    assert [ask(openai, model=None).status, ask(openai).status] == [400, 500]


def test_headers_are_added_replaced_and_removed(provider: SimulatedProvider) -> None:
    told = {"Retry-After": "7", "content-type": None, "x-several": ["1", "2"]}
    provider.reply(status=429, headers=told)

    headers = ask(provider).headers

    assert (headers["retry-after"], "content-type" in headers) == ("7", False)
    assert headers.get_list("x-several") == ["1", "2"]


def test_a_body_of_ones_own_is_sent_as_json(provider: SimulatedProvider) -> None:
    provider.reply(status=402, body={"error": None})

    answer = ask(provider)

    assert (answer.status, answer.body) == (402, b'{"error":null}')


def test_a_raw_body_is_sent_to_the_byte(provider: SimulatedProvider) -> None:
    raw = b"\xff\x00 no text"
    provider.reply(raw={"base64": base64.b64encode(raw).decode()}, times=1)
    provider.reply(raw="<html>bad gateway</html>", status=502)

    assert [ask(provider).body for _ in range(2)] == [raw, b"<html>bad gateway</html>"]


def test_a_raw_body_answers_a_stream_as_a_stream(provider: SimulatedProvider) -> None:
    provider.reply(raw=": comment\n\ndata: {\n\n")

    answer = ask(provider, stream=True)

    assert answer.body == b": comment\n\ndata: {\n\n"
    assert answer.headers["content-type"].startswith("text/event-stream")


def test_the_model_says_what_it_is_told(provider: SimulatedProvider) -> None:
    usage = {"prompt_tokens": 70, "completion_tokens": 9}
    provider.reply(chunks=["one ", "two"], finish_reason="length", usage=usage)

    plain, stream = ask(provider).text, ask(provider, stream=True).text

    assert ['"one two"' in plain, '"length"' in plain, ":70," in plain] == [True] * 3
    assert ['"one "' in stream, '"two"' in stream, '"length"' in stream] == [True] * 3


def test_what_a_reply_leaves_out_is_not_said(provider: SimulatedProvider) -> None:
    provider.reply(text="", finish_reason=None, usage=None)

    said = ask(provider).json()

    reason = said["choices"][0]["finish_reason"] if "choices" in said else said["stop_reason"]
    assert (reason, "usage" in said) == (None, False)


def test_a_stream_may_end_without_its_terminal(provider: SimulatedProvider) -> None:
    terminal = {"openai": "[DONE]", "anthropic": "message_stop"}[provider.name]
    provider.reply(omit_terminal=True, times=1)

    first, second = ask(provider, stream=True), ask(provider, stream=True)

    assert (first.is_complete, terminal in first.text) == (True, False)
    assert terminal in second.text


def test_an_error_may_come_inside_a_stream(provider: SimulatedProvider) -> None:
    provider.reply(chunks=["begun"], error_event={"message": "the model fell over"})

    answer = ask(provider, stream=True)

    *_, before, last = [line for line in answer.text.split("\n") if line.startswith("data")]
    assert (answer.status, answer.is_complete) == (200, True)
    assert ("begun" in before, "the model fell over" in last) == (True, True)


def test_the_journal_says_what_spoilt_an_answer(openai: SimulatedProvider) -> None:
    openai.reply(omit_terminal=True, times=1)
    openai.reply(text="fine", times=1)

    for _ in range(2):
        assert ask(openai, stream=True).is_complete

    assert [call.flaw for call in openai.journal()] == ["omit_terminal", None]


WRONG_REPLIES: dict[str, tuple[dict[str, Any], str]] = {
    "unknown": ({"stauts": 500}, "unknown field 'stauts'"),
    "status": ({"status": "500"}, "a whole number from 200 to 599"),
    "bodiless": ({"status": 204}, "that goes with a body"),
    "true is no number": ({"split_bytes": True}, "a whole number from 1"),
    "negative": ({"delay_s": -1}, "seconds from 0 to 3600"),
    "header": ({"headers": {"a": "b\r\nc: d"}}, "a Latin-1 line"),
    "raw": ({"raw": {"base64": "%"}}, "a text, or"),
    "chunks": ({"chunks": ["a", 1]}, "a list of texts"),
    "usage": ({"usage": {"prompt_tokens": 1}}, "prompt_tokens and completion_tokens"),
    "cut": ({"cut": "FIN"}, '"fin", "rst" or "half"'),
    "both bodies": ({"body": {}, "raw": ""}, "body or raw, got both"),
    "both texts": ({"text": "", "chunks": []}, "text or chunks, got both"),
    "no gate": ({"hold_after_chunks": 1}, "hold or hang beside it"),
}


@pytest.mark.parametrize(("reply", "expected"), WRONG_REPLIES.values(), ids=list(WRONG_REPLIES))
def test_a_reply_that_cannot_be_followed_is_refused(
    openai: SimulatedProvider, reply: dict[str, Any], expected: str
) -> None:
    with pytest.raises(SimulatorError) as refused:
        openai.reply(**reply)

    assert expected in str(refused.value)
    assert ask(openai).status == 200


WRONG_RULES: dict[str, tuple[object, str]] = {
    "no list": ({"rules": {}}, "rules: expected a list"),
    "another field": ({"rules": [], "extra": 1}, "unknown field 'extra'"),
    "a rule's field": ({"rules": [{"time": 1}]}, "rules[0]: rule: unknown field 'time'"),
    "a match": ({"rules": [{"match": {"body": "x"}}]}, "match: unknown field 'body'"),
    "a match's type": ({"rules": [{"match": {"key": 1}}]}, "match.key: expected a text, got 1"),
    "times": ({"rules": [{"times": 0}]}, "times: expected a whole number from 1"),
}


@pytest.mark.parametrize(("body", "expected"), WRONG_RULES.values(), ids=list(WRONG_RULES))
def test_a_rule_that_cannot_be_read_is_refused(
    openai: SimulatedProvider, body: object, expected: str
) -> None:
    answer = Http(openai.control_url).post("/_control/rules", json=body)

    assert (answer.status, expected in answer.json()["error"]) == (400, True)


def test_of_several_rules_with_a_wrong_one_none_is_taken(openai: SimulatedProvider) -> None:
    with pytest.raises(SimulatorError, match=r"rules\[1\]"):
        openai.rules({"reply": {"status": 500}}, {"reply": {"status": 7}})

    assert ask(openai).status == 200


def test_what_control_does_not_know_is_said(openai: SimulatedProvider) -> None:
    http = Http(openai.control_url)

    answers = [
        http.get("/_control/rulez"),
        http.post("/_control/rules", content=b"{"),
        http.get("/_control/journal?sinse=1"),
        http.post("/_control/gates", json={"open": 1}),
    ]

    assert [answer.status for answer in answers] == [404, 400, 400, 400]
    assert all("expected" in answer.json()["error"] for answer in answers)


def test_stripe_takes_no_fields_of_chat(stripe: SimulatedStripe) -> None:
    with pytest.raises(SimulatorError, match="unknown field 'chunks'"):
        stripe.reply(chunks=[])
