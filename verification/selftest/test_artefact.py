"""What is judged, as a run says it before it begins."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

from verification.harness import artefact
from verification.harness.stack.model import StackError
from verification.harness.stack.programs import ROOT

NOTED = {"python": "/x/python", "wheel": "llmhive-1.whl", "digest": "d1", "sha256": "s"}


@pytest.fixture
def noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where `nox -s verify` notes what it built; nothing is set that stands above it."""
    monkeypatch.delenv("LLMHIVE_OVERLAY", raising=False)
    monkeypatch.delenv("LLMHIVE_SERVICE_PYTHON", raising=False)
    monkeypatch.setattr(artefact, "SERVICE_FILE", tmp_path / "service.json")
    return tmp_path / "service.json"


def test_without_any_service_the_run_says_what_to_do(noted: Path) -> None:
    assert not noted.exists()

    with pytest.raises(StackError, match="no service was built yet: `nox -s verify` builds it"):
        artefact.told()


def test_a_wheel_of_other_sources_is_said_to_be_old(noted: Path) -> None:
    noted.write_text(json.dumps({**NOTED, "of": "sources"}))

    assert artefact.told() == (
        "wheel llmhive-1.whl d1 (older than the sources: `nox -s verify` builds it anew)"
    )


def test_a_wheel_of_todays_sources_is_not(noted: Path) -> None:
    today = artefact.service_sources()
    noted.write_text(json.dumps({**NOTED, "of": "sources", "digest": today}))

    assert artefact.told() == f"wheel llmhive-1.whl {today}"


def test_a_wheel_that_was_named_is_as_old_as_it_is(noted: Path) -> None:
    noted.write_text(json.dumps({**NOTED, "of": "a named wheel"}))

    assert artefact.told() == "wheel llmhive-1.whl d1"


def test_the_noxfile_judges_the_sources_that_a_result_has_to_be_of() -> None:
    told = re.findall(r"^JUDGED \+?= (\[.*\])$", (ROOT / "noxfile.py").read_text(), re.MULTILINE)

    judged = [name for part in told for name in ast.literal_eval(part)]
    assert judged == list(artefact.SESSION_SOURCES)


def test_what_tools_remember_is_no_source(tmp_path: Path) -> None:
    (tmp_path / "llmhive").mkdir()
    (tmp_path / "llmhive" / "one.py").write_text("one")
    before = artefact.session_sources(tmp_path)

    for cache in artefact.SKIPPED:
        (tmp_path / "llmhive" / cache).mkdir()
        (tmp_path / "llmhive" / cache / "seen").write_text("two")

    assert artefact.session_sources(tmp_path) == before
