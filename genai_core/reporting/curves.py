"""Training curves as small SVG charts, one per figure, because a loss and a gradient norm have different scales."""

import math
from collections.abc import Sequence
from html import escape

import numpy as np
import numpy.typing as npt

WIDTH, HEIGHT = 320, 170
LEFT, RIGHT, TOP, BOTTOM = 44, 10, 26, 24
MAX_POINTS = 240
# An extreme first step would flatten the curve: cut the axis at this quantile.
SHOWN_SHARE = 0.98


def curve_svg(
    title: str,
    images: npt.NDArray[np.floating],
    values: npt.NDArray[np.floating],
    marks: Sequence[float] = (),
) -> str:
    """Draw a line chart of `values` (N,) over training `images` seen (N,); non-finite values are skipped.

    marks: numbers of images at which training was rolled back, drawn as dashed lines. Text and lines use the page's
    `currentColor`, the curve its `--accent`.
    """
    finite = np.isfinite(values) & np.isfinite(images)
    x, y = _thinned(images[finite].astype(float)), _thinned(values[finite].astype(float))
    name = escape(title)
    begin = (
        f'<svg class="curve" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{name}" font-size="11" '
        f'xmlns="http://www.w3.org/2000/svg"><text y="12" fill="currentColor" font-weight="600">{name}</text>'
    )
    if len(x) == 0:
        return begin + f'<text x="0" y="{HEIGHT / 2}" fill="currentColor" fill-opacity=".6">no values</text></svg>'
    x_ticks, y_ticks = _ticks(0.0, float(x.max())), _ticks(*_shown_range(y))
    x_end, low, high = max(x_ticks[-1], float(x.max())), y_ticks[0], y_ticks[-1]
    across = LEFT + x / x_end * (WIDTH - LEFT - RIGHT)
    down = _down(np.clip(y, low, high), low, high)
    parts = [begin]
    for tick in y_ticks:
        at = float(_down(np.array(tick), low, high))
        parts.append(
            f'<path d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}" stroke="currentColor" stroke-opacity=".12"/>'
            f'<text x="{LEFT - 6}" y="{at + 3.5:.1f}" text-anchor="end" fill="currentColor" fill-opacity=".6">'
            f"{_short(tick)}</text>"
        )
    for index, tick in enumerate(x_ticks):
        at = LEFT + tick / x_end * (WIDTH - LEFT - RIGHT)
        anchor = "end" if index == len(x_ticks) - 1 and tick >= 0.9 * x_end else "middle"
        parts.append(
            f'<text x="{at:.1f}" y="{HEIGHT - 6}" text-anchor="{anchor}" fill="currentColor" fill-opacity=".6">'
            f"{_short(tick)}</text>"
        )
    for mark in marks:
        at = LEFT + mark / x_end * (WIDTH - LEFT - RIGHT)
        parts.append(
            f'<path class="mark" d="M{at:.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="currentColor" stroke-opacity=".5" '
            'stroke-dasharray="3 3"/>'
        )
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(across, down, strict=True))
    parts.append(f'<polyline points="{points}" fill="none" stroke="var(--accent, currentColor)" stroke-width="1.6"/>')
    last = f"{y[-1]:.3g}"
    parts.append(f'<text x="{WIDTH - RIGHT}" y="12" text-anchor="end" fill="currentColor">{last}</text></svg>')
    return "".join(parts)


def _thinned(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Reduce to at most MAX_POINTS means of neighbours."""
    if len(values) <= MAX_POINTS:
        return values
    return np.array([part.mean() for part in np.array_split(values, MAX_POINTS)])


def _shown_range(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.quantile(values, [1 - SHOWN_SHARE, SHOWN_SHARE])
    spread = high - low
    # Cut outliers only if they are far away.
    return (
        float(values.min() if values.min() > low - spread else low),
        float(values.max() if values.max() < high + spread else high),
    )


def _ticks(low: float, high: float) -> list[float]:
    """Return three to six round numbers from at or below `low` to at or above `high`."""
    spread = high - low
    if spread <= 1e-9 * max(abs(low), abs(high)):
        # A constant: centre it on an axis of its own magnitude.
        low, high = low - (abs(low) or 1.0) / 2, high + (abs(high) or 1.0) / 2
        spread = high - low
    rough = spread / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [step * index for index in range(first, max(last, first + 1) + 1)]


def _down(values: npt.NDArray[np.float64], low: float, high: float) -> npt.NDArray[np.float64]:
    return TOP + (high - values) / (high - low) * (HEIGHT - TOP - BOTTOM)


def _short(value: float) -> str:
    """Format 1500 as 1.5k, 2000000 as 2M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.4g}{letter}"
    return f"{value:.4g}" if abs(value) > 1e-12 else "0"
