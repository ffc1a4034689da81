"""No secret gets past the mask, however it is spelt."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

import pytest

from llmhive.app.safety.masking import MASK, PRESENTED, Masker

SECRET = 'wh$ec/können+"quoted"\\0123'


@pytest.mark.parametrize(
    "text",
    [
        f"token = {SECRET}",
        f"auth: Bearer {SECRET}",
        json.dumps({"headers": [{"deep": {"deeper": SECRET}}]}),
        json.dumps({"raw": SECRET}, ensure_ascii=False),
        repr({"key": SECRET}),
        f"https://host/?key={quote(SECRET, safe='')}",
        "Basic " + base64.b64encode(f"{SECRET}:".encode()).decode(),
    ],
    ids=["plain", "bearer", "json", "json-utf8", "repr", "url", "basic"],
)
def test_a_configured_secret_is_masked_in_every_spelling(text: str) -> None:
    masked = Masker([SECRET]).text(text)

    assert MASK in masked
    assert "0123" not in masked


def test_what_a_caller_presented_is_masked_for_this_request() -> None:
    token = PRESENTED.set(("mistyped-key-of-a-caller",))

    masked = Masker().text("refused mistyped-key-of-a-caller")

    PRESENTED.reset(token)
    assert masked == f"refused {MASK}"


def test_our_own_keys_are_masked_whoever_they_belong_to() -> None:
    assert Masker().text("lhk_0123456789abcdef!") == f"{MASK}!"


def test_credentials_in_urls_are_masked() -> None:
    assert Masker().text("redis://user:pw@host/0") == f"redis://{MASK}@host/0"


def test_the_longer_of_two_secrets_is_masked_whole() -> None:
    masked = Masker(["abcdefgh", "abcdefghijkl"]).text("abcdefghijkl")

    assert masked == MASK


def test_ordinary_text_is_left_alone() -> None:
    text = "llmhive_http_requests_total https://example.com/a?b=c a basic thing"

    assert Masker(["", "ab"]).text(text) == text


def test_lone_surrogates_survive() -> None:
    assert Masker([SECRET]).text("a\ud800b") == "a\ud800b"
