"""Progress of a long computation: a small JSON file for programs, and occasional lines for people."""

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path


class Progress:
    """Counts units done; writes them to `path` and prints them, each at most once per interval.

    path: the progress file, or None for no file. The file holds
    {"phase", "unit", "done", "total", "per_second", "seconds_left", "figures", "updated_at"}, and what `keep` adds.
    """

    def __init__(
        self,
        path: Path | None = None,
        *,
        file_interval_s: float = 0.5,
        line_interval_s: float = 10.0,
        silent: bool = False,
    ) -> None:
        self._path = path
        self._file_interval_s = file_interval_s
        self._line_interval_s = line_interval_s
        self._silent = silent
        self._kept: dict[str, object] = {}
        self.begin("start", total=0, unit="steps")

    def begin(self, phase: str, *, total: int, unit: str, done: int = 0) -> None:
        """Start a phase of `total` units; `done` of them were done by an earlier, interrupted run."""
        self._phase, self._total, self._unit = phase, total, unit
        self._first_done, self._began = done, time.monotonic()
        self._budget_s: float | None = None
        self._last: tuple[int, Mapping[str, float]] = done, {}
        self._file_written = self._line_written = -float("inf")
        if total:
            self._write_file(done, {})

    def update(self, done: int, figures: Mapping[str, float] | None = None, *, budget_s: float | None = None) -> None:
        """Report that `done` units of the phase are done, with current figures (losses, images/s ...).

        budget_s: the phase ends after this many seconds from now, even if incomplete; None: no limit.
        """
        now = time.monotonic()
        self._budget_s, self._last = budget_s, (done, figures or {})
        if now - self._file_written >= self._file_interval_s or done >= self._total:
            self._write_file(done, figures or {})
            self._file_written = now
        if not self._silent and (now - self._line_written >= self._line_interval_s or done >= self._total):
            self._print_line(done, figures or {})
            self._line_written = now

    def keep(self, name: str, value: object) -> None:
        """Write a JSON value into the file at once, under `name`, and leave it there to the end."""
        self._kept[name] = value
        self._write_file(*self._last)

    def per_second(self, done: int) -> float:
        """Units per second since the phase began; 0 before the first unit."""
        elapsed_s = time.monotonic() - self._began
        return (done - self._first_done) / elapsed_s if elapsed_s > 0 else 0.0

    def _seconds_left(self, done: int, rate: float) -> float:
        seconds = (self._total - done) / rate
        return seconds if self._budget_s is None else max(0.0, min(seconds, self._budget_s))

    def _write_file(self, done: int, figures: Mapping[str, float]) -> None:
        if self._path is None:
            return
        rate = self.per_second(done)
        state = {
            "phase": self._phase,
            "unit": self._unit,
            "done": done,
            "total": self._total,
            "per_second": rate,
            "seconds_left": self._seconds_left(done, rate) if rate > 0 else None,
            "figures": dict(figures),
            "updated_at": time.time(),
            **self._kept,
        }
        self._path.parent.mkdir(parents=True, exist_ok=True)
        new = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        new.write_text(json.dumps(state))
        os.replace(new, self._path)

    def _print_line(self, done: int, figures: Mapping[str, float]) -> None:
        rate = self.per_second(done)
        parts = [f"{self._phase}: {done:,} of {self._total:,} {self._unit}"]
        if rate > 0 and done < self._total:
            parts += [f"{rate:,.0f} {self._unit}/s", f"{self._seconds_left(done, rate):,.0f} s left"]
        parts += [f"{name} {value:.4g}" for name, value in figures.items()]
        print(", ".join(parts), flush=True)
