"""The beginning and the end of a run: its checkout, its results in the workspace, its record."""

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from flows.dvc_lock import LOCK_FILE
from flows.graph import open_repo
from flows.plan import Plan
from flows.process import start_keeper
from flows.results import measured_by, model_rows
from flows.runs.acceptance import Verdict, accept
from flows.runs.checkout import open_detached, remove_worktree
from flows.runs.job import Result
from flows.runs.leftovers import sweep
from flows.runs.place import Place, open_place
from flows.runs.record import (
    CHECKOUT,
    DONE,
    Recorder,
    RunRecord,
    find_resumable,
    matching_runs,
    new_id,
    now,
    run_folder,
)
from flows.runs.run_plan import RunPlan, plan_run_again
from flows.runs.snapshot import Snapshot, keep_snapshot
from flows.runs.takeover import fetch_recorded, take_over
from genai_core.config import PARAMS_FILE, load_config

KEEPER = Path(__file__).with_name("keeper.py")
PAUSE, MAX_PAUSE_S = 3.0, 10.0  # after results were accepted: a multiple of how long that took


@dataclass
class ActiveRun:
    """An active run. held: descriptors of its locks, which all its processes inherit."""

    id: str
    place: Place
    recorder: Recorder
    acceptance: "Acceptance | None"
    held: tuple[int, ...]


@contextmanager
def start_run(
    workspace: Path, run_plan: RunPlan, asked: Iterable[str], executor: str | None = None
) -> Iterator[ActiveRun]:
    """Start a run of a snapshot of the workspace, in its own checkout, which is removed afterwards. Raises GitError.

    executor: recorded at once, if it is known: a run that is killed early is resumed with it.
    """
    assert run_plan.snapshot is not None
    sweep(workspace)
    run = new_id()
    with run_folder(workspace, run) as (folder, lock):
        keep_snapshot(workspace, run, run_plan.snapshot)
        record = replace(_new_record(run, run_plan, asked, ""), executor=executor)
        with _active_run(workspace, folder, lock, record, lambda _checkout: run_plan) as (active, _):
            yield active


@contextmanager
def resume_run(
    workspace: Path, name: str, say: Callable[[str], None], executor: str | None = None
) -> Iterator[tuple[ActiveRun, RunPlan]]:
    """Resume a run on its snapshot; finished stages come from the cache. Raises RunError, GitError, RemoteError.

    A run that this workspace does not know is taken over from the git remote. The record keeps the stages that earlier
    attempts finished, with their seconds and figures. say: receives lines about that. executor: None: as before.
    """
    sweep(workspace)
    is_known = bool(matching_runs(workspace, name))
    before = find_resumable(workspace, name if is_known else take_over(workspace, name, say))
    if before.executor == "pool" and executor not in (None, "pool"):
        say("it had executor pool: PREFECT_API_URL must name that server, or jobs that workers have are not cancelled")
    with run_folder(workspace, before.id) as (folder, lock):
        snapshot = Snapshot(before.snapshot, "", before.base, before.branch, before.changed, ())
        done = {name: stage for name, stage in before.stages.items() if stage.outcome in DONE}
        record = replace(before, state="running", ended=None, message="", pid=os.getpid(), stages=done, resumed=now())
        record = replace(record, executor=executor or before.executor)

        def plan_there(checkout: Path) -> RunPlan:
            if not is_known or before.executor not in (None, "local"):
                fetch_recorded(checkout, say)
            return plan_run_again(checkout, before.asked, snapshot)

        with _active_run(workspace, folder, lock, record, plan_there) as (active, run_plan):
            yield active, run_plan


@contextmanager
def start_run_in_place(home: Path, folder: Path, run_plan: RunPlan, asked: Iterable[str]) -> Iterator[ActiveRun]:
    """Start a run in a checkout that was made for it: its results stay there."""
    run = new_id()
    assert run_plan.snapshot is not None
    with run_folder(home, run) as (records, lock), open_place(folder) as place:
        keep_snapshot(home, run, run_plan.snapshot)
        record = _new_record(run, run_plan, asked, folder.relative_to(home).as_posix())
        active = ActiveRun(run, place, Recorder(records, record), None, (lock,))
        with _end_recorded(active):
            yield active


def finish_run(active: ActiveRun, state: str, message: str) -> RunRecord:
    """Wait until all results are accepted or left, and record the run's end."""
    recorder = active.recorder
    if active.acceptance is not None:
        for stage, reason in active.acceptance.close().items():
            recorder.stage(stage, left=reason)
    recorder.set(state=state, message=message, ended=now(), figures=_figures(active.place.folder, recorder))
    return recorder.record


def _figures(checkout: Path, recorder: Recorder) -> tuple[dict[str, Any], ...]:
    """The figures that the run's own stages measured. Other metrics files of the checkout are from its parent commit.

    Results that only an earlier attempt reached are not in this checkout: their figures are in the record.
    """
    stages, earlier = recorder.record.stages, recorder.record.figures
    done = {name for name, stage in stages.items() if stage.outcome in DONE}
    rows = model_rows(checkout, recorder.done) if (checkout / PARAMS_FILE).is_file() else []
    found = {row["model"]: row for row in (*earlier, *rows) if measured_by(row["model"]) in done}
    return tuple(found.values())


class Acceptance:
    """Brings results into the workspace, one after another in its own thread, so that stages do not wait for it."""

    def __init__(self, workspace: Path, place: Place, folder: Path, plan: Plan) -> None:
        self._workspace, self._place, self._folder = workspace, place, folder
        self._before = {entry.stage: entry.outputs for entry in plan.stages}
        self._queue: SimpleQueue[Result | None] = SimpleQueue()
        self._left: dict[str, tuple[Result, str]] = {}
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def offer(self, result: Result) -> None:
        self._queue.put(result)

    def close(self) -> dict[str, str]:
        """Wait for all results; return by stage why a result did not reach the workspace."""
        self.stop()
        if self._left:  # an edit may have been undone meanwhile
            self._try([result for result, _ in self._left.values()])
        return {stage: reason for stage, (_, reason) in self._left.items()}

    def stop(self) -> None:
        """End the thread after the offered results. It may be called more than once."""
        self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        """Accept what has come meanwhile together, then pause: the threads that follow the stages need time, too.

        Each time, DVC reads and writes the whole pipeline. With 1,000 stages, that takes about a second.
        """
        is_over, until = False, 0.0
        while not is_over:
            came = [self._queue.get()]
            with suppress(Empty):
                while None not in came:
                    came.append(self._queue.get(timeout=max(until - time.monotonic(), 0.0)))
            is_over = None in came
            if results := [result for result in came if result is not None]:
                began = time.monotonic()
                self._try(results)
                ended = time.monotonic()
                until = ended + min(PAUSE * (ended - began), MAX_PAUSE_S)

    def _try(self, results: list[Result]) -> None:
        by_stage = {result.job.stage: result for result in results}
        pairs = [(result, self._before.get(stage, {})) for stage, result in by_stage.items()]
        try:
            # Next to the record, so that `genai gc` keeps the run's results even if no workspace has them.
            self._place.copy_lock(self._folder / LOCK_FILE)
            verdicts = accept(self._workspace, self._place.folder, pairs)
        except Exception as error:  # reported; the thread continues, since later results may be accepted
            if len(by_stage) > 1:  # the others may be accepted
                for result in by_stage.values():
                    self._try([result])
                return
            verdicts = [Verdict(stage, f"{type(error).__name__}: {error}") for stage in by_stage]
        for verdict in verdicts:
            self._left.pop(verdict.stage, None)
            if verdict.reason is not None:
                self._left[verdict.stage] = (by_stage[verdict.stage], verdict.reason)


@contextmanager
def _active_run(
    workspace: Path, folder: Path, lock: int, record: RunRecord, plan_there: Callable[[Path], RunPlan]
) -> Iterator[tuple[ActiveRun, RunPlan]]:
    """The checkout of a run while the run is active; a keeper removes it if this process is killed."""
    from dvc.exceptions import DvcException

    with open_repo(workspace) as repo:
        laid_out_in = {Path(repo.cache.local.path)}
        with suppress(DvcException):  # in the middle of an edit; DVC checks out nothing there then
            laid_out_in |= {Path(out.fs_path).parent for out in repo.index.outs}
    keeper = start_keeper(KEEPER, str(workspace), str(folder), *map(str, laid_out_in))
    with ExitStack() as stack:
        stack.callback(keeper.communicate, b"over")
        stack.callback(remove_worktree, workspace, folder / CHECKOUT)
        checkout = open_detached(workspace, record.snapshot, folder / CHECKOUT)
        _link_weights(workspace, checkout)
        run_plan = plan_there(checkout)
        place = stack.enter_context(open_place(checkout, workspace))
        recorder = Recorder(folder, record)
        acceptance = Acceptance(workspace, place, folder, run_plan.plan)
        stack.callback(acceptance.stop)  # if the run ends before `finish`
        active = ActiveRun(record.id, place, recorder, acceptance, (lock,))
        with _end_recorded(active):
            yield active, run_plan


@contextmanager
def _end_recorded(active: ActiveRun) -> Iterator[None]:
    """Record the end of a run if its flow did not: otherwise the run would look killed."""
    state, message = "stopped", "ended before a stage began"  # by a signal, or cancelled at the server
    try:
        yield
    except Exception as error:
        state, message = "failed", str(error).partition("\n")[0]
        raise
    finally:
        if active.recorder.record.state == "running":
            with suppress(OSError):  # it must not hide the error that ended the run
                finish_run(active, state, message)


def _new_record(run: str, run_plan: RunPlan, asked: Iterable[str], place: str) -> RunRecord:
    snapshot = run_plan.snapshot
    assert snapshot is not None
    return RunRecord(
        id=run,
        snapshot=snapshot.commit,
        base=snapshot.base,
        branch=snapshot.branch,
        changed=snapshot.changed,
        asked=tuple(asked),
        began=now(),
        place=place,
        pid=os.getpid(),
        planned=tuple(entry.stage for entry in run_plan.plan.stages if entry.action != "keep"),
    )


def _link_weights(workspace: Path, checkout: Path) -> None:
    """Link weights at a path in params.yaml, which neither git nor DVC tracks; their hash is a parameter."""
    path = getattr(load_config(checkout / PARAMS_FILE).extractor, "weights", None)
    if path and not Path(path).is_absolute() and (workspace / path).is_file() and not (checkout / path).exists():
        (checkout / path).parent.mkdir(parents=True, exist_ok=True)
        (checkout / path).symlink_to((workspace / path).resolve())
