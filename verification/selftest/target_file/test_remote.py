"""A target elsewhere: pinned before anything but GET goes out, and never over its budget."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from verification.harness import capabilities as can
from verification.harness.stack.configuration import configuration
from verification.harness.stack.model import MissingCapabilityError
from verification.harness.stack.remote import (
    BudgetSpentError,
    ForeignTargetError,
    NoUserLeftError,
    RemoteStacks,
    Seen,
    SilentTargetError,
    look,
)
from verification.harness.target import Target
from verification.harness.target_file import TargetFile
from verification.harness.users import User
from verification.selftest.stack import peers

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable


def health(instance: str) -> bytes:
    """The health of a service of ours."""
    body = {"instance": instance, "environment": "staging", "components": {}, "status": "ok"}
    return json.dumps(body).encode()


OURS = peers.answers(health("staging-1"))
MET: dict[str, tuple[Callable[[socket.socket], object], Seen, int]] = {
    "ours": (OURS, Seen.OURS, 0),
    "a static page": (peers.answers(b"<html>It works!</html>"), Seen.FOREIGN, 1),
    "other JSON": (peers.answers(b"[1]"), Seen.FOREIGN, 1),
    "a closing port": (peers.closes, Seen.SILENT, 2),
    "a resetting port": (peers.resets, Seen.SILENT, 2),
    "another instance": (peers.answers(health("production-1")), Seen.OTHER_INSTANCE, 3),
}


def target_file(url: str, *users: User, requests: int = 100) -> TargetFile:
    """A target at that address."""
    return TargetFile(
        base_url=url,
        environment="staging",
        instance="staging-1",
        workers=1,
        capabilities=frozenset({can.USERS, can.METRICS}),
        providers=("openai",),
        requests_max=requests,
        users=users,
    )


def stacks(file: TargetFile, *, worker: int = 0, workers: int = 1) -> RemoteStacks:
    """The stacks of that file on one worker of a run."""
    return RemoteStacks(file, run_id="run", worker=worker, workers=workers)


@pytest.mark.parametrize("case", MET)
def test_one_get_tells_what_stands_there(case: str) -> None:
    behave, seen, exit_code = MET[case]

    with peers.peer(behave) as url:
        sighting = look(target_file(url))

    assert (sighting.seen, sighting.exit_code) == (seen, exit_code)


def test_a_hanging_port_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("verification.harness.stack.remote.LOOK_WITHIN_S", 0.2)

    with peers.peer(peers.hangs) as url:
        assert look(target_file(url)).seen is Seen.SILENT


def test_nothing_is_known_about_a_silent_target() -> None:
    with pytest.raises(SilentTargetError, match="no answer"):
        stacks(target_file("http://127.0.0.1:1")).lend(configuration())


def test_a_foreign_target_gets_nothing_but_gets_and_its_claims_are_false() -> None:
    with peers.peer(peers.answers(b"It works!")) as url:
        target = Target(stacks(target_file(url)).lend(configuration()).stack)

        assert target.http.get("/api/health").text == "It works!"
        with pytest.raises(ForeignTargetError, match="POST was not sent"):
            target.chat(None, "hello")
        with pytest.raises(ForeignTargetError):
            target.http.raw(b"GET / HTTP/1.1\r\n\r\n")


def test_a_spent_budget_stops_every_request() -> None:
    with peers.peer(OURS) as url:
        target = Target(stacks(target_file(url, requests=2)).lend(configuration()).stack)

        assert [target.http.get("/").status for _ in range(2)] == [200, 200]
        with pytest.raises(BudgetSpentError):
            target.http.get("/")


def test_each_user_is_lent_once_over_all_workers() -> None:
    users = [User(id=f"u{number}", key="k", tier="free") for number in range(4)]

    with peers.peer(OURS) as url:
        lent = [
            Target(stacks(target_file(url, *users), worker=worker, workers=2).stack).new_user().id
            for worker in (0, 1)
        ]

    assert sorted(lent) == ["u0", "u1"]


def test_a_user_that_the_file_lacks_is_an_unknown(subtests: pytest.Subtests) -> None:
    users = [User(id="one", key="k", tier="pro")]

    with peers.peer(OURS) as url:
        target = Target(stacks(target_file(url, *users)).stack)
        for make in (target.new_user, target.new_customer):
            with subtests.test(make.__name__), pytest.raises(NoUserLeftError):
                make("free")


def test_what_a_target_elsewhere_lacks_is_named() -> None:
    with peers.peer(OURS) as url:
        target = Target(stacks(target_file(url)).stack)

        with pytest.raises(MissingCapabilityError, match="faults"):
            _ = target.faults


def test_what_only_a_start_of_our_own_could_give_is_unmet() -> None:
    with peers.peer(OURS) as url:
        lending = stacks(target_file(url))

        assert lending.unmet(configuration()) == []
        assert lending.unmet(configuration({"A": "1"}, workers=2)) == ["shrink (A)", "workers (2)"]
