"""Output of a run: a live table with bars in a terminal, plain lines elsewhere."""

import io
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Literal, Protocol, TextIO

from flows.plan import Plan

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

Outcome = Literal["ran", "restored", "kept", "failed", "stopped", "skipped"]

_MARKS: dict[Outcome, tuple[str, str]] = {
    "ran": ("✓", "green"),
    "restored": ("✓", "cyan"),
    "kept": ("·", "dim"),
    "failed": ("✗", "red"),
    "stopped": ("■", "yellow"),
    "skipped": ("-", "yellow"),
}


class View(Protocol):
    """Receives the events of a run, from many threads."""

    def waits(self, stage: str, why: str) -> None: ...
    def started(self, stage: str) -> None: ...
    def line(self, stage: str, text: str) -> None: ...
    def progress(self, stage: str, state: dict[str, Any]) -> None: ...
    def finished(self, stage: str, outcome: Outcome, seconds: float) -> None: ...
    def note(self, text: str) -> None: ...


class SilentView:
    """For runs that a worker started: Prefect's log has everything."""

    def waits(self, stage: str, why: str) -> None: ...
    def started(self, stage: str) -> None: ...
    def line(self, stage: str, text: str) -> None: ...
    def progress(self, stage: str, state: dict[str, Any]) -> None: ...
    def finished(self, stage: str, outcome: Outcome, seconds: float) -> None: ...
    def note(self, text: str) -> None: ...


class LineView:
    """One line per event, with its stage first: for logs, pipes and CI."""

    def __init__(self, stream: TextIO, width: int) -> None:
        self._stream, self._width = stream, width
        self._lock = threading.Lock()

    def waits(self, stage: str, why: str) -> None:
        self._print(stage, f"waits {why}")

    def started(self, stage: str) -> None:
        self._print(stage, "started")

    def line(self, stage: str, text: str) -> None:
        self._print(stage, f"| {text}")

    def progress(self, stage: str, state: dict[str, Any]) -> None:
        """Ignore it: the stage prints progress lines itself."""

    def finished(self, stage: str, outcome: Outcome, seconds: float) -> None:
        took = f" in {seconds:.1f} s" if outcome in ("ran", "restored", "failed") else ""
        self._print(stage, f"{_MARKS[outcome][0]} {outcome}{took}")

    def note(self, text: str) -> None:
        self._print("", text)

    def _print(self, stage: str, text: str) -> None:
        with self._lock, suppress(BrokenPipeError):  # the reader may exit (`| head`); a stage must not fail then
            self._stream.write(f"{stage:<{self._width}} {text}\n" if stage else f"{text}\n")
            self._stream.flush()


class LiveView:
    """A live table of all stages, with bars for those that report progress."""

    def __init__(self, stages: Sequence[str]) -> None:
        self._rows: dict[str, _Row] = {stage: _Row() for stage in stages}
        self._notes: list[str] = []
        self._lock = threading.Lock()

    def waits(self, stage: str, why: str) -> None:
        self.started(stage)
        self.line(stage, f"waits {why}")

    def started(self, stage: str) -> None:
        with self._lock:
            self._rows[stage] = _Row(began=time.monotonic())

    def line(self, stage: str, text: str) -> None:
        if text.strip():
            self._row(stage).last_line = text.strip()

    def progress(self, stage: str, state: dict[str, Any]) -> None:
        self._row(stage).progress = state

    def finished(self, stage: str, outcome: Outcome, seconds: float) -> None:
        row = self._row(stage)
        row.outcome, row.seconds = outcome, seconds

    def note(self, text: str) -> None:
        with self._lock:
            self._notes.append(text)

    def _row(self, stage: str) -> "_Row":
        with self._lock:  # dvc.yaml may have been edited since the table was created
            return self._rows.setdefault(stage, _Row())

    def __rich__(self) -> "RenderableType":
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(no_wrap=True, min_width=max(len(stage) for stage in self._rows) + 2)
        table.add_column(justify="right", min_width=7)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        with self._lock:
            for stage, row in self._rows.items():
                table.add_row(*row.cells(stage))
            notes = [Text(note) for note in self._notes]
        return Group(*notes[:1], table, *notes[1:])


class _Row:
    def __init__(self, began: float | None = None) -> None:
        self.began = began
        self.outcome: Outcome | None = None
        self.seconds = 0.0
        self.progress: dict[str, Any] = {}
        self.last_line = ""

    def cells(self, stage: str) -> tuple["RenderableType", ...]:
        from rich.progress_bar import ProgressBar
        from rich.spinner import Spinner
        from rich.text import Text

        if self.outcome is not None:
            mark, style = _MARKS[self.outcome]
            took = f"{self.seconds:.1f} s" if self.outcome != "kept" else ""
            return (Text(f"{mark} {stage}", style=style), took, "", Text(self.outcome, style="dim"))
        if self.began is None:
            return (Text(f"  {stage}", style="dim"), "", "", "")
        took = f"{time.monotonic() - self.began:.0f} s"
        name = Spinner("dots", Text(stage), style="bold")
        total, done = self.progress.get("total") or 0, self.progress.get("done") or 0
        if not total:
            return (name, took, "", Text(self.last_line, style="dim"))
        bar = ProgressBar(total=total, completed=done, width=24)
        return (name, took, bar, Text(describe_progress(self.progress)))


def describe_progress(state: dict[str, Any]) -> str:
    """One line for a progress file's content (genai_core/progress.py)."""
    parts = [f"{state['phase']} {state['done']:,}/{state['total']:,} {state['unit']}"]
    if state.get("per_second"):
        parts.append(f"{state['per_second']:,.0f}/s")
    if state.get("seconds_left"):
        parts.append(f"{state['seconds_left']:,.0f} s left")
    parts += [f"{name} {value:.3g}" for name, value in state.get("figures", {}).items()]
    return "  ".join(parts)


_current: ContextVar[View | None] = ContextVar("view", default=None)


def current_view() -> View:
    """The view of the current run; silent unless a command opened one."""
    return _current.get() or SilentView()


@contextmanager
def terminal_view(plan: Plan) -> Iterator[View]:
    """Open the view for this process's standard output."""
    stages = [entry.stage for entry in plan.stages]
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal may not support our marks; a stage must not fail then
        sys.stdout.reconfigure(errors="replace")
    if not sys.stdout.isatty():
        view: View = LineView(sys.stdout, width=max(map(len, stages)))
        with as_current(view):
            yield view
        return
    from rich.live import Live

    live_view = LiveView(stages)
    with as_current(live_view), Live(live_view, console=_console(), refresh_per_second=8):
        yield live_view


@contextmanager
def line_view(width: int = 20) -> Iterator[View]:
    """Open a view of plain lines, for runs whose stages are unknown at the start."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    view = LineView(sys.stdout, width)
    with as_current(view):
        yield view


def _console() -> "Console":
    from rich.console import Console

    return Console()


@contextmanager
def as_current(view: View) -> Iterator[None]:
    token = _current.set(view)
    try:
        yield
    finally:
        _current.reset(token)
