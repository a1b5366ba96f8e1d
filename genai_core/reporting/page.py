"""The report as one self-contained HTML file, including styles, pictures and charts."""

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from genai_core.reporting.summary import Summary
from genai_core.reporting.templates import template_environment

TEMPLATE = "report.html.j2"
HASH, SHORT_HASH = re.compile("[0-9a-f]{40,64}"), 12
MISSING = "\N{EN DASH}"


@dataclass(frozen=True)
class Picture:
    """A PNG with its title and note. `rows`: names of its rows, to show next to the image."""

    title: str
    png: bytes
    note: str = ""
    rows: tuple[str, ...] = ()

    @property
    def data_uri(self) -> str:
        """Return the picture as a data URI."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode()

    @property
    def max_width_px(self) -> int:
        """Maximum display width, so that a grid of few columns is not enlarged to the page's width."""
        width_px = int.from_bytes(self.png[16:20], "big")  # in the PNG's first chunk
        return 2 * width_px


@dataclass(frozen=True)
class Training:
    """A model's training: charts (SVG from this package), pictures, and a note on why it ended."""

    name: str
    curves: tuple[str, ...]
    pictures: tuple[Picture, ...]
    note: str = ""


@dataclass(frozen=True)
class Robustness:
    """Figures under disturbed images (charts, SVG), and a set's stability; `note` may be empty."""

    name: str
    curves: tuple[str, ...]
    note: str = ""


@dataclass(frozen=True)
class StageCost:
    """Time and memory of a stage's last run."""

    stage: str
    seconds: float
    peak_memory_mb: int


@dataclass(frozen=True)
class SearchLink:
    """A search for better settings: its study, the path of its page from this one, and what it found in a line."""

    study: str
    page: str
    summary: str


@dataclass(frozen=True)
class Page:
    """Contents of the report. `dag`: an SVG from this package; if it is None, `dag_missing` says why."""

    title: str
    created: str  # date and time
    summary: Summary
    hero: Picture
    comparison: tuple[Picture, ...]
    trainings: tuple[Training, ...]
    robustness: tuple[Robustness, ...]
    lineage: str  # also an SVG
    dag: str | None
    dag_missing: str
    costs: tuple[StageCost, ...]
    versions: Mapping[str, Mapping[str, str]]  # section: name: value
    parameters: Mapping[str, Any]
    searches: tuple[SearchLink, ...]


def render_page(page: Page) -> str:
    """Render the page as HTML. All text is escaped, except for the charts of this package."""
    environment = template_environment()
    environment.filters |= {"svg": Markup, "figure": _figure, "seconds": seconds_text, "flat": _flat}
    longest_s = max((cost.seconds for cost in page.costs), default=1.0)
    return environment.get_template(TEMPLATE).render(page=page, longest_s=max(longest_s, 1e-9))


def seconds_text(value: float | None) -> str:
    """Format a duration: 7.3 s, 4 min 5 s, 2 h 3 min."""
    if value is None:
        return MISSING
    if value < 60:
        return f"{value:.1f} s"
    minutes, seconds = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {seconds} s"
    return f"{minutes // 60} h {minutes % 60} min"


def _figure(value: float | None, form: str = "") -> str:
    """Format a number in Python's format, or with three digits: 0.123, 1.23, 12.0, 1,234. A dash for None."""
    if value is None:
        return MISSING
    if form:
        return format(value, form)
    return f"{value:,.0f}" if abs(value) >= 99.95 else f"{value:#.3g}"


def _plain(value: object) -> str:
    """Format a table value: integers with separators, hashes truncated."""
    if type(value) is int:
        return f"{value:,}"
    text = str(value)
    return text[:SHORT_HASH] if HASH.fullmatch(text) else text


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Flatten nested sections to rows: ("training.seed", "0"). Lists become one line."""
    rows: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            rows += _flat(value, f"{prefix}{name}.")
        elif isinstance(value, Sequence) and not isinstance(value, str):
            rows.append((prefix + name, ", ".join(map(str, value))))
        else:
            rows.append((prefix + name, _plain(value)))
    return rows
