"""What a run over the mutants leaves: `detection.json` for machines, `report.html` for people."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from verification.harness.mutation.judge import BROKEN, CAUGHT, MISSED, Claims, Detection

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA = "llmhive/detection/1"


def detection(healthy: Claims, detections: list[Detection]) -> dict[str, object]:
    """The whole result: `{schema, healthy, mutants, score}`."""
    verdicts = [each.verdict for each in detections]
    return {
        "schema": SCHEMA,
        "healthy": {
            "verdict": healthy.verdict,
            "claims": {verdict: len(ids) for verdict, ids in healthy.by_verdict.items()},
            "troubles": troubles(healthy),
        },
        "mutants": [asdict(each) for each in detections],
        "score": {verdict: verdicts.count(verdict) for verdict in (CAUGHT, MISSED, BROKEN)},
    }


def troubles(healthy: Claims) -> list[str]:
    """What the healthy service was not shown to keep: `id: verdict`, what is false first."""
    return [
        f"{id_}: {verdict}"
        for verdict in ("false", "unknown")
        for id_ in healthy.by_verdict.get(verdict, ())
    ]


def write(folder: Path, healthy: Claims, detections: list[Detection]) -> str:
    """Write both files and give the line that sums them up."""
    folder.mkdir(parents=True, exist_ok=True)
    result = detection(healthy, detections)
    (folder / "detection.json").write_text(json.dumps(result, indent=2))
    pages = Environment(
        loader=PackageLoader("verification.harness.mutation", "."),
        autoescape=select_autoescape(("html",)),
        undefined=StrictUndefined,
    )
    page = pages.get_template("report.html").render(result=result, detections=detections)
    (folder / "report.html").write_text(page)
    counts = {
        verdict: sum(d.verdict == verdict for d in detections)
        for verdict in (CAUGHT, MISSED, BROKEN)
    }
    said = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    why = f" ({', '.join(troubles(healthy))})" if troubles(healthy) else ""
    page_at = folder / "report.html"
    return f"mutants: {said}; the healthy service: {healthy.verdict}{why}; report: {page_at}"
