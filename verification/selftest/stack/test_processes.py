"""Children of the suite: started, heard, signalled and buried by the keeper."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from verification.harness.lifetime import birth
from verification.harness.processes import ChildError, KeeperLink, keeper, own_keeper
from verification.harness.waiting import came_true

if TYPE_CHECKING:
    from pathlib import Path

    from verification.harness.processes import Child


def shell(
    script: str, folder: Path, *, lifetime_pipe: bool = False, is_piped: bool = False
) -> Child:
    """A shell that runs a script."""
    return keeper().start(
        ["/bin/sh", "-c", script],
        name="shell",
        folder=folder,
        env={"PATH": os.environ["PATH"]},
        lifetime_pipe=lifetime_pipe,
        is_piped=is_piped,
    )


def test_a_command_gives_its_code_and_what_it_said(tmp_path: Path) -> None:
    done = keeper().run(
        ["/bin/sh", "-c", "echo '{\"a\": 1}'; echo oh >&2; exit 3"],
        name="command",
        folder=tmp_path,
        env={},
        timeout_s=10,
    )

    assert (done.code, done.json(), done.stderr) == (3, {"a": 1}, "oh\n")


def test_a_command_that_takes_too_long_is_killed_and_has_no_code(tmp_path: Path) -> None:
    done = keeper().run(
        ["/bin/sh", "-c", "echo $$; exec sleep 600"],
        name="long",
        folder=tmp_path,
        env={"PATH": os.environ["PATH"]},
        timeout_s=0.2,
    )

    assert done.code is None
    assert birth(int(done.stdout)) is None


def test_a_child_whose_pipe_nobody_reads_waits_until_it_is_closed(tmp_path: Path) -> None:
    script = "echo '{\"listening\": 7}'; head -c 1000000 /dev/zero; echo over >&2; exec sleep 600"
    child = shell(script, tmp_path, is_piped=True)

    said, before = child.announced("listening"), child.stderr()
    assert child.pipe is not None
    child.pipe.close()

    assert (said, before) == ({"listening": 7}, "")
    assert came_true(lambda: "over" in child.stderr(), within_s=10)
    child.kill()


def test_what_a_child_announces_is_found_among_other_lines(tmp_path: Path) -> None:
    child = shell("echo hello; echo '{\"listening\": 7}'; exec sleep 600", tmp_path)

    assert child.announced("listening") == {"listening": 7}
    child.kill()


def test_a_child_that_ends_without_a_word_is_reported_with_its_last_ones(tmp_path: Path) -> None:
    child = shell("echo no port >&2; exit 4", tmp_path)

    with pytest.raises(ChildError, match=r"exit code 4.*no port"):
        child.announced("listening", within_s=10)


def test_a_killed_leader_leaves_its_group_alone(tmp_path: Path) -> None:
    child = shell('sleep 600 & echo "{\\"child\\": $!}"; wait', tmp_path)
    left_behind = child.announced("child")["child"]

    child.signal(signal.SIGKILL)
    code = child.wait(10)

    assert code == -signal.SIGKILL
    assert birth(left_behind) is not None  # whether it notices by itself is for a claim to see
    child.kill()


def test_stopping_a_child_ends_what_its_leader_left_behind(tmp_path: Path) -> None:
    child = shell('sleep 600 & echo "{\\"child\\": $!}"; wait', tmp_path)
    left_behind = child.announced("child")["child"]

    child.stop(grace_s=5)

    assert came_true(lambda: birth(left_behind) is None, within_s=10)


def test_a_child_that_ignores_the_request_is_killed_after_its_grace(tmp_path: Path) -> None:
    child = shell('trap "" TERM; echo \'{"deaf": 1}\'; while :; do sleep 1; done', tmp_path)
    child.announced("deaf")

    child.stop(grace_s=0.1)

    assert child.wait(10) == -signal.SIGKILL


def test_a_child_that_has_ended_is_not_signalled(tmp_path: Path) -> None:
    child = shell("exit 0", tmp_path)
    child.wait(10)

    assert child.signal(signal.SIGKILL) is False


def test_a_program_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ChildError, match="FileNotFoundError"):
        keeper().start([tmp_path / "nothing"], name="nothing", folder=tmp_path, env={})


def test_a_lifetime_pipe_stays_open_while_the_keeper_lives(tmp_path: Path) -> None:
    child = shell("echo '{\"up\": 1}'; exec cat", tmp_path, lifetime_pipe=True)
    child.announced("up")

    assert child.wait(0.1) is None
    child.kill()


def test_a_closed_keeper_leaves_no_pipe_open() -> None:
    link = KeeperLink()

    link.close()

    assert link._process.stdin is not None
    assert link._process.stdout is not None
    assert link._process.stdin.closed
    assert link._process.stdout.closed


def test_a_keeper_of_their_own_ends_its_children_and_no_others(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    outer = shell("exec sleep 600", tmp_path)

    with own_keeper() as mine:
        inner = shell("exec sleep 600", tmp_path / "inner")
        assert inner.keeper is mine

    assert birth(inner.pid) is None
    assert outer.is_alive
    assert keeper() is outer.keeper
    outer.kill()
