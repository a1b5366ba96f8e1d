"""What is known of each run: a small JSON file in .genai/runs/ID, beside its lock, its logs and its checkout."""

import fcntl
import json
import secrets
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Literal
from urllib.parse import quote, unquote

from flows.git import GitError, git
from flows.json_file import write_json
from flows.runs.snapshot import REFS, forget_snapshot
from genai_core import GenaiError

RUNS = Path(".genai/runs")
CHECKOUT, LOCK, STOP, LOGS = "checkout", "lock", "stop", "logs"
MOST_REMEMBERED = 20
DONE = ("ran", "restored", "kept")  # outcomes of stages whose outputs are those of the run
_LOOK_S = 0.5  # who only looks whether a run lives holds its lock for microseconds

State = Literal["running", "completed", "failed", "stopped", "killed"]


class RunError(GenaiError):
    """A run that is asked for is not there, or not in a state for what is asked; the message says what to do."""


@dataclass(frozen=True)
class StageRecord:
    """What became of a stage. left: why its result is not in the workspace, where it is only in DVC's cache."""

    outcome: str  # running, ran, restored, kept, failed, stopped, skipped
    began: str
    seconds: float = 0.0
    left: str | None = None


@dataclass(frozen=True)
class RunRecord:
    """One run. place: the checkout that it works in, for one that no `genai run` started. asked: the stages asked for.

    began: the first attempt; resumed: the last one, where there was more than one. figures: of the stages in DONE.
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


class Recorder:
    """Writes the record of a run that is at work, from many threads."""

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
        """A stage's command begins; again, for a retry or in a resumed run."""
        self.stage(name, outcome="running", began=now(), seconds=0.0)

    def finished(self, name: str, outcome: str, seconds: float) -> None:
        """What became of a stage.

        In a resumed run: what an earlier attempt brought up to date stays so, unless it began again or failed.
        """
        before = self._record.stages.get(name)
        if outcome in DONE:
            self._done.add(name)
        if before is None or before.outcome not in DONE or outcome in ("ran", "failed"):
            self.stage(name, outcome=outcome, seconds=round(seconds, 2))
        elif outcome in DONE:
            self.stage(name, left=None)  # offered to the workspace once more

    @property
    def done(self) -> frozenset[str]:
        """The stages that this attempt ran, restored or kept: what their outputs hold in its checkout is the run's."""
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
    """The folder of a run and the descriptor of its lock, which says that the run lives: whoever inherits it holds it.

    Raises RunError when the run is at work.
    """
    folder = home / RUNS / run
    (folder / LOGS).mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a+") as file:
        deadline = time.monotonic() + _LOOK_S
        while not _locked(file, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                raise RunError(f"run {run} is at work: genai status; genai runs stop {run}")
            time.sleep(0.02)
        (folder / STOP).unlink(missing_ok=True)  # of the time before; not of a run that is just being stopped
        yield folder, file.fileno()


@contextmanager
def ended(folder: Path) -> Iterator[bool]:
    """Whether no process of the run lives; none can begin or tidy up there during the body, then."""
    try:
        file = (folder / LOCK).open("a+")
    except FileNotFoundError:  # the folder is gone
        yield False
        return
    with file:
        yield _locked(file, fcntl.LOCK_EX)


def log_file(folder: Path, stage: str) -> Path:
    """Where the lines of a stage go. Of a dvc.yaml in a folder a stage's name holds slashes."""
    return folder / LOGS / f"{quote(stage, safe='@:')}.log"


def logged_stages(folder: Path) -> dict[str, Path]:
    """The logs of a run by stage, the one that was written last at the end."""
    found = sorted((folder / LOGS).glob("*.log"), key=lambda path: path.stat().st_mtime)
    return {unquote(path.stem): path for path in found}


def new_id() -> str:
    """Sorted by time, and no two alike."""
    return f"{datetime.now():%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def read_runs(home: Path) -> list[RunRecord]:
    """All runs that are remembered, the oldest first."""
    found = [read_run(folder) for folder in sorted((home / RUNS).glob("*")) if folder.is_dir()]
    return [record for record in found if record is not None]


def find_run(home: Path, name: str) -> RunRecord:
    """The run with that id, or whose id alone begins or ends so. Raises RunError."""
    runs = read_runs(home)
    found = [run for run in runs if run.id == name] or [
        run for run in runs if name and (run.id.startswith(name) or run.id.endswith(name))
    ]
    if len(found) != 1:
        what = "there is no run" if not found else f"there are {len(found)} runs"
        raise RunError(f"{what} {name!r}; genai runs lists them")
    return found[0]


def find_resumable(home: Path, name: str) -> RunRecord:
    """The run, if it can go on. Raises RunError."""
    run = find_run(home, name)
    if run.place:
        raise RunError(f"{run.id} is a part of what works in {run.place}, which goes on by itself when run again")
    if run.state == "completed":
        raise RunError(
            f"run {run.id} is completed: nothing is left to resume. All its results are in DVC's cache; "
            "`genai run` restores them where the checkout has the same inputs"
        )
    return run


def how_to_go_on(run: RunRecord) -> str:
    """What a person does after a run was stopped."""
    if run.place:
        return "the next run there goes on from here"
    return f"`genai run` goes on from here if nothing was changed since, else `genai runs resume {run.id}`"


def read_run(folder: Path) -> RunRecord | None:
    """The record in a run's folder; one that says `running` and that no process holds was killed."""
    try:
        values = json.loads((folder / "run.json").read_text())
        stages = {name: StageRecord(**entry) for name, entry in values.pop("stages").items()}
        values.update({name: tuple(values[name]) for name in ("changed", "asked", "planned", "figures")})
        record = RunRecord(**values, stages=stages)
    except (OSError, ValueError, TypeError, KeyError):
        return None
    if record.state == "running" and not is_held(folder):
        return RunRecord(**{**vars(record), "state": "killed"})
    return record


def is_held(folder: Path) -> bool:
    """Whether a process of the run lives. Shared, so that two who look do not take each other for one."""
    with suppress(FileNotFoundError), (folder / LOCK).open() as file:
        return not _locked(file, fcntl.LOCK_SH)
    return False


def forget_old_runs(home: Path) -> None:
    """Keep the last runs of the workspace, the last ones in places of retrainings and backfills, and all that live."""
    refs: list[str] = []
    with suppress(GitError):  # before the folders: a run that begins meanwhile makes its folder first
        refs = git(home, "for-each-ref", "--format=%(refname)", REFS).split()
    folders = [folder for folder in sorted((home / RUNS).glob("*")) if folder.is_dir()]
    in_places = [folder for folder in folders if (found := read_run(folder)) and found.place]
    own = [folder for folder in folders if folder not in in_places]
    for folder in (*own[:-MOST_REMEMBERED], *in_places[:-MOST_REMEMBERED]):
        with ended(folder) as has_ended:
            if has_ended:
                shutil.rmtree(folder, ignore_errors=True)
    known = {folder.name for folder in folders if folder.exists()}
    for run in (ref.removeprefix(REFS) for ref in refs):
        if run not in known:
            with suppress(GitError):
                forget_snapshot(home, run)


def _locked(file: IO[str], kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
