"""What is kept of an experiment, and read again: its history, its facts, what everybody said.

One folder each: `experiment.json` (claim, judgement, configuration, seed, times), `history.jsonl`,
`log.jsonl` (the service's lines on the history's clock), and the traces of any claim (requests,
metrics, Redis's keys, journals, faults). Secrets are masked by value. `--recheck` needs the first
two only.
"""

from __future__ import annotations

import json
import time
import traceback
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from chaos.judgement import Judgement, Owner, Word
from verification.harness import capabilities as can
from verification.history import History, HistoryError

if TYPE_CHECKING:
    from pathlib import Path

    from chaos.apparatus import Apparatus
    from chaos.experiment import Experiment
    from verification.verdict import Verdict

HISTORY: Final = "history.jsonl"
FACTS: Final = "experiment.json"
LOG: Final = "log.jsonl"
SCHEMA: Final = "llmhive/experiment/1"


class KeptError(ValueError):
    """A folder that holds no kept experiment, with what was expected there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of one experiment."""

    name: str
    claim: str
    source: str
    word: Word
    why: str
    owner: Owner | None
    seconds: float
    folder: Path
    verdicts: tuple[dict[str, Any], ...] = ()


def result_of(
    name: str, experiment: Experiment, judged: Judgement, *, seconds: float, folder: Path
) -> Result:
    """The result as reports show it."""
    return Result(
        name=name,
        claim=experiment.claim,
        source=experiment.source,
        word=judged.word,
        why=judged.why,
        owner=judged.owner,
        seconds=seconds,
        folder=folder,
        verdicts=tuple(_shown(one) for one in judged.verdicts),
    )


def _shown(verdict: Verdict) -> dict[str, Any]:
    return {
        "claim": verdict.claim,
        "word": verdict.word,
        "counts": dict(verdict.counts),
        "first": verdict.first,
        "worst": verdict.worst,
        "witness": [str(one) for one in verdict.witness],
    }


def as_json(result: Result) -> dict[str, Any]:
    """A row of results.json."""
    facts = asdict(result)
    return {
        **facts,
        "word": result.word.value,
        "owner": result.owner.value if result.owner else None,
        "folder": result.folder.name,
        "verdicts": list(result.verdicts),
    }


def keep(folder: Path, apparatus: Apparatus, experiment: Experiment) -> None:
    """Write what the experiment left; what cannot be had is said, and no reason to fail."""
    folder.mkdir(parents=True, exist_ok=True)
    apparatus.history.write(folder / HISTORY)
    try:
        apparatus.target.keep_traces(folder)
        if can.LOGS in apparatus.target.capabilities:
            (folder / LOG).write_text(_log_lines(apparatus), "utf-8")
    except Exception:  # noqa: BLE001  the stack may be in any state; what is missing is said
        (folder / "missing.txt").write_text(traceback.format_exc(), "utf-8")
    (folder / FACTS).write_text(json.dumps(_facts(apparatus, experiment), indent=2), "utf-8")


def _facts(apparatus: Apparatus, experiment: Experiment) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "name": apparatus.name,
        "claim": experiment.claim,
        "source": experiment.source,
        "proves": [promise.id for promise in experiment.proves],
        "nemesis": experiment.nemesis.does,
        "touches": experiment.nemesis.touches,
        "undone_by": experiment.nemesis.undone_by,
        "workload": experiment.workload.says,
        "env": dict(experiment.env),
        "workers": apparatus.target.workers_wanted,
        "seed": apparatus.seed,
    }


def _log_lines(apparatus: Apparatus) -> str:
    """The service's lines with `at_s`, the moment on the history's monotonic clock."""
    offset_s = time.time() - time.monotonic()
    lines = []
    for line in apparatus.target.logs():
        try:
            at_s = datetime.fromisoformat(str(line.get("time"))).timestamp() - offset_s
        except ValueError:
            continue
        lines.append(json.dumps({"at_s": round(at_s, 3), **line}, default=repr))
    return "".join(line + "\n" for line in lines)


def read(folder: Path) -> tuple[str, History]:
    """The name and the history of a kept experiment.

    Raises: KeptError.
    """
    try:
        facts = json.loads((folder / FACTS).read_text("utf-8"))
        if facts.get("schema") != SCHEMA:
            raise KeptError(f"{folder / FACTS}: expected {SCHEMA}, got {facts.get('schema')!r}")
        return str(facts["name"]), History.read(folder / HISTORY)
    except (OSError, HistoryError, ValueError, KeyError, AttributeError) as error:
        raise KeptError(f"{folder}: expected a kept experiment: {error}") from error


def folders(where: Path) -> list[Path]:
    """The folders of kept experiments: this one, or those below it.

    Raises: KeptError when there is none.
    """
    found = [where] if (where / FACTS).exists() else sorted(f.parent for f in where.rglob(FACTS))
    if not found:
        raise KeptError(f"{where}: expected a folder with {FACTS} and {HISTORY}, found none")
    return found
