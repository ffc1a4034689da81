"""Undo files: what dead runs left is undone by identity, and what lives is left alone."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from verification.harness import lifetime, undo_ways
from verification.harness.faults import Faults
from verification.harness.stack import programs, servers
from verification.harness.toxiproxy_link import Link
from verification.harness.undo import SCHEMA, RunStillGoingError, UndoError, UndoLog, undo
from verification.harness.waiting import came_true

if TYPE_CHECKING:
    from collections.abc import Iterator

# Says that it stands where it should, then waits for its stdin to end.
STANDS = "import sys; print('here', flush=True); sys.stdin.read()"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder as runs make them."""
    with tempfile.TemporaryDirectory(prefix="llmhive-undo-", ignore_cleanup_errors=True) as name:
        yield Path(name)


@pytest.fixture
def orphan(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that stands in the folder."""
    with subprocess.Popen(
        [sys.executable, "-c", STANDS],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"here\n"
        yield child
        child.kill()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[UndoLog]:
    """The file of a run that lives."""
    log = UndoLog(tmp_path / "undo", "living")
    yield log
    if log.path.exists():
        log.close()


def dead_run(tmp_path: Path, *deeds: tuple[str, dict[str, Any]], torn: str = "") -> Path:
    """The file of a run that was killed."""
    log = UndoLog(tmp_path / "undo", "killed")
    for kind, facts in deeds:
        log.write(kind, f"a {kind}", **facts)
    log._file.close()  # what the kernel does for the dead
    with log.path.open("a", encoding="utf-8") as file:
        file.write(torn)
    return log.path


def test_a_deed_stands_in_the_file_before_it_is_done(log: UndoLog) -> None:
    log.write("nothing", "a flush of redis", because="it is over")

    first, deed = [json.loads(line) for line in log.path.read_text().splitlines()]
    assert first["schema"] == SCHEMA
    assert (deed["n"], deed["kind"], deed["says"]) == (0, "nothing", "a flush of redis")
    assert deed["facts"] == {"because": "it is over"}
    assert log.path.stat().st_mode & 0o777 == 0o600


def test_a_run_that_ends_well_leaves_no_file(log: UndoLog) -> None:
    log.strike(log.write("nothing", "a flush", because="done"))

    left = log.close()

    assert (left, log.path.exists()) == ([], False)


def test_deeds_are_undone_in_reverse_order_and_once(tmp_path: Path) -> None:
    path = dead_run(tmp_path, *(("nothing", {"because": str(n)}) for n in range(3)))

    found = [one.how for one in undo(path)]

    assert found == ["2", "1", "0"]
    assert (path.exists(), undo(path)) == (False, [])


def test_a_struck_deed_and_a_torn_line_need_no_undoing(tmp_path: Path) -> None:
    deeds = [("nothing", {"because": "left"}), ("nothing", {"because": "struck"})]
    path = dead_run(tmp_path, *deeds, torn='{"undone": 1}\n{"n": 7, "kind": "tox')

    assert [one.how for one in undo(path)] == ["left"]


def test_a_run_that_lives_undoes_its_own_deeds(log: UndoLog) -> None:
    log.write("nothing", "a deed", because="mine")

    with pytest.raises(RunStillGoingError, match="still going"):
        undo(log.path)

    assert undo(log.path.parent) == []
    assert [deed.says for deed in log.outstanding] == ["a deed"]


def test_an_orphan_is_killed(tmp_path: Path, orphan: subprocess.Popen[bytes]) -> None:
    path = dead_run(tmp_path, ("process", undo_ways.identity(orphan.pid)))

    found = undo(path)

    assert "killed" in found[0].how
    assert orphan.wait(10) == -9


def test_a_stranger_with_the_same_number_is_left_alone(
    tmp_path: Path, orphan: subprocess.Popen[bytes]
) -> None:
    facts = undo_ways.identity(orphan.pid)
    another_birth = {**facts, "born": "1"}
    another_boot = {**facts, "boot": "before"}
    path = dead_run(tmp_path, ("process", another_birth), ("process", another_boot))

    found = [one.how for one in undo(path)]

    assert found == [undo_ways.GONE, undo_ways.GONE]
    assert lifetime.birth(orphan.pid) == facts["born"]


@pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="unverified: needs /proc")
def test_whoever_works_in_a_folder_of_the_run_ends_with_it(
    tmp_path: Path, folder: Path, orphan: subprocess.Popen[bytes]
) -> None:
    found = undo(dead_run(tmp_path, ("folder", {"path": str(folder)})))

    assert (found[0].how, folder.exists()) == ("removed, 1 processes in it killed", False)
    assert orphan.wait(10) == -9


def test_no_folder_but_a_runs_own_is_removed(tmp_path: Path) -> None:
    path = dead_run(tmp_path, ("folder", {"path": str(tmp_path)}))

    with pytest.raises(UndoError, match="no folder of a run"):
        undo(path)

    assert path.exists()


def test_what_nobody_knows_how_to_undo_is_said_after_all_else_was_undone(
    tmp_path: Path, orphan: subprocess.Popen[bytes]
) -> None:
    path = dead_run(tmp_path, ("process", undo_ways.identity(orphan.pid)))
    with path.open("a", encoding="utf-8") as file:
        file.write('{"n": 1, "kind": "spell", "says": "a spell", "facts": {}}\n')

    with pytest.raises(UndoError, match="nobody knows how to undo a 'spell'"):
        undo(path)

    assert orphan.wait(10) == -9


def test_a_file_that_is_none_is_refused_with_what_was_expected(tmp_path: Path) -> None:
    path = tmp_path / "strange.jsonl"
    path.write_text('{"schema": "other/1"}\n')

    with pytest.raises(UndoError, match=f"expected {SCHEMA}, got 'other/1'"):
        undo(tmp_path)

    assert path.exists()


def test_a_toxic_and_a_closed_proxy_are_undone_and_are_gone_with_their_toxiproxy(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    server, child = servers.start_toxiproxy(
        programs.toxiproxy_server(), tmp_path_factory.mktemp("toxiproxy")
    )
    server.create("of-a-run", "127.0.0.1:1")
    host, _, port = server.address.rpartition(":")
    where = {"host": host, "port": int(port), "proxy": "of-a-run"}
    deeds = [("toxic", {**where, "toxic": "latency-downstream"}), ("closed_proxy", where)]
    server.add_toxic("of-a-run", "latency", "downstream", {"latency": 9, "jitter": 0})
    server.update("of-a-run", enabled=False)

    undone = [one.how for one in undo(dead_run(tmp_path, *deeds))]
    left = server.proxy("of-a-run")
    child.kill()
    gone = [one.how for one in undo(dead_run(tmp_path, *deeds))]

    assert (undone, left["toxics"], left["enabled"]) == (["was left, undone"] * 2, [], True)
    assert gone == [undo_ways.GONE] * 2


def test_faults_are_written_down_before_they_are_done_and_struck_when_healed(
    tmp_path: Path, log: UndoLog
) -> None:
    folder = tmp_path / "servers"
    folder.mkdir()
    redis = servers.start_redis(programs.redis_server(), folder, "secret")
    server, child = servers.start_toxiproxy(programs.toxiproxy_server(), folder)
    link = Link("redis", server, upstream=f"127.0.0.1:{redis.port}", probe=b"PING\r\n")
    link.open("undo-redis")
    faults = Faults({"redis": link})
    faults.undo_log = log

    with faults.hang("redis"), faults.refuse("redis"):
        inside = [deed.says for deed in log.outstanding]
    after = log.outstanding
    child.kill()
    redis.stop()

    assert inside == [
        "toxic timeout-upstream on the link redis",
        "toxic timeout-downstream on the link redis",
        "closed proxy on the link redis",
    ]
    assert after == []


def test_births_tell_a_process_from_its_successor() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        facts = undo_ways.identity(child.pid)
        child.wait()

    assert came_true(lambda: lifetime.birth(child.pid) != facts["born"], within_s=5)
    assert undo_ways.end_process(facts) == undo_ways.GONE
