"""The operators' routes as claims use them: each call one line, its answer as it came."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from verification.contract import http

if TYPE_CHECKING:
    from verification.contract.http import Route
    from verification.harness.http_client import Answer
    from verification.harness.target import Target, User

# Where a route's path names something.
NAMED: Final = re.compile(r"\{\w+\}")


@dataclass(frozen=True, slots=True)
class Console:
    """Somebody with a key, at the operators' routes."""

    target: Target
    user: User

    @classmethod
    def of(cls, target: Target) -> Console:
        """The console of an operator."""
        return cls(target, target.operator())

    def call(
        self,
        route: Route,
        *names: str,
        json: dict[str, Any] | None = None,
        params: dict[str, str] | None = None,
    ) -> Answer:
        """Call a route; `names` fill the braces of its path."""
        path = route.path
        for name in names:
            path = NAMED.sub(quote(name, safe=""), path, count=1)
        return self.target.http.request(
            route.method, path, json=json, params=params, key=self.user.key
        )

    def make(self, user_id: str, **wanted: Any) -> dict[str, Any]:
        """Make a user; gives what was answered."""
        answer = self.call(http.ADMIN_USER_MAKE, json={"user": user_id, **wanted})
        assert answer.status == 201, answer
        told: dict[str, Any] = answer.json()
        return told

    def statuses(self, *made: dict[str, Any]) -> set[int]:
        """The statuses of one chat with each of these users' keys."""
        body = {"message": "hello"}
        return {
            self.target.http.post(http.CHAT.path, json=body, key=each["key"]).status
            for each in made
        }
