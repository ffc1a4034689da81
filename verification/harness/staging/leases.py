"""One run at a time on one target: a lease on the service itself, or in a file beside the file.

The service's lease holds against everybody who has its admin key, from whatever machine; the
file's against everybody who uses the same target file. Both expire, so that a killed run
locks nobody out for longer than the lease lasts.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from verification.contract import http as contract
from verification.harness.stack.model import StackError
from verification.harness.staging.refusal import RefusedError
from verification.harness.waiting import now_s

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from verification.harness.http_client import Http
    from verification.harness.staging.purse import Purse

# Renewed at thirds, so two renewals may be lost; a killed run locks others out for so long.
TTL_S: Final = 60
HELD: Final = 409
# A lease cannot be had from a service that takes longer than that for anything.
ANSWER_WITHIN_S: Final = 10.0


class LeaseHeldError(RefusedError):
    """Another run is under way; nothing was sent to the target."""


class LeaseRefusedError(RefusedError):
    """The target gives no lease to this key."""


class LeaseLostError(StackError):
    """The lease has ended, so another run may be under way."""


class LeaseUnreachableError(StackError):
    """Nobody answered, so the lease stands or falls with its time."""


class Lease(Protocol):
    """A lease that was taken."""

    took_over: str
    """The run whose expired lease it was, empty when nobody's."""

    def renew(self) -> None:
        """Hold it for TTL_S from now. Raises LeaseLostError, LeaseUnreachableError."""

    def release(self) -> None:
        """Give it back; one that has ended is none to give back."""


@dataclass(slots=True)
class ServiceLease:
    """The lease that the service keeps for us, through its admin API."""

    http: Http
    key: str = field(repr=False)
    lease_id: str
    took_over: str = ""

    @classmethod
    def take(cls, http: Http, key: str, *, holder: str, run: str) -> ServiceLease:
        """Take it for a run.

        Raises: LeaseHeldError naming who has it; StackError when it cannot be had otherwise.
        """
        wanted = {"holder": holder, "run": run, "ttl_s": TTL_S}
        route = contract.ADMIN_LEASE_TAKE
        answer = http.post(route.path, json=wanted, key=key, timeout_s=ANSWER_WITHIN_S)
        told = answer.json()
        if answer.status == HELD and isinstance(told, dict):
            raise LeaseHeldError(f"another run is under way: {told.get('detail')}")
        if answer.status != 201 or not isinstance(told, dict):  # noqa: PLR2004  made
            raise LeaseRefusedError(
                f"the lease of a run cannot be had with secrets.admin_key: {answer}"
            )
        before = told.get("took_over") or {}
        return cls(http, key, str(told["lease_id"]), str(before.get("run", "")))

    @property
    def _path(self) -> str:
        return contract.ADMIN_LEASE_RENEW.path.replace("{lease_id}", self.lease_id)

    def renew(self) -> None:
        """Hold it for TTL_S from now."""
        answer = self.http.put(
            self._path, json={"ttl_s": TTL_S}, key=self.key, timeout_s=ANSWER_WITHIN_S
        )
        if answer.status == HELD:
            raise LeaseLostError("the lease on the target was lost")
        if answer.status != 200:  # noqa: PLR2004  renewed
            raise LeaseUnreachableError(str(answer))

    def release(self) -> None:
        """Give it back."""
        self.http.delete(self._path, key=self.key, timeout_s=ANSWER_WITHIN_S)


@dataclass(slots=True)
class FileLease:
    """The lease that a file in the target file's folder keeps. Times are of this machine."""

    file: Path
    lease_id: str
    took_over: str = ""

    @classmethod
    def take(cls, file: Path, *, holder: str, run: str) -> FileLease:
        """Take it for a run.

        Raises: LeaseHeldError naming who has it.
        """
        lease_id, now = secrets.token_hex(8), time.time()
        with _held(file) as kept:
            left_s = kept.get("expires_at", 0.0) - now
            if left_s > 0:
                who = f"run {kept.get('run')} of {kept.get('holder')}"
                raise LeaseHeldError(
                    f"another run is under way: {who} holds {file.name} for {left_s:.0f} s more"
                )
            before = str(kept.get("run", ""))
            kept.clear()
            kept.update(id=lease_id, holder=holder, run=run, expires_at=now + TTL_S)
        return cls(file, lease_id, before)

    def renew(self) -> None:
        """Hold it for TTL_S from now."""
        with _held(self.file) as kept:
            if kept.get("id") != self.lease_id:
                raise LeaseLostError(f"the lease in {self.file.name} was lost")
            kept["expires_at"] = time.time() + TTL_S

    def release(self) -> None:
        """Give it back."""
        with _held(self.file) as kept:
            if kept.get("id") == self.lease_id:
                kept.clear()


@contextmanager
def _held(file: Path) -> Iterator[dict[str, Any]]:
    """The content of the file while nobody else changes it; an empty one is removed."""
    while True:
        with file.open("a+", encoding="utf-8") as opened:
            fcntl.flock(opened, fcntl.LOCK_EX)
            if not _is_still(file, opened.fileno()):
                continue
            opened.seek(0)
            kept = _parsed(opened.read())
            yield kept
            opened.seek(0)
            opened.truncate()
            opened.write(json.dumps(kept))
            if not kept:
                file.unlink()
            return


def _parsed(text: str) -> dict[str, Any]:
    """What a file says; half of one, left by a run that was killed, says nothing."""
    try:
        kept = json.loads(text)
    except ValueError:
        return {}
    return kept if isinstance(kept, dict) else {}


def _is_still(file: Path, descriptor: int) -> bool:
    try:
        return file.stat().st_ino == os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False


class LeaseKeeper:
    """Renews a lease while its context lasts; one that is lost ends the run."""

    def __init__(self, lease: Lease, purse: Purse, *, every_s: float) -> None:
        self._lease = lease
        self._purse = purse
        self._every_s = every_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="run-lease", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(ANSWER_WITHIN_S + 1)

    def _renew(self) -> None:
        held_s = now_s()
        while not self._over.wait(self._every_s):
            began_s = now_s()
            try:
                self._lease.renew()
                held_s = began_s
            except LeaseLostError as lost:
                self._purse.end(str(lost))
                return
            except (LeaseUnreachableError, OSError) as error:
                if now_s() - held_s >= TTL_S - self._every_s:
                    self._purse.end(f"the lease could not be renewed in time: {error}")
                    return
