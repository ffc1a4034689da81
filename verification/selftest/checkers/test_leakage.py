"""The scan for leaks: what it must find, in which codings, and what it must let stand."""

from __future__ import annotations

import base64
import hashlib
import json
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verification.checkers.leakage import Canary, CanaryError, Kind, LeaksNothing, find
from verification.history import History, Outcome

SECRET = Canary(
    "OPENAI_API_KEY", "sk-proj-canary/5f3a+9c1e7b2d4f608a7c5e3b1d9f0a2c", Kind.SECRET,
    ("provider:openai",),
)  # fmt: skip
TEXT = Canary("message of u1", "a heron named Ödön 3141", Kind.TEXT, ("answer:u1", "provider:*"))
PERSON = Canary("user u1", "vfy-person-1234", Kind.IDENTITY)


def said(*texts: tuple[str, str]) -> History:
    history = History()
    for channel, text in texts:
        history.add(
            process="scan",
            f="said",
            value={"channel": channel, "text": text},
            outcome=Outcome.OK,
            started_s=0.0,
            finished_s=0.0,
        )
    return history


HOME = ("provider:openai", f"authorization: Bearer {SECRET.value}")


def test_a_secret_at_home_and_nowhere_else_is_no_leak() -> None:
    assert LeaksNothing([SECRET])(said(HOME, ("log", "all is well"))).valid is True


def test_a_leak_is_told_by_name_and_place_and_never_by_value() -> None:
    verdict = LeaksNothing([SECRET])(said(HOME, ("log", f"calling with {SECRET.value}")))

    assert verdict.first == "OPENAI_API_KEY (secret) stands plain in log"
    assert SECRET.value not in str(verdict)


def test_the_text_of_a_user_may_stand_in_their_own_answer_only() -> None:
    own, other = ("answer:u1", f"echo: {TEXT.value}"), ("answer:u2", f"echo: {TEXT.value}")

    assert LeaksNothing([TEXT])(said(own)).valid is True
    assert LeaksNothing([TEXT])(said(own, other)).valid is False


@pytest.mark.parametrize(
    "coded",
    [
        pytest.param(base64.b64encode(SECRET.value.encode()).decode(), id="base64"),
        pytest.param(base64.urlsafe_b64encode(b"k:" + SECRET.value.encode()).decode(), id="basic"),
        pytest.param(quote(SECRET.value, safe=""), id="percent"),
        pytest.param(SECRET.value.encode().hex().upper(), id="hex"),
        pytest.param(json.dumps(SECRET.value).replace("/", "\\/"), id="json"),
        pytest.param(SECRET.value.upper(), id="upper-case"),
        pytest.param(SECRET.value[::-1], id="backwards"),
        pytest.param(f"sk-***{SECRET.value[-26:]}", id="half-masked"),
    ],
)
def test_a_coded_secret_is_found(coded: str) -> None:
    assert LeaksNothing([SECRET])(said(HOME, ("log", f"x={coded};"))).valid is False


def test_non_ascii_text_is_found_as_json_writes_it() -> None:
    assert LeaksNothing([TEXT])(said(("log", json.dumps({"m": TEXT.value})))).valid is False


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha256"])
def test_an_unsalted_digest_of_a_person_is_found(algorithm: str) -> None:
    digest = hashlib.new(algorithm, PERSON.value.encode()).hexdigest()

    assert LeaksNothing([PERSON])(said(("metrics", f'user="{digest[:16]}"'))).valid is False


def test_a_salted_digest_of_a_person_is_no_leak() -> None:
    digest = hashlib.sha256(b"salt" + PERSON.value.encode()).hexdigest()

    assert LeaksNothing([PERSON, SECRET])(said(HOME, ("log", digest))).valid is True


def test_a_digest_of_a_secret_is_no_leak() -> None:
    digest = hashlib.sha256(SECRET.value.encode()).hexdigest()

    assert LeaksNothing([SECRET])(said(HOME, ("database", digest))).valid is True


@pytest.mark.parametrize(
    "history", [History(), said(("log", "nothing")), said()], ids=["empty", "no-find", "no-text"]
)
def test_a_scan_that_finds_no_canary_at_all_says_nothing(history: History) -> None:
    assert LeaksNothing([SECRET])(history).valid is None


def test_a_canary_that_could_occur_by_accident_is_refused() -> None:
    with pytest.raises(CanaryError, match="expected 8 characters or more"):
        Canary("short", "abc")


@settings(deadline=None)
@given(before=st.binary(max_size=9), after=st.binary(max_size=9), safe=st.booleans())
def test_base64_is_found_wherever_it_stands(before: bytes, after: bytes, *, safe: bool) -> None:
    encode = base64.urlsafe_b64encode if safe else base64.b64encode

    text = encode(before + SECRET.value.encode() + after).decode()

    assert [leak.form.startswith("in base64") for leak in find([SECRET], "log", text)] == [True]


@settings(deadline=None)
@given(text=st.text(max_size=200))
def test_a_text_without_the_canary_is_never_accused(text: str) -> None:
    assert list(find([SECRET, PERSON], "log", text)) == []
