"""A timeline as inline SVG: faults, latency, breakers, health and log on one axis. Pure.

Drawn for a width in pixels rather than stretched, so that its words stay readable on a phone;
the page shows the width that fits. Colours come from the page.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from markupsafe import Markup, escape

if TYPE_CHECKING:
    from chaos.report.timeline import Blow, Stretch, Timeline

WIDE, NARROW = 1060, 340
LATENCY_HEIGHT: Final = 170
LANE_HEIGHT, LANE_GAP = 15, 21
TOP, BOTTOM, RIGHT = 34, 34, 12
# Room for the longest name of a breaker; on a narrow page names stand above their lanes.
LEFT_WIDE, LEFT_NARROW = 196, 46
# A millisecond is the least that a request takes; below it dots are drawn at the edge.
LEAST_S: Final = 0.001
DECADES: Final = ((0.001, "1 ms"), (0.01, "10 ms"), (0.1, "0.1 s"), (1.0, "1 s"), (10.0, "10 s"))
TICKS_S: Final = (0.5, 1, 2, 5, 10, 20, 30, 60, 120)
KINDS: Final = ("whole", "left", "refused", "broken")
# A letter of a label, which is bold, on average.
LABEL_PX: Final = 7.2


@dataclass(slots=True)
class _Frame:
    """Where things stand: the axis of time, the logarithmic one of seconds, the lanes below."""

    line: Timeline
    width: int

    @property
    def left(self) -> int:
        return LEFT_WIDE if self.is_wide else LEFT_NARROW

    @property
    def is_wide(self) -> bool:
        return self.width > NARROW

    @property
    def lanes(self) -> list[tuple[str, Sequence[Stretch]]]:
        found = [("health", self.line.health), *sorted(self.line.breakers.items())]
        return [(name, stretches) for name, stretches in found if stretches]

    @property
    def lanes_top(self) -> float:
        return TOP + LATENCY_HEIGHT + 14

    @property
    def log_top(self) -> float:
        return self.lanes_top + len(self.lanes) * self.lane_step

    @property
    def lane_step(self) -> int:
        # On a narrow page a lane's name stands above it.
        return LANE_GAP if self.is_wide else LANE_GAP + 14

    @property
    def height(self) -> float:
        return self.log_top + self.lane_step + BOTTOM

    def x(self, at_s: float) -> float:
        room = self.width - self.left - RIGHT
        return self.left + room * min(max(at_s, 0.0), self.line.ends_s) / self.line.ends_s

    def y(self, seconds: float) -> float:
        most = math.log10(max(1.0, self.slowest_s) / LEAST_S)
        share = math.log10(max(seconds, LEAST_S) / LEAST_S) / most
        return TOP + LATENCY_HEIGHT * (1 - min(share, 1.0))

    @property
    def slowest_s(self) -> float:
        return max((point.seconds for point in self.line.points), default=1.0) * 1.15


def figure(line: Timeline, width: int) -> Markup:
    """The figure of one experiment, so many pixels wide."""
    frame = _Frame(line, width)
    parts = [
        *_bands(frame),
        *_grid(frame),
        *_points(frame),
        *_lanes(frame),
        *_log(frame),
        *_axis(frame),
        *_labels(frame),
    ]
    height = round(frame.height)
    head = f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">'
    return Markup(head + "".join(parts) + "</svg>")  # noqa: S704  # nosec B704  every text in it is escaped


def _text(x: float, y: float, words: str, *, kind: str = "", anchor: str = "start") -> str:
    at = f'x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}"'
    return f"<text {at}>{escape(words)}</text>"


def _box(x: float, y: float, until_x: float, height: float, kind: str, title: str = "") -> str:
    inside = f"<title>{escape(title)}</title>" if title else ""
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(1.0, until_x - x):.1f}" '
        f'height="{height:.1f}" class="{escape(kind)}">{inside}</rect>'
    )


def _line(x: float, y: float, to_x: float, to_y: float, kind: str) -> str:
    return f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}" class="{kind}"/>'


def _bands(frame: _Frame) -> Iterator[str]:
    bottom = frame.log_top + LANE_HEIGHT
    for blow in frame.line.blows:
        asked, healed = frame.x(blow.asked_s), frame.x(blow.healed_s)
        yield _box(asked, TOP, healed, bottom - TOP, "fault-edge", blow.does)
        bites, heals = frame.x(blow.bites_s), frame.x(blow.heals_s)
        if heals > bites:
            yield _box(bites, TOP, heals, bottom - TOP, "fault", blow.does)
    if frame.line.steady_again_s is not None:
        x = frame.x(frame.line.steady_again_s)
        yield _line(x, TOP, x, bottom, "steady")


def _labels(frame: _Frame) -> Iterator[str]:
    for blow in frame.line.blows:
        yield _label(
            frame, (blow.bites_s + blow.heals_s) / 2, _said(frame, blow), "fault-label", 12
        )
    if frame.line.steady_again_s is not None:
        yield _label(frame, frame.line.steady_again_s, "well again", "steady-label", 27)


def _said(frame: _Frame, blow: Blow) -> str:
    room = int((frame.width - frame.left) / LABEL_PX)
    return blow.does if len(blow.does) <= room else f"{blow.does[: room - 1]}…"


def _label(frame: _Frame, at_s: float, words: str, kind: str, y: float) -> str:
    """A label over its moment, kept inside the figure."""
    half = len(words) * LABEL_PX / 2
    x = min(max(frame.x(at_s), frame.left + half), frame.width - RIGHT - half)
    return _text(max(x, half), y, words, kind=kind, anchor="middle")


def _grid(frame: _Frame) -> Iterator[str]:
    for seconds, words in DECADES:
        if seconds <= max(1.0, frame.slowest_s):
            y = frame.y(seconds)
            yield _line(frame.left, y, frame.width - RIGHT, y, "grid")
            yield _text(frame.left - 6, y + 4, words, anchor="end")
    if frame.is_wide:
        yield _text(0, TOP + 4, "time to answer")


def _points(frame: _Frame) -> Iterator[str]:
    """A path of dots for each kind, so that thousands of them stay small."""
    for kind in KINDS:
        dots = "".join(
            f"M{frame.x(point.at_s):.1f} {frame.y(point.seconds):.1f}h0"
            for point in frame.line.points
            if point.kind == kind
        )
        if dots:
            yield f'<path d="{dots}" class="dots {kind}"/>'


def _lanes(frame: _Frame) -> Iterator[str]:
    for number, (name, stretches) in enumerate(frame.lanes):
        y = frame.lanes_top + number * frame.lane_step + frame.lane_step - LANE_GAP
        yield _name(frame, y, name)
        for one in stretches:
            kind = "state " + one.state.replace(" ", "-")
            title = f"{name}: {one.state} from {one.from_s:.2f} to {one.until_s:.2f} s"
            yield _box(frame.x(one.from_s), y, frame.x(one.until_s), LANE_HEIGHT, kind, title)


def _name(frame: _Frame, y: float, words: str) -> str:
    if frame.is_wide:
        return _text(0, y + 12, words)
    return _text(frame.left, y - 3, words)


def _log(frame: _Frame) -> Iterator[str]:
    y = frame.log_top + frame.lane_step - LANE_GAP
    yield _name(frame, y, "log lines")
    yield _line(frame.left, y + LANE_HEIGHT, frame.width - RIGHT, y + LANE_HEIGHT, "grid")
    for one in frame.line.lines:
        kind = "tick trouble" if one.is_trouble else "tick"
        title = f"<title>{escape(f'{one.at_s:.2f} s {one.level} {one.event} {one.told}')}</title>"
        x = frame.x(one.at_s)
        yield (
            f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{x:.1f}" y2="{y + LANE_HEIGHT:.1f}" '
            f'class="{kind}">{title}</line>'
        )


def _axis(frame: _Frame) -> Iterator[str]:
    y = frame.height - BOTTOM + 8
    most = 10 if frame.is_wide else 5
    step = next((one for one in TICKS_S if frame.line.ends_s / one <= most), TICKS_S[-1])
    for number in range(int(frame.line.ends_s / step) + 1):
        x = frame.x(number * step)
        yield _line(x, y - 6, x, y - 2, "axis")
        words = f"{number * step:g} s" if number else "0"
        yield _text(x, y + 10, words, anchor="middle")
