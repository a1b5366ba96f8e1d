"""The table of a search while it runs: live in a terminal, a line for each trial elsewhere."""

import io
import json
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from flows.search.trial import TrialState

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

_MARKS = {
    "complete": ("✓", "green"),
    "pruned": ("·", "dim"),
    "failed": ("✗", "red"),
    "stopped": ("■", "yellow"),
    "interrupted": ("■", "yellow"),
}
_SHOWN = 20  # the last trials; `genai search show` lists all
_OTHER_LINES = 3  # of the terminal: the table's head, the last line, and the one of the cursor
_STATE_WIDTH, _NUMBER_WIDTH = 22, 7  # characters


class SearchTable:
    """Shows the trials of this search. best: of earlier ones. total: 0 if only the time limits the search."""

    def __init__(self, keys: Sequence[str], metric: str, best: float | None, total: int, *, live: bool) -> None:
        self._short = short_names(keys)
        self._metric, self._best, self._total, self._live = metric, best, total, live
        self._trials: dict[int, TrialState] = {}
        self._lock = threading.Lock()

    def add(self, trial: TrialState) -> None:
        with self._lock:
            self._trials[trial.number] = trial

    def ended(self, trial: TrialState) -> None:
        """Show the end of a trial. Where there is no terminal, in a line."""
        with self._lock:
            is_best = self._note_best(trial)
            if not self._live:
                best = ", the best so far" if is_best else ""
                print(f"trial {trial.number}: {_ended_text(trial)}{best}: {values_text(trial.values)}", flush=True)

    def _note_best(self, trial: TrialState) -> bool:
        figures = trial.ended.figures if trial.ended else None
        if figures is None or (self._best is not None and figures.distance >= self._best):
            return False
        self._best = figures.distance
        return True

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
        # One line for each trial, or the newest ones would be below the terminal's end. In a narrow one, the last keys
        # are missing; `genai search show` has all of that.
        names = ["trial", self._metric, *self._short.values()]
        left = options.max_width - sum(max(len(name), _NUMBER_WIDTH) + 2 for name in names)
        for name in names:
            table.add_column(name, justify="right", no_wrap=True, min_width=len(name))
            if name is self._metric:
                table.add_column("", no_wrap=True, overflow="ellipsis", width=max(_STATE_WIDTH, left))
        with self._lock:
            trials = [self._trials[number] for number in sorted(self._trials)]
        for trial in trials[-max(1, min(_SHOWN, console.height - _OTHER_LINES)) :]:
            mark, style = _MARKS[trial.ended.end] if trial.ended else ("▸", "bold")
            state = _ended_text(trial, with_distance=False) if trial.ended else _running_text(trial)
            figures = trial.ended.figures if trial.ended else None
            distance = f"{figures.distance:.4g}" if figures else ""
            if figures and figures.distance == self._best:
                style = "bold green"
            values = [cell(trial.values[key]) if key in trial.values else "" for key in self._short]
            table.add_row(str(trial.number), distance, f"{mark} {state}", *values, style=style)
        best = "none yet" if self._best is None else f"{self._best:.4g}"
        of = f" of {self._total}" if self._total else ""
        done = max(self._trials, default=-1) + 1
        yield table
        yield Text(f"trials: {done}{of}, best {self._metric}: {best}", style="dim")


@contextmanager
def shown(table: SearchTable, *, live: bool) -> Iterator[None]:
    """Show the table in the body; `live` in a terminal."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal may not support our marks
        sys.stdout.reconfigure(errors="replace")
    if not live:
        yield
        return
    from rich.live import Live

    with Live(table, refresh_per_second=4):
        yield


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """The shortest ends of dotted names that tell them apart: learning_rate, generator.width."""
    found = {}
    for key in keys:
        parts = key.split(".")
        ends = [".".join(parts[-count:]) for count in range(1, len(parts) + 1)]
        others = [other for other in keys if other != key]
        found[key] = next((end for end in ends if not any(f".{other}".endswith(f".{end}") for other in others)), key)
    return found


def values_text(values: Mapping[str, Any]) -> str:
    """A trial's values in a line, by short names."""
    names = short_names(list(values))
    return ", ".join(f"{names[key]} {cell(value)}" for key, value in values.items())


def cell(value: Any) -> str:
    """A value of params.yaml as a person reads it there: null, true, 0.001."""
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value)


def _running_text(trial: TrialState) -> str:
    return f"{trial.stage} {trial.share:.0%}" if trial.share else trial.stage


def _ended_text(trial: TrialState, *, with_distance: bool = True) -> str:
    end = trial.ended
    assert end is not None
    took = f" in {end.seconds:.0f} s" if end.seconds else ""
    if end.end == "complete" and end.figures is not None:
        distance = f" {end.figures.distance:.4g}" if with_distance else ""
        return f"complete{distance}{took}" if end.seconds else f"complete{distance}, restored"
    if end.end == "pruned":
        return f"pruned at {max(trial.distances, default=0.0):.0%} of its training{took}"
    return f"{end.end}: {end.fault[:200]}" if end.fault else end.end
