"""A target elsewhere as a stack: what it lends to claims, and what it cannot."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from verification.harness.stack.configuration import configuration
from verification.harness.stack.model import MissingCapabilityError, StackError
from verification.harness.stack.remote import RemoteStacks, SilentTargetError
from verification.harness.staging.gate import RunEndedError
from verification.harness.staging.session import remote_run
from verification.harness.staging.sighting import Seen, look
from verification.harness.staging.users import LentUsers, NoUserLeftError
from verification.harness.target import Target
from verification.harness.target_file import read
from verification.harness.users import User
from verification.selftest.stack import peers
from verification.selftest.target_file.elsewhere import LENT, MADE, Elsewhere, write_file

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator
    from pathlib import Path

MET: dict[str, tuple[Callable[[socket.socket], object], Seen, int]] = {
    "a static page": (peers.answers(b"<html>It works!</html>"), Seen.FOREIGN, 1),
    "other JSON": (peers.answers(b"[1]"), Seen.FOREIGN, 1),
    "a closing port": (peers.closes, Seen.SILENT, 2),
    "a resetting port": (peers.resets, Seen.SILENT, 2),
}


@contextmanager
def lending(file: Path) -> Iterator[RemoteStacks]:
    """The stacks of a run against the target of that file."""
    with remote_run(file, kind="verify") as run:
        yield RemoteStacks(run)


@pytest.mark.parametrize("case", MET)
def test_one_get_tells_what_stands_there(tmp_path: Path, case: str) -> None:
    behave, seen, exit_code = MET[case]

    with peers.peer(behave) as url:
        sighting = look(read(write_file(tmp_path, url)))

    assert (sighting.seen, sighting.exit_code) == (seen, exit_code)


@pytest.mark.parametrize(
    ("instance", "seen"), [("staging-1", Seen.OURS), ("production-1", Seen.OTHER_INSTANCE)]
)
def test_the_pin_tells_ours_from_another(
    tmp_path: Path, staging: Elsewhere, instance: str, seen: Seen
) -> None:
    staging.instance = instance

    assert look(read(write_file(tmp_path, staging.url))).seen is seen


def test_a_hanging_port_is_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("verification.harness.staging.sighting.LOOK_WITHIN_S", 0.2)

    with peers.peer(peers.hangs) as url:
        assert look(read(write_file(tmp_path, url))).seen is Seen.SILENT


def test_nothing_is_known_about_a_silent_target(tmp_path: Path) -> None:
    with (
        lending(write_file(tmp_path, "http://127.0.0.1:1")) as stacks,
        pytest.raises(SilentTargetError, match="no answer"),
    ):
        stacks.lend(configuration())


def test_a_claim_spends_the_runs_budget(tmp_path: Path, staging: Elsewhere) -> None:
    with lending(write_file(tmp_path, staging.url, requests=2)) as stacks:
        target = Target(stacks.lend(configuration()).stack)
        reply = target.chat(target.new_user(), "hello").answer

        with pytest.raises(RunEndedError):
            target.health()

    assert reply.status == 200


def test_users_of_a_claim_are_made_with_the_runs_tag_and_removed(
    tmp_path: Path, staging: Elsewhere
) -> None:
    with lending(write_file(tmp_path, staging.url)) as stacks:
        user = Target(stacks.stack).new_customer("pro")
        tags = set(staging.users.values())

    assert (user.tier, (user.customer or "").startswith("cus_vfy-")) == ("pro", True)
    assert ({tag[:4] for tag in tags}, staging.users) == ({"vfy-"}, {})


def test_a_target_that_makes_no_user_leaves_the_claim_unknown(
    tmp_path: Path, staging: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    with lending(write_file(tmp_path, staging.url)) as stacks:
        monkeypatch.setattr("verification.selftest.target_file.elsewhere.ADMIN_KEY", "changed")
        with pytest.raises(StackError, match="makes no user: 401 invalid_api_key"):
            Target(stacks.stack).new_user()


def test_each_user_is_lent_once_over_all_workers() -> None:
    users = tuple(User(id=f"u{number}", key="k", tier="free") for number in range(4))

    lent = [
        LentUsers(users, worker, 2).make("x", tier="free", customer=None).id for worker in (0, 1)
    ]

    assert lent == ["u0", "u1"]


@pytest.mark.parametrize(("tier", "customer"), [("pro", None), ("free", "cus_1")])
def test_a_user_that_the_file_lacks_is_an_unknown(
    tmp_path: Path, staging: Elsewhere, tier: str, customer: str | None
) -> None:
    with (
        remote_run(write_file(tmp_path, staging.url, more=LENT), kind="verify") as run,
        pytest.raises(NoUserLeftError),
    ):
        run.users().make("x", tier=tier, customer=customer)


def test_what_a_target_elsewhere_lacks_is_named(tmp_path: Path, staging: Elsewhere) -> None:
    with lending(write_file(tmp_path, staging.url, more=MADE)) as stacks:
        target = Target(stacks.stack)

        with pytest.raises(MissingCapabilityError, match="proxy"):
            _ = target.faults


def test_what_only_a_start_of_our_own_could_give_is_unmet(
    tmp_path: Path, staging: Elsewhere
) -> None:
    with lending(write_file(tmp_path, staging.url)) as stacks:
        assert stacks.unmet(configuration()) == []
        assert stacks.unmet(configuration({"A": "1"}, workers=2)) == ["shrink (A)", "workers (2)"]
