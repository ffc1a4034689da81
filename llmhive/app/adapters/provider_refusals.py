"""What a provider's refusal means: its status, its headers, and the error object in its body.

Money is told from rate by the error's own words, since vendors use 400, 402, 403 and 429 for
both. Sources: OpenAI, "Error codes"; Anthropic, "Errors" (both 2025-11).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson

from llmhive.app.orchestration.ports import ProviderError
from llmhive.app.orchestration.retries import AttemptEnd, end_of_status, retry_after_s

# Of these the caller's own words are the cause, so that no other provider would take them;
# every other 4xx means that this provider is not set up well.
CALLERS_OWN = frozenset({400, 413, 422})
MONEY_STATUSES = frozenset({400, 402, 403, 429})
# insufficient_quota, credit_balance_exhausted, *_spend_limit_exceeded, *_usage_limit_exceeded,
# enforced_spend_limit_reached, billing_error, billing_hard_limit_reached, budget_exceeded.
MONEY_CODE = re.compile(r"quota|credit|billing|budget|(spend|usage)_limit")
# "You exceeded your current quota", "Your credit balance is too low", "You have reached your
# specified API usage limits", "insufficient funds".
MONEY_WORDS = re.compile(
    r"quota|credit balance|insufficient (funds|credit|balance)|(spend|spending|usage|hard) limit",
    re.IGNORECASE,
)
# Vendors name the reason first; what they might quote of the caller's text comes later.
MESSAGE_START = 90
# OpenRouter: money that other requests hold now and will give back.
TRANSIENT_CODE = "in_flight_budget_exhausted"


def refusal(
    status: int, headers: Mapping[str, str], body: bytes, *, now_wall_s: float
) -> ProviderError:
    """Name what an answer other than 2xx means."""
    wait_s = retry_after_s(headers, now_wall_s=now_wall_s)
    end = _end(status, error_object(body))
    return ProviderError(end, f"The provider answered {status}.", wait_s=wait_s)


def told_error(error: object) -> ProviderError:
    """Name what an error object inside a 200 means: a failure, unless it is about money."""
    told = error if isinstance(error, dict) else {}
    end = AttemptEnd.QUOTA_EXHAUSTED if is_about_money(told) else AttemptEnd.INCOMPLETE
    return ProviderError(end, "The provider answered 200 and told of an error inside.")


def unreadable(detail: str) -> ProviderError:
    """An answer that is not of the promised shape."""
    return ProviderError(AttemptEnd.UNREADABLE, detail)


def _end(status: int, error: Mapping[str, Any]) -> AttemptEnd:
    if error.get("code") == TRANSIENT_CODE:
        return AttemptEnd.RATE_LIMITED
    if status in MONEY_STATUSES and is_about_money(error):
        return AttemptEnd.QUOTA_EXHAUSTED
    end = end_of_status(status)
    if end is AttemptEnd.REQUEST_REFUSED and status not in CALLERS_OWN:
        return AttemptEnd.CREDENTIAL_REFUSED
    return end


def error_object(body: bytes) -> Mapping[str, Any]:
    """The error object of a refusal's body, empty if there is none."""
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    error = answer.get("error") if isinstance(answer, dict) else None
    return error if isinstance(error, dict) else {}


def is_about_money(error: Mapping[str, Any]) -> bool:
    """Whether an error will last until somebody pays."""
    details = error.get("details")
    codes = [error.get("code"), error.get("type")]
    if isinstance(details, dict):
        codes.append(details.get("error_code"))
    if any(isinstance(code, str) and MONEY_CODE.search(code) for code in codes):
        return True
    message = error.get("message")
    return isinstance(message, str) and bool(MONEY_WORDS.search(message[:MESSAGE_START]))
