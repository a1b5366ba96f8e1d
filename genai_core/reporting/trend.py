"""Quality over data versions: a chart with intervals, and a page with the chart and a table."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path


@dataclass(frozen=True)
class Point:
    """A version's figure with its interval."""

    name: str
    value: float
    low: float
    high: float


def trend_png(points: Sequence[Point], metric: str, path: Path) -> None:
    """Draw a line over the versions in order, each with its interval; smaller is better."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(max(5.0, 1.1 * len(points) + 2.0), 3.6), layout="constrained")
    axes = figure.subplots()
    x, values = range(len(points)), [point.value for point in points]
    # An interval from resamples need not contain the value itself.
    below = [max(point.value - point.low, 0.0) for point in points]
    above = [max(point.high - point.value, 0.0) for point in points]
    axes.errorbar(x, values, yerr=[below, above], marker="o", capsize=4, linewidth=1.5)
    axes.set_xticks(list(x), [point.name for point in points], fontsize=8)
    axes.set_ylabel(f"{metric} (smaller is better)")
    axes.set_ylim(bottom=0.0)
    axes.grid(axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)


def trend_page(rows: Sequence[Mapping[str, str]], chart: Path) -> str:
    """Return a self-contained HTML page: the chart, and a table with one row per version."""
    data = base64.b64encode(chart.read_bytes()).decode()
    head = "".join(f"<th>{escape(name.replace('_', ' '))}</th>" for name in rows[0])
    body = "".join("<tr>" + "".join(f"<td>{escape(_short(v))}</td>" for v in row.values()) + "</tr>" for row in rows)
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><title>Quality against data version</title><style>"
        "body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}"
        "table{border-collapse:collapse;font-size:.85rem;display:block;overflow-x:auto}"
        "th,td{padding:.25rem .6rem;border-bottom:1px solid #ddd;text-align:left;white-space:nowrap}"
        "img{max-width:100%}</style><h1>Quality against data version</h1>"
        f'<img alt="{escape(rows[0]["metric"])} by data version" src="data:image/png;base64,{data}">'
        f"<table><tr>{head}</tr>{body}</table></html>\n"
    )


def _short(value: str) -> str:
    """Shorten hashes to ten digits, figures to four."""
    if len(value) > 30 and value.removesuffix(".dir").isalnum():
        return value[:10]
    try:
        return f"{float(value):.4g}" if "." in value else value
    except ValueError:
        return value
