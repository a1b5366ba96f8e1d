"""The report as one HTML file that needs nothing else: styles, pictures and charts are inside."""

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from genai_core.reporting.summary import Summary

TEMPLATE = "report.html.j2"
HASH, SHORT_HASH = re.compile("[0-9a-f]{40,64}"), 12
MISSING = "\N{EN DASH}"


@dataclass(frozen=True)
class Picture:
    """A PNG with what it shows; `rows` are the names of its rows, when they stand beside it rather than in it."""

    title: str
    png: bytes
    note: str = ""
    rows: tuple[str, ...] = ()

    @property
    def address(self) -> str:
        """The picture as a data URI."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode()

    @property
    def most_px(self) -> int:
        """The width up to which it may be shown: a grid of few columns is not blown up to the page's."""
        width_px = int.from_bytes(self.png[16:20], "big")  # in the PNG's first chunk
        return 2 * width_px


@dataclass(frozen=True)
class Training:
    """How a model was trained: charts (SVG, made by this package), pictures, and what ended it."""

    name: str
    curves: tuple[str, ...]
    pictures: tuple[Picture, ...]
    note: str = ""


@dataclass(frozen=True)
class Robustness:
    """How figures move when a set's images are disturbed (charts, SVG), and how stable it is; `note` may be empty."""

    name: str
    curves: tuple[str, ...]
    note: str = ""


@dataclass(frozen=True)
class StageCost:
    """What a stage took the last time that it ran."""

    stage: str
    seconds: float
    peak_memory_mb: int


@dataclass(frozen=True)
class Page:
    """All that the report shows. `dag` is an SVG made by this package, or None; then `dag_missing` says why."""

    title: str
    made: str  # date and time
    summary: Summary
    hero: Picture
    comparison: tuple[Picture, ...]
    trainings: tuple[Training, ...]
    robustness: tuple[Robustness, ...]
    lineage: str  # an SVG too
    dag: str | None
    dag_missing: str
    costs: tuple[StageCost, ...]
    versions: Mapping[str, Mapping[str, str]]  # section: name: value
    parameters: Mapping[str, Any]


def render_page(page: Page) -> str:
    """The page as HTML. All text is escaped; only the charts of this package are put in as they are."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"svg": Markup, "figure": _figure, "seconds": seconds_text, "flat": _flat}
    longest_s = max((cost.seconds for cost in page.costs), default=1.0)
    return environment.get_template(TEMPLATE).render(page=page, longest_s=max(longest_s, 1e-9))


def seconds_text(value: float | None) -> str:
    """7.3 s, 4 min 5 s, 2 h 3 min."""
    if value is None:
        return MISSING
    if value < 60:
        return f"{value:.1f} s"
    minutes, seconds = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {seconds} s"
    return f"{minutes // 60} h {minutes % 60} min"


def _figure(value: float | None, form: str = "") -> str:
    """A number in Python's format, or with three digits: 0.123, 1.23, 12.0, 1,234. A dash when there is none."""
    if value is None:
        return MISSING
    if form:
        return format(value, form)
    return f"{value:,.0f}" if abs(value) >= 99.95 else f"{value:#.3g}"


def _plain(value: object) -> str:
    """A value of a table: whole numbers grouped, hashes cut to their head."""
    if type(value) is int:
        return f"{value:,}"
    text = str(value)
    return text[:SHORT_HASH] if HASH.fullmatch(text) else text


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested sections as rows: ("training.seed", "0"). Lists stand on one line."""
    rows: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            rows += _flat(value, f"{prefix}{name}.")
        elif isinstance(value, Sequence) and not isinstance(value, str):
            rows.append((prefix + name, ", ".join(map(str, value))))
        else:
            rows.append((prefix + name, _plain(value)))
    return rows
