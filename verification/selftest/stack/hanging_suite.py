"""A suite of one test that starts what a stack starts, writes down every pid, and waits.

Copied elsewhere and run by test_lifetime.py, which kills it.
"""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

from verification.harness.lifetime import birth
from verification.harness.processes import keeper
from verification.harness.stack import programs, servers

HERE = Path(__file__).parent


def test_hangs(tmp_path: Path) -> None:
    doomed = HERE / "doomed"
    doomed.mkdir()
    keeper().remove_at_end(doomed)
    redis = servers.start_redis(programs.redis_server(), tmp_path, "secret").child
    toxiproxy = servers.start_toxiproxy(programs.toxiproxy_server(), tmp_path)[1]
    script = """sleep 600 & echo "{\\"child\\": $!}"; wait"""
    shell = keeper().start(
        ["/bin/sh", "-c", script],
        name="shell",
        folder=tmp_path,
        env={"PATH": os.environ["PATH"]},
    )
    assert redis is not None
    pids = [redis.pid, toxiproxy.pid, shell.pid, shell.announced("child")["child"], keeper().pid]
    facts = {
        "worker": os.getpid(),
        "controller": os.getppid(),
        "born": {str(pid): birth(pid) for pid in [*pids, os.getpid()]},
    }
    (HERE / "facts.part").write_text(json.dumps(facts))
    (HERE / "facts.part").rename(HERE / "facts.json")
    signal.pause()
