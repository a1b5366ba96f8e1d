"""The record of each run: a small JSON file in .genai/runs/ID, next to the run's lock, logs and checkout."""

import json
import os
import secrets
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, unquote

from flows.collecting import collector
from flows.file_lock import try_lock
from flows.git import GitError, git
from flows.runs.snapshot import REFS, forget_snapshot
from flows.whole_file import write_json
from genai_core import GenaiError

RUNS = Path(".genai/runs")
CHECKOUT, LOCK, STOP, LOGS = "checkout", "lock", "stop", "logs"
MAX_RECORDED = 20
DONE = ("ran", "restored", "kept")  # outcomes of stages whose outputs are those of the run
_CHECK_S = 0.5  # a check whether a run is alive holds its lock for microseconds

State = Literal["running", "completed", "failed", "stopped", "killed"]


class RunError(GenaiError):
    """The requested run does not exist, or its state does not allow the request; the message says what to do."""


@dataclass(frozen=True)
class StageRecord:
    """The outcome of a stage. left: why its result is only in DVC's cache and not in the workspace.

    machine: facts of the machine that it ran on, if that was another one. not_executed: why
    its command could not be executed, if it failed because of that and not because of the command.
    """

    outcome: str  # running, ran, restored, kept, failed, stopped, skipped
    began: str
    seconds: float = 0.0
    left: str | None = None
    machine: dict[str, str] | None = None
    not_executed: str | None = None


@dataclass(frozen=True)
class RunRecord:
    """One run. place: its checkout, if `genai run` did not start it. asked: the requested stages.

    began: the first attempt; resumed: the last one, if there were several. figures: of the stages in DONE.
    executor: who runs the stages, once that is known. is_published: whether other machines have had a part in it.
    """

    id: str
    snapshot: str
    base: str | None
    branch: str | None
    changed: tuple[str, ...]
    asked: tuple[str, ...]
    began: str
    place: str
    pid: int
    state: State = "running"
    ended: str | None = None
    message: str = ""
    planned: tuple[str, ...] = ()
    stages: dict[str, StageRecord] = field(default_factory=dict)
    figures: tuple[dict[str, Any], ...] = ()
    resumed: str | None = None
    executor: str | None = None
    is_published: bool = False


class Recorder:
    """Writes the record of an active run, from many threads."""

    def __init__(self, folder: Path, record: RunRecord) -> None:
        self.folder = folder
        self._record = record
        self._done: set[str] = set()
        self._lock = threading.Lock()
        self._write()

    @property
    def record(self) -> RunRecord:
        return self._record

    def stage(self, name: str, **values: Any) -> None:
        """Set values of a stage's record."""
        with self._lock:
            before = self._record.stages.get(name)
            known = asdict(before) if before else {"outcome": "running", "began": now()}
            stages = {**self._record.stages, name: StageRecord(**{**known, **values})}
            self._set(stages=stages)

    def started(self, name: str) -> None:
        """Record that a stage's command begins, also for a retry or in a resumed run."""
        self.stage(name, outcome="running", began=now(), seconds=0.0)

    def finished(self, name: str, outcome: str, seconds: float, not_executed: str | None = None) -> None:
        """Record the outcome of a stage.

        In a resumed run, a stage that an earlier attempt finished keeps that outcome, unless it began again or failed.
        """
        before = self._record.stages.get(name)
        if outcome in DONE:
            self._done.add(name)
        if before is None or before.outcome not in DONE or outcome in ("ran", "failed"):
            self.stage(name, outcome=outcome, seconds=round(seconds, 2), not_executed=not_executed)
        elif outcome in DONE:
            self.stage(name, left=None)  # the workspace may accept it this time

    @property
    def done(self) -> frozenset[str]:
        """The stages that this attempt ran, restored or kept: their outputs in its checkout belong to the run."""
        return frozenset(self._done)

    def set(self, **values: Any) -> None:
        with self._lock:
            self._set(**values)

    def _set(self, **values: Any) -> None:
        kept = {name: getattr(self._record, name) for name in RunRecord.__dataclass_fields__}
        self._record = RunRecord(**{**kept, **values})
        self._write()

    def _write(self) -> None:
        write_json(self.folder / "run.json", asdict(self._record))


@contextmanager
def run_folder(home: Path, run: str) -> Iterator[tuple[Path, int]]:
    """The folder of a run and the descriptor of its lock. While a process holds it or inherits it, the run is alive.

    Waits for a garbage collection, which holds the locks of ended runs. Raises RunError if the run is active.
    """
    folder = home / RUNS / run
    (folder / LOGS).mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a+") as file:
        deadline = time.monotonic() + _CHECK_S
        while not try_lock(file):
            if collector(home):
                deadline = time.monotonic() + _CHECK_S
            elif time.monotonic() > deadline:
                raise RunError(f"run {run} is active. See `genai status`, or stop it: genai runs stop {run}")
            time.sleep(0.02)
        file.truncate(0)
        file.write(str(os.getpid()))  # for `genai doctor`
        file.flush()
        (folder / STOP).unlink(missing_ok=True)  # left by an earlier attempt
        yield folder, file.fileno()


@contextmanager
def ended(folder: Path) -> Iterator[bool]:
    """Whether no process of the run is alive. If so, none can begin or clean up there during the body."""
    try:
        file = (folder / LOCK).open("a+")
    except FileNotFoundError:  # the folder is gone
        yield False
        return
    with file:
        yield try_lock(file)


def log_file(folder: Path, stage: str) -> Path:
    """The log file of a stage. The name of a stage contains slashes if its dvc.yaml is in a folder."""
    return folder / LOGS / f"{quote(stage, safe='@:')}.log"


def logged_stages(folder: Path) -> dict[str, Path]:
    """The logs of a run by stage; the last written one comes last."""
    found = sorted((folder / LOGS).glob("*.log"), key=lambda path: path.stat().st_mtime)
    return {unquote(path.stem): path for path in found}


def new_id() -> str:
    """Return a unique run id; ids sort by time."""
    return f"{datetime.now():%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def read_runs(home: Path) -> list[RunRecord]:
    """All recorded runs, oldest first."""
    found = [read_run(folder) for folder in sorted((home / RUNS).glob("*")) if folder.is_dir()]
    return [record for record in found if record is not None]


def matching_runs(home: Path, name: str) -> list[RunRecord]:
    """The run with that id, or those whose id begins or ends with it."""
    runs = read_runs(home)
    return [run for run in runs if run.id == name] or [
        run for run in runs if name and (run.id.startswith(name) or run.id.endswith(name))
    ]


def find_run(home: Path, name: str) -> RunRecord:
    """The run with that id, or the only one whose id begins or ends with it. Raises RunError."""
    found = matching_runs(home, name)
    if len(found) != 1:
        what = f"{len(found)} runs match" if found else "no run matches"
        raise RunError(f"{what} {name!r}; `genai runs` lists them")
    return found[0]


def find_resumable(home: Path, name: str) -> RunRecord:
    """The run, if it can be resumed. Raises RunError."""
    run = find_run(home, name)
    if run.place:
        raise RunError(f"run {run.id} belongs to a command that works in {run.place}; run that command again to resume")
    if run.state == "completed":
        raise RunError(
            f"run {run.id} is completed: nothing is left to resume. All its results are in DVC's cache; "
            "`genai run` restores them where the checkout has the same inputs"
        )
    return run


def how_to_resume(run: RunRecord) -> str:
    """Return how to resume a stopped run, for messages."""
    if run.place:
        return "the next run there resumes it"
    return f"to resume: `genai run` if nothing has changed since, else `genai runs resume {run.id}`"


def read_run(folder: Path) -> RunRecord | None:
    """The record in a run's folder. If it says `running` and no process holds the lock, the run was killed."""
    try:
        record = record_from(json.loads((folder / "run.json").read_text()))
    except (OSError, ValueError, TypeError, KeyError):
        return None
    if record.state == "running" and not is_held(folder):
        return RunRecord(**{**vars(record), "state": "killed"})
    return record


def record_from(values: dict[str, Any]) -> RunRecord:
    """The record that JSON has. Raises ValueError, TypeError or KeyError if another version of this code wrote it."""
    stages = {name: StageRecord(**entry) for name, entry in values["stages"].items()}
    lists = {name: tuple(values[name]) for name in ("changed", "asked", "planned", "figures")}
    return RunRecord(**{**values, **lists, "stages": stages})


def is_held(folder: Path) -> bool:
    """Whether a process of the run is alive. Takes a shared lock, so that two checks do not see each other."""
    with suppress(FileNotFoundError), (folder / LOCK).open() as file:
        return not try_lock(file, shared=True)
    return False


def forget_old_runs(home: Path) -> None:
    """Keep the last runs of the workspace, the last ones of retrainings and backfills, and all that are alive."""
    refs: list[str] = []
    with suppress(GitError):  # before the folders: a new run makes its folder first
        refs = git(home, "for-each-ref", "--format=%(refname)", REFS).split()
    folders = [folder for folder in sorted((home / RUNS).glob("*")) if folder.is_dir()]
    in_places = [folder for folder in folders if (found := read_run(folder)) and found.place]
    own = [folder for folder in folders if folder not in in_places]
    for folder in (*own[:-MAX_RECORDED], *in_places[:-MAX_RECORDED]):
        with ended(folder) as has_ended:
            if has_ended:
                shutil.rmtree(folder, ignore_errors=True)
    known = {folder.name for folder in folders if folder.exists()}
    for run in (ref.removeprefix(REFS) for ref in refs):
        if run not in known:
            with suppress(GitError):
                forget_snapshot(home, run)
