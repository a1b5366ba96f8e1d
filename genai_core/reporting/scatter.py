"""Scatter charts as SVG: one dot for each trial of a search."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

WIDTH, HEIGHT = 320, 200
LEFT, RIGHT, TOP, BOTTOM = 48, 14, 26, 38
_LOG_FROM = 20.0  # a vertical axis whose values differ by this factor is logarithmic
_JITTER = 0.5  # dots of one choice stand side by side, over this share of its column

Kind = Literal["plain", "best", "present"]


@dataclass(frozen=True)
class Dot:
    """A trial: x, y, its name for a tooltip, and how it is drawn."""

    x: float
    y: float
    name: str
    kind: Kind = "plain"


def scatter_svg(
    title: str,
    dots: Sequence[Dot],
    x_label: str,
    *,
    log_x: bool = False,
    choices: Sequence[str] = (),
    line: Sequence[tuple[float, float]] = (),
) -> str:
    """Draw dots; smaller y is lower. A tooltip names each dot.

    choices: names of x = 0, 1, 2 ..., instead of numbers. line: corners of a line in the same coordinates, such as the
    best value so far. Text and lines use the page's `currentColor`, dots its `--accent`. Non-finite values are skipped.
    """
    name = escape(title)
    begin = (
        f'<svg class="curve" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{name}" font-size="11" '
        f'xmlns="http://www.w3.org/2000/svg"><text y="12" fill="currentColor" font-weight="600">{name}</text>'
    )
    dots = [dot for dot in dots if math.isfinite(dot.x) and math.isfinite(dot.y)]
    if not dots:
        return begin + f'<text y="{HEIGHT / 2}" fill="currentColor" fill-opacity=".6">no values</text></svg>'
    xs = [dot.x for dot in dots] + [x for x, _ in line]
    ys = [dot.y for dot in dots] + [y for _, y in line]
    across = _Axis(*((-0.5, len(choices) - 0.5) if choices else (min(xs), max(xs))), log_x, LEFT, WIDTH - RIGHT)
    down = _Axis(min(ys), max(ys), min(ys) > 0 and max(ys) / min(ys) > _LOG_FROM, HEIGHT - BOTTOM, TOP)
    parts = [begin, *_y_ticks(down)]
    for at, text in _x_ticks(across, choices):
        parts.append(_text(at, HEIGHT - BOTTOM + 15, text, "middle"))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, x_label, "middle"))
    if line:
        corners = " ".join(f"{across(x):.1f},{down(y):.1f}" for x, y in line)
        parts.append(
            f'<polyline points="{corners}" fill="none" stroke="var(--accent, currentColor)" stroke-width="1.4"/>'
        )
    for number, dot in enumerate(dots):
        x = dot.x + (((number * 0.618) % 1.0 - 0.5) * _JITTER if choices else 0.0)
        parts.append(_dot(across(x), down(dot.y), dot))
    return "".join(parts) + "</svg>"


class _Axis:
    """Maps values to pixels, with a little room at both ends."""

    def __init__(self, low: float, high: float, log: bool, begin: float, end: float) -> None:
        self.log = log and low > 0
        low, high = self._scaled(low), self._scaled(high)
        room = 0.06 * (high - low) if high > low else abs(low) * 0.1 or 0.5
        self.low, self.high = low - room, high + room
        self._begin, self._end = begin, end

    def __call__(self, value: float) -> float:
        share = (self._scaled(value) - self.low) / (self.high - self.low)
        return self._begin + share * (self._end - self._begin)

    def ticks(self, count: int) -> list[float]:
        """Return about `count` round values within the axis."""
        if self.log:
            powers = range(math.floor(self.low), math.ceil(self.high) + 1)
            found = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
            found = [value for value in found if self.low <= math.log10(value) <= self.high]
            whole = [value for value in found if math.isclose(math.log10(value) % 1.0, 0.0, abs_tol=1e-9)]
            return whole if len(whole) >= 2 else found
        rough = (self.high - self.low) / count
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * (1 - 1e-9))
        return [step * n for n in range(math.ceil(self.low / step), math.floor(self.high / step) + 1)]

    def _scaled(self, value: float) -> float:
        return math.log10(value) if self.log else value


def _y_ticks(axis: _Axis) -> list[str]:
    parts = []
    for tick in axis.ticks(4):
        at = axis(tick)
        parts.append(f'<path d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}" stroke="currentColor" stroke-opacity=".12"/>')
        parts.append(_text(LEFT - 6, at + 3.5, f"{tick:.4g}", "end"))
    return parts


def _x_ticks(axis: _Axis, choices: Sequence[str]) -> list[tuple[float, str]]:
    if choices:
        return [(axis(number), choice[:14]) for number, choice in enumerate(choices)]
    return [(axis(tick), f"{tick:.4g}") for tick in axis.ticks(4)]


def _dot(x: float, y: float, dot: Dot) -> str:
    tip = f"<title>{escape(dot.name)}</title>"
    if dot.kind == "best":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5.5" fill="var(--accent, currentColor)">{tip}</circle>'
    hollow = 'fill="none" stroke="currentColor" stroke-width="1.6"' if dot.kind == "present" else ""
    look = hollow or 'fill="var(--accent, currentColor)" fill-opacity=".5"'
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.8" {look}>{tip}</circle>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="currentColor" fill-opacity=".65">'
        f"{escape(text)}</text>"
    )
