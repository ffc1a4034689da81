"""A stream is what the provider said, and then exactly one end, whatever happens on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from verification.contract import promises
from verification.contract.http import CHAT_FIELDS, USAGE_FIELDS
from verification.harness.claims import claim
from verification.harness.waiting import eventually, together_over
from verification.suites.chat.test_fallbacks import MODELS, NEEDS, UNBROKEN

if TYPE_CHECKING:
    from verification.harness.chat_result import ChatResult
    from verification.harness.target import Target

TEXT = "日本語 👩‍👩‍👧 e\u0301 Ünïcode\r\n\n: comment? data: x\nevent: y\t\u2028 end"
PIECES = [TEXT[at : at + 3] for at in range(0, len(TEXT), 3)]
# Characters of three bytes, cut within two of three times, so far apart in time that even a busy
# machine reads most of the parts one by one.
WIDE = "日" * 600
APART_S = 0.02
# Each vendor's word for an answer that grew too long.
TOO_LONG = ["length", "max_tokens"]
BEGINNING = ["one ", "two ", "three "]
WHOLE = "".join(BEGINNING)
# Even a busy machine reads the first piece before the connection is reset.
BEGINS_S = 0.2
BROKEN: dict[str, dict[str, Any]] = {
    "closed in the middle": {"cut_after_chunks": 3, "cut": "fin"},
    "reset in the middle": {"cut_after_chunks": 3, "cut": "rst"},
    "without its end": {"omit_terminal": True},
    "without a reason": {"finish_reason": None},
    "an error inside": {"error_event": True},
    "silent in the middle": {"hold": "never", "hold_after_chunks": 3},
}


def ends_of(result: ChatResult) -> list[str]:
    """The events of a stream that are no tokens."""
    return [event.event for event in result.events if event.event != "token"]


@claim("chat.stream.any-split", proves=[promises.STREAM_ENDS_ONCE], needs=NEEDS, env=UNBROKEN)
def test_the_text_is_the_same_however_the_providers_bytes_are_cut(target: Target) -> None:
    user, results = target.new_user("enterprise"), []
    for model in MODELS:
        for size in (1, 2, 7):
            for name in target.providers:
                target.provider(name).clear_rules()
                target.provider(name).reply(chunks=PIECES, split_bytes=size)
            results.append(target.chat(user, "hello", stream=True, model=model))
    for name in target.providers:
        target.provider(name).clear_rules()
        target.provider(name).reply(chunks=[WIDE], split_bytes=100, chunk_delay_s=APART_S)
    slowly = together_over(
        MODELS, lambda model: target.chat(user, "hello", stream=True, model=model)
    )

    assert [result.reply for result in results] == [TEXT] * 6
    assert [result.reply for result in slowly] == [WIDE] * 2
    assert [ends_of(result) for result in (*results, *slowly)] == [["done"]] * 8
    assert [result.body["model"] for result in results] == [MODELS[0]] * 3 + [MODELS[1]] * 3
    assert [result.body["model"] for result in slowly] == MODELS


@claim(
    "chat.stream.broken",
    proves=[promises.NEVER_HALF_AN_ANSWER, promises.STREAM_ENDS_ONCE, promises.STREAM_IDLE],
    needs=NEEDS,
    env=UNBROKEN,
)
def test_a_stream_that_breaks_ends_in_one_error_and_is_never_spliced(target: Target) -> None:
    user, providers = target.new_user("enterprise"), [*map(target.provider, target.providers)]
    asked = [(kind, model) for model in MODELS for kind in BROKEN]
    for provider in providers:
        for kind, reply in BROKEN.items():
            provider.reply(contains=kind, chunks=BEGINNING, chunk_delay_s=BEGINS_S, **reply)

    answers = together_over(asked, lambda one: target.chat(user, one[0], stream=True, model=one[1]))
    results = dict(zip(asked, answers, strict=True))

    assert {one: ends_of(result) for one, result in results.items()} == {
        one: ["error"] for one in asked
    }
    assert {result.code for result in answers} == {"no_provider_available"}
    wrong = [one for one, result in results.items() if not WHOLE.startswith(result.reply)]
    assert wrong == []
    for provider, model in zip(providers, MODELS, strict=True):
        assert [call.body["model"] for call in provider.journal()] == [model] * len(BROKEN)


@claim(
    "chat.stream.long",
    proves=[promises.STREAM_IDLE],
    needs=NEEDS,
    env=UNBROKEN,
)
def test_a_healthy_stream_outlasts_the_time_out_of_a_call(target: Target) -> None:
    user = target.new_user("enterprise")
    pieces = [f"piece {number} " for number in range(25)]
    target.provider(target.providers[0]).reply(chunks=pieces, chunk_delay_s=0.1)

    result = target.chat(user, "hello", stream=True)

    assert (result.reply, ends_of(result)) == ("".join(pieces), ["done"])
    assert result.answer.seconds > 1.5 * float(UNBROKEN["S4_LLM_TIMEOUT"])


@claim("chat.answer.true", proves=[promises.CHAT_ANSWER], needs=NEEDS, env=UNBROKEN)
def test_an_answer_says_what_its_provider_said(target: Target) -> None:
    user, usage = target.new_user("enterprise"), {"prompt_tokens": 11, "completion_tokens": 31}
    told = list(zip(target.providers, MODELS, TOO_LONG, strict=True))
    for name, _, word in told:
        target.provider(name).reply(text="cut short", usage=usage, finish_reason=word)

    for name, model, _ in told:
        plain, streamed = (
            target.chat(user, "hello", stream=on, model=model) for on in (False, True)
        )
        both, calls = (plain, streamed), target.provider(name).journal()

        assert set(plain.body) >= CHAT_FIELDS
        assert set(plain.body["usage"]) == USAGE_FIELDS
        assert [one.body["usage"] for one in both] == [{**usage, "total_tokens": 42}] * 2
        assert [one.body["finish_reason"] for one in both] == ["length"] * 2
        assert [(one.reply, one.body["partial"]) for one in both] == [("cut short", True)] * 2
        assert [(one.body["provider"], one.body["model"]) for one in both] == [(name, model)] * 2
        assert (len(calls), plain.body["request_id"]) == (2, plain.request_id)


@claim("chat.stream.as-it-comes", proves=[promises.CHAT_ANSWER], needs=NEEDS, env=UNBROKEN)
def test_the_first_token_does_not_wait_for_the_last(target: Target) -> None:
    user, provider = target.new_user("enterprise"), target.provider(target.providers[0])
    provider.reply(chunks=["first ", "second"], hold="rest", hold_after_chunks=1)
    seen: list[bytes] = []

    def released(body: bytes) -> bool:
        if b"first" in body and not seen:
            seen.append(body)
            eventually(
                lambda: provider.release("rest"),
                until=lambda count: count >= 1,
                within_s=5.0,
                claim="the provider still holds the rest",
            )
        return False

    result = target.chat(user, "hello", stream=True, leave_when=released)

    assert (result.reply, len(seen)) == ("first second", 1)
