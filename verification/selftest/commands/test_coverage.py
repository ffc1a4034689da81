"""`verify -- --coverage`: what the claims reach of the service, seen from inside its processes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from verification.harness.stack.programs import ROOT
from verification.selftest.commands.house import build, nox_python, second_service, verify

if TYPE_CHECKING:
    from pathlib import Path

COVERED = ROOT / ".nox" / "tests" / "bin" / "python"
pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.skipif(
        nox_python() is None or not COVERED.exists(),
        reason="no nox, or no environment with coverage: run by `nox -s selftest` there are both",
    ),
]
SERVICE = """
def reached():
    return 1

def missed():
    return 2
"""
CLAIMS = """
@claim("c.reaches", proves=[p.PRINTED_HEALTH])
def test_the_service_reaches_one_half(tmp_path):
    import subprocess
    from verification.harness.stack.programs import ROOT
    from verification.harness.stack.service_environment import clean_environment, service_python
    call = "import llmhive.app.halves as halves; print(halves.reached())"
    env = {**clean_environment(tmp_path), "PYTHONPATH": str(ROOT)}
    said = subprocess.run([service_python(), "-c", call], env=env, capture_output=True, text=True)
    assert said.stdout == "1\\n", said.stderr
"""


def test_coverage_tells_what_the_claims_reached(tmp_path: Path) -> None:
    house = build(tmp_path, CLAIMS)
    second_service(house, COVERED, {"__init__.py": "", "halves.py": SERVICE})

    ran = verify(house, "--coverage")

    assert ran.code == 0, ran.output
    assert "% of llmhive.app by the claims alone" in ran.output
    files = json.loads((ran.reports / "coverage.json").read_text())["files"]
    assert files["llmhive/app/halves.py"]["missing_lines"] == [6]


def test_a_service_elsewhere_cannot_be_looked_into(tmp_path: Path) -> None:
    ran = verify(build(tmp_path, CLAIMS), "--coverage", "--target=staging.toml")

    assert ran.code == 3, ran.output
    assert "--coverage expects a service of our own" in ran.output
