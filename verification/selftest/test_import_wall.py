"""Both walls, seen red: the finder in the suite's process, import-linter over the tree."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

pytestmark = pytest.mark.end_to_end

ROOT = Path(__file__).parents[2]
PLANTED = {
    "suite-imports-service": ("verification/harness/planted.py", "import llmhive.app.errors\n"),
    "service-imports-suite": ("llmhive/app/planted.py", "import verification.history\n"),
    "feature-imports-feature": (
        "llmhive/app/accounts/planted.py",
        "import llmhive.app.breakers.model\n",
    ),
    "adapter-imports-a-service": (
        "llmhive/app/adapters/planted.py",
        "import llmhive.app.breakers.service\n",
    ),
    "contract-imports-harness": (
        "verification/contract/planted.py",
        "import verification.harness.waiting\n",
    ),
    "simulator-imports-a-library": ("verification/simulators/planted.py", "import httpx\n"),
}


def test_the_suites_process_refuses_the_service_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "test_forbidden.py").write_text("import llmhive.app.errors\n")
    command = [sys.executable, "-m", "pytest", "-q", "-c", str(ROOT / "pyproject.toml")]
    command += [f"--rootdir={ROOT}", f"--confcutdir={ROOT}", "-p", "no:cacheprovider"]
    command += ["-p", "no:hypothesispytest"]

    run = subprocess.run(
        [*command, "-p", "conftest", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert "the suite may not import 'llmhive" in run.stdout
    assert run.returncode != 0


def judge_imports(house: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    return subprocess.run(command, cwd=house, capture_output=True, text=True, check=False)


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree that may be broken, by whoever mends it again."""
    made = tmp_path_factory.mktemp("house")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    for part in project["tool"]["importlinter"]["root_packages"]:
        shutil.copytree(ROOT / part, made / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", made)
    return made


def test_the_tree_as_it_stands_keeps_every_contract(house: Path) -> None:
    verdict = judge_imports(house)

    assert verdict.returncode == 0, verdict.stdout


@pytest.mark.parametrize("plant", PLANTED)
def test_a_planted_import_breaks_a_contract(house: Path, plant: str) -> None:
    path, line = PLANTED[plant]
    (house / path).write_text(line)

    verdict = judge_imports(house)
    (house / path).unlink()

    assert "BROKEN" in verdict.stdout
