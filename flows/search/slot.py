"""A slot: a checkout in which one trial after another runs. What trials share is laid out there once."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from prefect.client.schemas.objects import State

from flows.dvc_lock import LOCK_FILE
from flows.git import files_at
from flows.runs.active_run import ActiveRun
from flows.runs.checkout import WORKTREES, open_detached, remove_worktree
from flows.runs.pipeline import pipeline
from flows.runs.prepared_run import handed_to_flow, prepare_run
from flows.runs.record import RunRecord
from flows.search.params_text import with_values
from flows.search.stages import TrialStages
from flows.search.study import FOLDER, is_searched
from flows.view import View, as_current
from flows.whole_file import write_file
from genai_core.config import PARAMS_FILE

PREFIX = "search-"
_PREFECTS_WORDS = re.compile(r"^Flow run encountered an exception: (\w+: )?")


@dataclass(frozen=True)
class SlotRun:
    """The end of a run in a slot. record: None if nothing had to run."""

    state: State[None] | None
    record: RunRecord | None

    @property
    def is_complete(self) -> bool:
        return self.state is None or self.state.is_completed()

    @property
    def not_executed(self) -> str | None:
        """Why the run failed, if that was not because a command failed: other values would fail, too."""
        stages = self.record.stages.values() if self.record else ()
        failed = [stage for stage in stages if stage.outcome == "failed"]
        if any(stage.not_executed is None for stage in failed):
            return None
        return next((stage.not_executed for stage in failed), self.fault)

    @property
    def fault(self) -> str:
        """The line of a failed run's message that says most: the last one that the failed stage printed."""
        return [line.strip() for line in self.message.splitlines() if line.strip()][-1]

    @property
    def message(self) -> str:
        said = (self.state.message if self.state else None) or "the run failed"
        return _PREFECTS_WORDS.sub("", said)

    @property
    def seconds(self) -> float:
        """Seconds of its stages' own work."""
        return sum(stage.seconds for stage in self.record.stages.values()) if self.record else 0.0


class Slot:
    """A checkout of the study's snapshot. text: its params.yaml without a trial's values. executor: of its runs."""

    def __init__(self, root: Path, folder: Path, text: str, executor: str) -> None:
        self.root, self.folder, self._text, self._executor = root, folder, text, executor
        self._lock: bytes | None = None

    def keep_lock(self, lock: bytes) -> None:
        """Begin each trial with this dvc.lock, in which what all trials share is up to date."""
        self._lock = lock

    def read_lock(self) -> bytes:
        return (self.folder / LOCK_FILE).read_bytes()

    def set_up(self, values: Mapping[str, Any], stages: TrialStages) -> None:
        """Write a trial's values, and remove what the trial before left. Raises SearchError."""
        if self._lock is not None:
            write_file(self.folder / LOCK_FILE, self._lock)
        self.remove_figures(stages)
        write_file(self.folder / PARAMS_FILE, with_values(self._text, values))

    def remove_figures(self, stages: TrialStages) -> None:
        """Remove what a trial measured and DVC does not store."""
        for path in stages.unstored:
            (self.folder / path).unlink(missing_ok=True)

    def run(
        self,
        stages: tuple[str, ...],
        view: View,
        started: Callable[[ActiveRun], None],
        variables: Mapping[str, str] = MappingProxyType({}),
    ) -> SlotRun:
        """Run stages and what they depend on in the slot. Raises GenaiError if the run cannot start.

        started: receives the run before its first stage. variables: of the stages' environment.
        """
        with prepare_run(self.folder, stages, None, view.note) as prepared:
            if prepared.active is None:
                return SlotRun(None, None)
            started(prepared.active)
            with handed_to_flow(replace(prepared, variables=variables)), as_current(view):
                state = cast(
                    "State[None]", pipeline(str(self.folder), list(stages), executor=self._executor, return_state=True)
                )
        return SlotRun(state, prepared.active.recorder.record)


@contextmanager
def open_slots(
    workspace: Path, commit: str, study: str, count: int, values: Mapping[str, Any], executor: str
) -> Iterator[list[Slot]]:
    """Open checkouts of a commit, and remove them at the end. Those that a killed search left are used again.

    values: written into params.yaml before a trial's own ones. executor: who runs the stages in them.
    """
    roots = [workspace / WORKTREES / f"{PREFIX}{study}-{number}" for number in range(count)]
    _remove_abandoned(workspace, study, roots)
    try:
        folders = [open_detached(workspace, commit, root) for root in roots]
        text = with_values(files_at(folders[0], "HEAD", [PARAMS_FILE])[PARAMS_FILE].decode(), values)
        yield [Slot(root, folder, text, executor) for root, folder in zip(roots, folders, strict=True)]
    finally:
        for root in roots:
            remove_worktree(workspace, root)


def _remove_abandoned(workspace: Path, study: str, used: Collection[Path]) -> None:
    """Remove the checkouts of killed searches: of other studies, and of this one if it had more slots."""
    for root in (workspace / WORKTREES).glob(f"{PREFIX}*"):
        other = root.name.removeprefix(PREFIX).rpartition("-")[0]
        if root not in used and (other == study or not is_searched(workspace / FOLDER / other)):
            remove_worktree(workspace, root)
