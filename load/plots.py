"""Plots as inline SVG, no script: a page that can be mailed. Pure; colours come from the page.

Coordinates are those of the view box; the page stretches it. Times are on a logarithmic axis,
since a P99 and a median are seldom of one size.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from markupsafe import escape

WIDTH: Final = 560.0
HEIGHT: Final = 260.0
LEFT, RIGHT, TOP, BOTTOM = 58.0, 20.0, 22.0, 30.0
# A scatter of more points is a blot; the slowest of each moment and all late ones stay.
BINS: Final = 260
PER_BIN: Final = 5
CURVE_POINTS: Final = 400
TICKS_TIME: Final = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 900, 1800, 3600)
TICKS_MAX: Final = 7
LABEL_ROWS: Final = 3
# Room below the quickest and above the slowest, on the logarithmic axis.
MARGIN: Final = 1.5


@dataclass(frozen=True, slots=True)
class Band:
    """A part of the run that is shaded: warm-up, a fault."""

    from_s: float
    until_s: float
    kind: str
    label: str


@dataclass(frozen=True, slots=True)
class Point:
    """One request: when it was due, how long it took (infinite: never well), its fate."""

    at_s: float
    seconds: float
    fate: str


@dataclass(slots=True)
class Plot:
    """A frame with a linear axis of time (or rank) and a logarithmic one of seconds."""

    x_max: float
    y_min_s: float
    y_max_s: float
    parts: list[str] = field(default_factory=list)
    x_min: float = 0.0

    def x(self, value: float) -> float:
        """Across."""
        span = (self.x_max - self.x_min) or 1.0
        return LEFT + (value - self.x_min) / span * (WIDTH - LEFT - RIGHT)

    def y(self, seconds: float) -> float:
        """Up, logarithmically; what is infinite stands above the frame."""
        if math.isinf(seconds):
            return TOP - 10
        low, high = math.log10(self.y_min_s), math.log10(self.y_max_s)
        at = (math.log10(max(seconds, self.y_min_s)) - low) / ((high - low) or 1.0)
        return HEIGHT - BOTTOM - at * (HEIGHT - TOP - BOTTOM)

    def rectangle(self, x0: float, x1: float, css: str, title: str = "") -> None:
        """A shaded part over the whole height."""
        inner = f"<title>{escape(title)}</title>" if title else ""
        self.parts.append(
            f'<rect class="{css}" x="{x0:.1f}" y="{TOP}" width="{max(1.0, x1 - x0):.1f}" '
            f'height="{HEIGHT - TOP - BOTTOM}">{inner}</rect>'
        )

    def line(self, x0: float, y0: float, x1: float, y1: float, css: str) -> None:
        """A straight line."""
        self.parts.append(
            f'<line class="{css}" x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}"/>'
        )

    def text(self, x: float, y: float, text: str, css: str = "", anchor: str = "start") -> None:
        """A label."""
        self.parts.append(
            f'<text class="{css}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">'
            f"{escape(text)}</text>"
        )

    def polyline(self, points: Iterable[tuple[float, float]], css: str) -> None:
        """A curve."""
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.parts.append(f'<polyline class="{css}" points="{path}"/>')

    def dot(self, x: float, y: float, css: str, radius: float = 1.7) -> None:
        """A point."""
        self.parts.append(f'<circle class="{css}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}"/>')

    def frame(self) -> None:
        """The axis of seconds with its decades."""
        low = math.ceil(math.log10(self.y_min_s) - 1e-9)
        high = math.floor(math.log10(self.y_max_s) + 1e-9)
        for decade in range(low, high + 1):
            y = self.y(10.0**decade)
            self.line(LEFT, y, WIDTH - RIGHT, y, "grid")
            self.text(LEFT - 6, y + 4, seconds_label(10.0**decade), "tick", "end")

    def time_axis(self) -> None:
        """The axis of the run's time."""
        span = self.x_max - self.x_min
        step = next((one for one in TICKS_TIME if span / one <= TICKS_MAX), TICKS_TIME[-1])
        for number in range(int(self.x_max // step) + 1):
            x = self.x(number * step)
            self.line(x, HEIGHT - BOTTOM, x, HEIGHT - BOTTOM + 4, "axis")
            self.text(x, HEIGHT - BOTTOM + 18, time_label(number * step), "tick", "middle")
        self.line(LEFT, HEIGHT - BOTTOM, WIDTH - RIGHT, HEIGHT - BOTTOM, "axis")

    def svg(self, label: str) -> str:
        """The whole plot, its texts escaped; `label` says what it shows to who cannot see it."""
        return (
            f'<svg viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" aria-label="{escape(label)}">'
            + "".join(self.parts)
            + "</svg>"
        )


def seconds_label(seconds: float) -> str:
    """0.5 ms, 20 ms, 1 s: as an axis says it."""
    if seconds < 1:
        return f"{seconds * 1000:g} ms"
    return f"{seconds:g} s"


def time_label(seconds: float) -> str:
    """0, 30 s, 2 min."""
    if seconds and seconds % 60 == 0:
        return f"{seconds / 60:g} min"
    return f"{seconds:g} s" if seconds else "0"


def bounds(values: Iterable[float]) -> tuple[float, float]:
    """What holds all finite values, with room around them, over a decade at least."""
    finite = [max(one, 1e-4) for one in values if math.isfinite(one)] or [0.001, 1.0]
    low_s, high_s = min(finite) / MARGIN, max(finite) * MARGIN
    return low_s, max(high_s, 10 * low_s)


def thinned(points: Sequence[Point], over_s: float) -> list[Point]:
    """Few enough points to see: all that are not well, and of each moment the slowest and some."""
    bins: dict[int, list[Point]] = {}
    kept = [one for one in points if one.fate != "held"]
    for one in points:
        if one.fate == "held":
            bins.setdefault(int(one.at_s / (over_s or 1.0) * BINS), []).append(one)
    for many in bins.values():
        ordered = sorted(many, key=lambda one: one.seconds)
        step = max(1, -(-len(ordered) // PER_BIN))
        kept += [*ordered[::-1][::step]]
    return kept


def latency_over_time(
    points: Sequence[Point],
    over_s: float,
    within_s: float,
    p99_s: float | None,
    bands: Sequence[Band],
) -> str:
    """Each request by when it was due; the target, the P99, and what is shaded."""
    low, high = bounds([*(one.seconds for one in points), within_s])
    plot = Plot(over_s, low, high)
    for band in bands:
        if band.until_s > band.from_s:
            x0, x1 = plot.x(band.from_s), plot.x(band.until_s)
            plot.rectangle(x0, x1, f"band {band.kind}", band.label)
    plot.frame()
    plot.time_axis()
    for one in thinned(points, over_s):
        radius = 1.7 if one.fate == "held" else 2.6
        plot.dot(plot.x(one.at_s), plot.y(one.seconds), f"dot-{one.fate}", radius)
    if any(math.isinf(one.seconds) for one in points):
        plot.text(LEFT - 6, TOP - 6, "never", "tick", "end")
    _level(plot, within_s, "target", f"target {seconds_label(within_s)}")
    if p99_s is not None and math.isfinite(p99_s):
        _level(plot, p99_s, "p99", f"P99 {rounded(p99_s)}")
    for number, band in enumerate(one for one in bands if one.label):
        row = number % LABEL_ROWS  # neighbours' labels would run into each other
        plot.text(plot.x(band.from_s) + 3, HEIGHT - BOTTOM - 6 - 18 * row, band.label, "note")
    return plot.svg("latency of each request against the time at which it was due")


def _level(plot: Plot, seconds: float, css: str, label: str) -> None:
    y = plot.y(seconds)
    plot.line(LEFT, y, WIDTH - RIGHT, y, css)
    plot.text(WIDTH - RIGHT - 2, y - 4, label, f"{css}-label", "end")


def rounded(seconds: float | None) -> str:
    """A time with three digits, in the unit that fits; "none" for none."""
    if seconds is None:
        return "none"
    if math.isinf(seconds):
        return "never"
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    return f"{seconds:.3g} s" if seconds < 1000 else f"{seconds:.0f} s"  # noqa: PLR2004  three digits


def distribution(
    seconds: Sequence[float],
    within_s: float,
    p99: tuple[float | None, float | None, float | None],
) -> str:
    """Quantiles, the tail stretched: 50, 90, 99, 99.9 %; the P99 with its exact interval.

    Takes: `p99` as lower end, point, upper end; an upper end of None is open.
    """
    ordered = sorted(seconds)
    low, high = bounds([*ordered, within_s])
    tail = math.log10(max(len(ordered), 100)) if ordered else 2.0
    plot = Plot(tail, low, high)
    plot.frame()
    for share, name in ((0.5, "50 %"), (0.9, "90 %"), (0.99, "99 %"), (0.999, "99.9 %")):
        x = -math.log10(1 - share)
        if x <= tail:
            plot.line(plot.x(x), TOP, plot.x(x), HEIGHT - BOTTOM, "grid")
            plot.text(plot.x(x), HEIGHT - BOTTOM + 18, name, "tick", "middle")
    plot.line(LEFT, HEIGHT - BOTTOM, WIDTH - RIGHT, HEIGHT - BOTTOM, "axis")
    plot.polyline(_curve(plot, ordered, tail), "curve")
    if ordered and math.isinf(ordered[-1]):
        plot.text(LEFT - 6, TOP - 6, "never", "tick", "end")
    _level(plot, within_s, "target", f"target {seconds_label(within_s)}")
    _interval(plot, p99)
    return plot.svg("quantiles of the latency, with the exact interval of the P99")


def _curve(plot: Plot, ordered: Sequence[float], tail: float) -> list[tuple[float, float]]:
    n, points = len(ordered), []
    last_x = -1.0
    for number, one in enumerate(ordered):
        across = min(tail, -math.log10(1 - (number + 0.5) / n))
        x = plot.x(across)
        if x - last_x >= (WIDTH - LEFT - RIGHT) / CURVE_POINTS or number == n - 1:
            points.append((x, plot.y(one)))
            last_x = x
    return points


def _interval(plot: Plot, p99: tuple[float | None, float | None, float | None]) -> None:
    low, point, high = p99
    if low is None or point is None or math.isinf(point):
        return
    x = plot.x(2.0)
    top = plot.y(high) if high is not None else TOP - 6
    plot.line(x, plot.y(low), x, top, "interval")
    if high is None or math.isinf(high):
        plot.text(x, TOP - 8, "no upper end", "note", "middle")
    plot.dot(x, plot.y(point), "interval-point", 3.6)


def arrivals(
    intended: Sequence[float], sent: Sequence[float], dropped: Sequence[float], over_s: float
) -> str:
    """Requests due and sent in each second: where the lines part, the rate was not kept."""
    width_s = max(1.0, math.ceil(over_s / 120))
    counted = [_per_bin(times, width_s, over_s) for times in (intended, sent, dropped)]
    most = max(1.0, *(max(one, default=0.0) for one in counted)) * 1.15
    plot = Plot(over_s, 1.0, 10.0)

    def level(rate: float) -> float:
        return HEIGHT - BOTTOM - rate / most * (HEIGHT - TOP - BOTTOM)

    for rate in _round_steps(most):
        plot.line(LEFT, level(rate), WIDTH - RIGHT, level(rate), "grid")
        plot.text(LEFT - 6, level(rate) + 4, f"{rate:g}/s", "tick", "end")
    plot.time_axis()
    for rates, css in zip(counted, ("due", "sent", "dropped"), strict=True):
        if css == "dropped" and not any(rates):
            continue
        steps = []
        for number, rate in enumerate(rates):
            ends_s = min(over_s, (number + 1) * width_s)
            steps += [(plot.x(number * width_s), level(rate)), (plot.x(ends_s), level(rate))]
        plot.polyline(steps, f"steps-{css}")
    return plot.svg("requests due, sent and dropped per second")


def _per_bin(times: Sequence[float], width_s: float, over_s: float) -> list[float]:
    bins = [0] * max(1, math.ceil(over_s / width_s))
    for one in times:
        if 0 <= one < over_s:
            bins[min(len(bins) - 1, int(one / width_s))] += 1
    return [count / width_s for count in bins]


def _round_steps(most: float) -> list[float]:
    step = 10.0 ** math.floor(math.log10(most))
    step = step if most / step >= 4 else step / 2 if most / step >= 2 else step / 4  # noqa: PLR2004  four lines or so
    return [number * step for number in range(int(most / step) + 1)]


def instrument(
    lags: Sequence[tuple[float, float]], pings: Sequence[tuple[float, float]], over_s: float
) -> str:
    """How late requests left, and what the control ping took: the worst of each moment."""
    worst = [_worst(pairs, over_s) for pairs in (lags, pings)]
    low, high = bounds(value for pairs in worst for _, value in pairs)
    plot = Plot(over_s, low, high)
    plot.frame()
    plot.time_axis()
    for pairs, css in zip(worst, ("lag", "ping"), strict=True):
        plot.polyline([(plot.x(at_s), plot.y(value)) for at_s, value in pairs], f"line-{css}")
    return plot.svg("the generator's lag and the control ping, the worst of each moment")


def _worst(pairs: Sequence[tuple[float, float]], over_s: float) -> list[tuple[float, float]]:
    width_s = max(0.5, over_s / BINS)
    found: dict[int, float] = {}
    for at_s, value in pairs:
        if 0 <= at_s <= over_s:
            number = int(at_s / width_s)
            found[number] = max(found.get(number, 0.0), value, 1e-4)
    return [((number + 0.5) * width_s, value) for number, value in sorted(found.items())]
