"""The service's metrics as numbers, parsed from Prometheus text.

Source: the text exposition format 0.0.4 of Prometheus.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from verification.harness.http_client import Http
from verification.harness.waiting import came_true

IN_FLIGHT: Final = "llmhive_http_requests_in_flight"
# An answer is counted once it is sent; a busy worker gets to that some ms after its caller has it.
SETTLED_WITHIN_S: Final = 2.0
_SAMPLE: Final = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)")
_LABEL: Final = re.compile(r'([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"')
_ESCAPE: Final = re.compile(r"\\(.)")


class MetricsUnreadableError(Exception):
    """The metrics did not come: what they would have proved is unknown."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One line: a name, its labels, its value."""

    name: str
    labels: dict[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class Metrics:
    """One reading of /api/metrics."""

    samples: tuple[Sample, ...]
    text: str

    def select(self, name: str, **labels: str) -> list[Sample]:
        """The samples of that name whose labels include `labels`."""
        return [
            sample
            for sample in self.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        ]

    def value(self, name: str, **labels: str) -> float | None:
        """The value of the one sample that fits, None when there is none.

        Raises: LookupError when several fit, since a sum was meant then.
        """
        found = self.select(name, **labels)
        if len(found) > 1:
            raise LookupError(f"{name} {labels}: {len(found)} samples fit; say more, or sum")
        return found[0].value if found else None

    def sum(self, name: str, **labels: str) -> float:
        """The sum of all samples that fit, 0 when there is none."""
        return sum(sample.value for sample in self.select(name, **labels))

    def names(self) -> set[str]:
        """The names of all samples."""
        return {sample.name for sample in self.samples}

    def types(self) -> dict[str, str]:
        """Metric -> counter, gauge, histogram…, from the TYPE lines."""
        lines = (line.split(maxsplit=3) for line in self.text.splitlines())
        return {
            words[2]: words[3]
            for words in lines
            if words[:2] == ["#", "TYPE"] and len(words) > 3  # noqa: PLR2004
        }


def settled(read: Callable[[], Metrics], within_s: float = SETTLED_WITHIN_S) -> Metrics:
    """What `read` gives after nothing was in flight but a scrape, or after `within_s`.

    One page is not of one moment: it is read once more when it says that nothing is in flight.
    """
    came_true(lambda: read().sum(IN_FLIGHT) <= 1, within_s=within_s)
    return read()


def parse(text: str) -> Metrics:
    """The metrics of a page of Prometheus text; lines that are none are left out."""
    found = (_SAMPLE.match(line) for line in text.splitlines() if not line.startswith("#"))
    samples = []
    for match in found:
        if match is not None and (value := _number(match[3])) is not None:
            labels = {
                name: _ESCAPE.sub(_unescaped, raw) for name, raw in _LABEL.findall(match[2] or "")
            }
            samples.append(Sample(match[1], labels, value))
    return Metrics(tuple(samples), text)


def _unescaped(match: re.Match[str]) -> str:
    return {"n": "\n"}.get(match[1], match[1])


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class MetricsRoute:
    """Reads GET /api/metrics, with the token when the service asks for one."""

    token: str | None = None

    def read(self, http: Http) -> Metrics:
        """The metrics now.

        Raises: MetricsUnreadableError when they do not come with 200.
        """
        answer = http.get("/api/metrics", key=self.token or None)
        if answer.status != 200 or not answer.is_complete:  # noqa: PLR2004
            raise MetricsUnreadableError(str(answer))
        return parse(answer.text)
