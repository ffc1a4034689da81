"""What browsers are told: which origins may read, and what no cache may keep, on every answer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from verification.contract import http, promises
from verification.harness import capabilities as can
from verification.harness.claims import claim

if TYPE_CHECKING:
    from collections.abc import Iterable

    from verification.harness.http_client import Answer
    from verification.harness.target import Target

LISTED = "https://app.example.com"
FOREIGN = "https://app.example.com.evil.example"
ORIGINS = {
    "CORS_ORIGINS": f"https://other.example.com,{LISTED}",
    # So that a provider's trouble, which one claim needs, leaves nothing for the other.
    "BREAKER_MIN_FAILURES": "1000",
    "RETRY_BUDGET_START": "1000",
}
# What a page of another origin reads only when it is told that it may.
OURS = {*http.ALWAYS_SENT, *http.LIMIT_HEADERS, "Retry-After"}
HARDENED = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}

STATUSES = {
    "200": 200,
    "stream": 200,
    "401": 401,
    "404": 404,
    "422": 422,
    "health": 200,
    "503": 503,
}


def every_kind(target: Target, origin: str) -> dict[str, Answer]:
    """An answer of every kind that callers get, asked for by a page of `origin`."""
    user, told = target.new_user("pro"), {"origin": origin}
    for name in target.providers:
        target.provider(name).clear_rules()
    found = {
        "200": target.chat(user, "hello", headers=told).answer,
        "stream": target.chat(user, "hello", headers=told, stream=True).answer,
        "401": target.http.post(http.CHAT.path, json={"message": "hello"}, headers=told),
        "404": target.http.get("/api/nowhere", headers=told),
        "422": target.chat(user, None, headers=told).answer,
        "health": target.http.get(http.HEALTH.path, headers=told),
    }
    for name in target.providers:
        target.provider(name).fail(500)
    found["503"] = target.chat(user, "hello", headers=told).answer
    assert {kind: answer.status for kind, answer in found.items()} == STATUSES
    return found


def words(answer: Answer, header: str) -> set[str]:
    """The words of a list in a header, in small letters."""
    return lower(word.strip() for word in answer.headers.get(header, "").split(","))


def lower(names: Iterable[str]) -> set[str]:
    """Names of headers as they compare."""
    return {name.lower() for name in names}


@claim(
    "security.cors.listed-only",
    proves=[promises.CORS],
    needs=[can.USERS, can.SCRIPT],
    env=ORIGINS,
)
def test_only_a_listed_origin_may_read_and_errors_are_readable_too(target: Target) -> None:
    listed = every_kind(target, LISTED)
    foreign = every_kind(target, FOREIGN)

    allowed = {
        name: answer.headers.get("access-control-allow-origin") for name, answer in listed.items()
    }
    refused = {
        name: answer.headers.get("access-control-allow-origin") for name, answer in foreign.items()
    }
    assert allowed == dict.fromkeys(listed, LISTED)
    assert refused == dict.fromkeys(foreign)
    assert [
        name for name, one in listed.items() if "origin" not in one.headers.get("vary", "").lower()
    ] == []
    shown = {name: words(one, "access-control-expose-headers") for name, one in listed.items()}
    assert {name: lower(OURS) - told for name, told in shown.items()} == {
        name: set() for name in listed
    }
    # There are no cookies that a browser might send along.
    assert [
        name
        for name, one in (*listed.items(), *foreign.items())
        if "access-control-allow-credentials" in one.headers
    ] == []


@claim("security.cors.preflight", proves=[promises.CORS], env=ORIGINS)
def test_a_preflight_needs_no_key_and_allows_what_callers_send(target: Target) -> None:
    asked = {
        "origin": LISTED,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type",
    }

    answer = target.http.options(http.CHAT.path, headers=asked)
    foreign = target.http.options(http.CHAT.path, headers={**asked, "origin": FOREIGN})

    assert answer.status in {200, 204}
    assert answer.headers.get("access-control-allow-origin") == LISTED
    assert {"authorization", "content-type"} <= words(answer, "access-control-allow-headers")
    assert lower(route.method for route in http.ROUTES) <= words(
        answer, "access-control-allow-methods"
    )
    assert "access-control-allow-origin" not in foreign.headers


@claim(
    "security.headers.everywhere", proves=[promises.SECURITY_HEADERS], needs=[can.USERS, can.SCRIPT]
)
def test_every_answer_is_hardened_and_kept_by_no_cache(target: Target) -> None:
    answers = every_kind(target, FOREIGN)

    lacking = [
        f"{kind}: {name}"
        for kind, answer in answers.items()
        for name, value in HARDENED.items()
        if answer.headers.get(name) != value
    ]
    # A policy without a source, and years of HTTPS once it was spoken.
    unsafe = [
        kind
        for kind, answer in answers.items()
        if "default-src 'none'" not in answer.headers.get("content-security-policy", "")
        or not re.match("max-age=[0-9]{8}", answer.headers.get("strict-transport-security", ""))
    ]
    assert (lacking, unsafe) == ([], [])
    assert [kind for kind, answer in answers.items() if not answer.served_by] == []
