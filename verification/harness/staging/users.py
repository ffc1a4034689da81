"""Users for claims on a target elsewhere: made there and removed again, or lent from the file."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from verification.contract import http as contract
from verification.harness import capabilities as can
from verification.harness.stack.model import MissingCapabilityError, StackError
from verification.harness.users import User

if TYPE_CHECKING:
    from verification.harness.http_client import Http

MADE = 201


class NoUserLeftError(StackError):
    """Every user of that tier was lent already; a used one would have a history."""


class LentUsers:
    """Users of the file, each lent once, shared out over the workers of a run."""

    def __init__(self, users: tuple[User, ...], worker: int = 0, workers: int = 1) -> None:
        self._free = list(users[worker::workers])
        self._lock = threading.Lock()

    def make(self, user_id: str, *, tier: str, customer: str | None) -> User:
        """A user of that tier that no claim has had; with a customer when one is wanted.

        Raises: NoUserLeftError, naming what `user_id` was for.
        """
        with self._lock:
            for user in self._free:
                if user.tier == tier and (customer is None or user.customer is not None):
                    self._free.remove(user)
                    return user
        kind = "customer" if customer else "user"
        raise NoUserLeftError(f"the target file has no further {tier} {kind} to lend as {user_id}")

    def operators_key(self) -> str:
        """None is lent: with one, users would be made."""
        raise MissingCapabilityError(can.ADMIN)


class MadeUsers:
    """Users made through the target's admin API, each with the run's tag."""

    def __init__(self, http: Http, admin_key: str, tag: str) -> None:
        self._http = http
        self._admin_key = admin_key
        self._tag = tag

    def operators_key(self) -> str:
        """The file's key with scope `admin`."""
        return self._admin_key

    def make(self, user_id: str, *, tier: str, customer: str | None) -> User:
        """A new user with a key of their own.

        Raises: StackError when the target does not make one.
        """
        wanted = {"user": user_id, "tier": tier, "stripe_customer": customer, "tag": self._tag}
        route = contract.ADMIN_USER_MAKE
        answer = self._http.post(route.path, json=wanted, key=self._admin_key)
        told = answer.json()
        if answer.status != MADE or not isinstance(told, dict):
            raise StackError(f"the target makes no user: {answer.status} {answer.code}")
        return User(
            id=user_id,
            key=str(told["key"]),
            key_id=str(told["key_id"]),
            tier=tier,
            customer=customer,
        )
