"""Every error the service knows: whose fault it is, and whether the effect took place.

`definite` is true only if the effect certainly did not take place; retrying, failing
over and answering branch on it. Imports nothing of the service. Source: RFC 9457.
"""

from __future__ import annotations

from dataclasses import dataclass


class LLMHiveError(Exception):
    """An error with a stable code, an HTTP status, and a known or unknown outcome."""

    code = "internal_error"
    http_status = 500
    definite = False
    title = "Something broke inside the service."

    def __init__(
        self,
        detail: str | None = None,
        *,
        code: str | None = None,
        http_status: int | None = None,
        retry_after_s: int | None = None,
        definite: bool | None = None,
    ) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.retry_after_s = retry_after_s
        if code is not None:
            self.code = code
        if http_status is not None:
            self.http_status = http_status
        if definite is not None:
            self.definite = definite


class CallerError(LLMHiveError):
    """4xx: nothing happened, and the caller can mend it."""

    code = "bad_request"
    http_status = 400
    definite = True
    title = "The request cannot be served as it is."


class BodyLateError(CallerError):
    """408: the caller has not sent the whole body in time."""

    code = "body_late"
    http_status = 408
    title = "The body of this request did not come in time."


class CapacityError(LLMHiveError):
    """429 or 503 with Retry-After: nothing happened, later it may."""

    code = "overloaded"
    http_status = 503
    definite = True
    title = "The service cannot take this request now."


class DependencyError(LLMHiveError):
    """A provider, Redis, the database or Stripe failed; see `phase` for whether it acted."""

    code = "dependency_failed"
    http_status = 503
    title = "Something the service depends on failed."


class InvariantError(LLMHiveError):
    """Our own bug. Never caught below the outermost middleware."""

    code = "internal_error"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with the configuration: secrets never stand in `got`."""

    variable: str
    expected: str
    got: str


class ConfigurationError(LLMHiveError):
    """The configuration is wrong; lists every problem at once. Stops the start."""

    code = "configuration_error"
    definite = True

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        lines = [f"{p.variable}: expected {p.expected}, got {p.got}" for p in problems]
        super().__init__("\n".join(lines))
