"""report.html: a campaign for people who were not there. One file, nothing fetched, no script."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final

import jinja2

from chaos.judgement import Word
from chaos.kept import FACTS, HISTORY
from chaos.report import figure
from chaos.report.timeline import Blow, Point, Timeline, read
from verification.harness import report as suite_report
from verification.history import HistoryError, Outcome

if TYPE_CHECKING:
    from chaos.conclusion import Conclusion
    from chaos.kept import Result

FILE: Final = "report.html"
TEMPLATE: Final = "report.html.j2"
ORDER: Final = (Word.FALSE, Word.UNKNOWN, Word.TRUE, Word.UNVERIFIED)
VERDICTS: Final = {"go": "pass", "no go": "fail", "unknown": "unknown"}
WHOLE: Final = "whole"


@dataclass(frozen=True, slots=True)
class Period:
    """What callers saw before the fault, during it, or after it."""

    name: str
    asked: int
    whole: int
    others: tuple[tuple[str, int], ...]
    median_s: float | None
    slowest_s: float | None


@dataclass(frozen=True, slots=True)
class Chapter:
    """One experiment on the page. `line` is None when nothing was kept of it."""

    result: Result
    facts: dict[str, Any]
    line: Timeline | None
    periods: tuple[Period, ...]
    cost: str
    """What it cost, in a sentence."""

    @property
    def healed(self) -> str:
        """Whether and when it healed, in a sentence."""
        if self.line is None or not self.line.blows:
            return "no fault was begun"
        blows, again_s = self.line.blows, self.line.steady_again_s
        if any(blow.outcome is Outcome.FAIL for blow in blows):
            return "the fault did not bite, so there was nothing to heal"
        if any(blow.outcome is Outcome.INFO for blow in blows):
            return "nobody saw it healed"
        if again_s is None:
            looked = "the service was not well again in time"
            return f"the fault is gone; {looked if self.line.looked_again else 'nobody looked on'}"
        later_s = max(0.0, again_s - blows[-1].healed_s)
        return f"yes: the fault is gone, and {later_s:.1f} s later all is well"

    def drawn(self, width: int) -> str:
        """The figure of that width; nothing without a timeline."""
        return figure.figure(self.line, width) if self.line else ""


def write(conclusion: Conclusion, folder: Path) -> None:
    """Write the page."""
    (folder / FILE).write_text(document(conclusion), "utf-8")


def document(conclusion: Conclusion) -> str:
    """The page, complete in itself; it shares the style of the suite's report."""
    folders = [Path(__file__).parent, *map(Path, suite_report.__path__)]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folders),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["seconds"] = told
    chapters = [chapter(result) for result in sorted(conclusion.results, key=_rank)]
    return environment.get_template(TEMPLATE).render(
        conclusion=conclusion,
        verdict=VERDICTS[conclusion.answer],
        chapters=chapters,
        words=[(word, sum(one.word is word for one in conclusion.results)) for word in ORDER],
        troubles=[one for one in chapters if one.result.word in {Word.FALSE, Word.UNKNOWN}],
        wide=figure.WIDE,
        narrow=figure.NARROW,
    )


def _rank(result: Result) -> tuple[int, str]:
    return ORDER.index(result.word), result.name


def chapter(result: Result) -> Chapter:
    """What the page says of one experiment."""
    try:
        facts = json.loads((result.folder / FACTS).read_text("utf-8"))
        line = read(result.folder)
    except (OSError, ValueError, HistoryError):
        return Chapter(result, {}, None, (), "nothing was performed")
    periods = tuple(_periods(line))
    return Chapter(result, facts, line, periods, _cost(periods))


def _periods(line: Timeline) -> list[Period]:
    blows: Sequence[Blow] = line.blows
    if not blows:
        return [_period("in all", line.points)]
    asked_s, healed_s = blows[0].asked_s, blows[-1].healed_s
    parts = {
        "before": [one for one in line.points if one.at_s < asked_s],
        "while broken": [one for one in line.points if asked_s <= one.at_s <= healed_s],
        "afterwards": [one for one in line.points if one.at_s > healed_s],
    }
    return [_period(name, points) for name, points in parts.items()]


def _period(name: str, points: Sequence[Point]) -> Period:
    endings = Counter(point.ending for point in points)
    times = [point.seconds for point in points if point.kind == WHOLE]
    return Period(
        name=name,
        asked=len(points),
        whole=endings.pop(WHOLE, 0),
        others=tuple(endings.most_common()),
        median_s=median(times) if times else None,
        slowest_s=max(times, default=None),
    )


def _cost(periods: Sequence[Period]) -> str:
    lost = Counter(dict[str, int]())
    for period in periods:
        lost.update(dict(period.others))
    asked = sum(period.asked for period in periods)
    if not asked:
        return "nobody asked anything"
    if not lost:
        return f"nothing: all {asked} requests were answered whole"
    ends = ", ".join(f"{count} {name}" for name, count in lost.most_common())
    return f"{sum(lost.values())} of {asked} requests did not get a whole answer: {ends}"


def told(seconds: float | None) -> str:
    """Seconds as people say them: 4 ms, 0.42 s, 12 s; a hyphen for none."""
    if seconds is None:
        return "-"
    if seconds < 0.1:  # noqa: PLR2004  below it milliseconds are shorter
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.0f} s"  # noqa: PLR2004  idem


__all__ = ["FILE", "HISTORY", "document", "write"]
