"""The main flow: DVC's graph as Prefect task runs, which wait for each other as DVC's stages do."""

import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, cast

from prefect import flow
from prefect.client.schemas.objects import State, StateType
from prefect.exceptions import TerminationSignal
from prefect.futures import PrefectFuture
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Cancelled, Completed, Failed
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner
from prefect.utilities.annotations import quote

from flows.cancelled import when_cancelled
from flows.executors.executor import Executor
from flows.executors.local import LocalExecutor, check_one_machine
from flows.graph import Graph, StageNode
from flows.interrupts import asked_to_end
from flows.plan import Plan, StagePlan
from flows.process import DEFAULT_GRACE_S, Processes, Stopped
from flows.resources import Resources, this_machine
from flows.runs.active_run import ActiveRun, finish_run
from flows.runs.job import Result
from flows.runs.prepared_run import PreparedRun, handed, prepare_run
from flows.runs.record import STOP, how_to_resume
from flows.runs.snapshot import Snapshot
from flows.runs.stage import Run, run_stage
from flows.view import current_view
from genai_core.config import PARAMS_FILE, load_config
from genai_core.counted import counted


def _run_name() -> str:
    """The name in Prefect's list of runs: the checkout and the requested stages."""
    parameters = flow_run.parameters
    stages = ", ".join(parameters["stages"] or []) or "all stages"
    return f"{Path(parameters['workspace']).resolve().name}: {stages}"


class NotCompleted(Exception):
    """A run in a checkout failed or was cancelled; `state` says why."""

    def __init__(self, state: State[None]) -> None:
        super().__init__(state.message)
        self.state = state


# Threads only wait for child processes here; flows.resources limits how many run at once.
_THREADS = cast("TaskRunner[PrefectFuture[Any]]", ThreadPoolTaskRunner(max_workers=256))


@flow(name="pipeline", flow_run_name=_run_name, task_runner=_THREADS, persist_result=False)
def pipeline(
    workspace: str = ".", stages: list[str] | None = None, resume: str | None = None, executor: str | None = None
) -> State[None]:
    """Bring `stages` (default: all) and what they depend on up to date, branches in parallel.

    A run works on a snapshot of the workspace, which may be edited meanwhile. If a stage fails, its downstream stages
    are skipped and the others continue. Raises ConfigError, GraphError, GitError or RunError before any stage starts.

    Args:
        workspace: The checkout, relative to where the worker runs.
        stages: Run up to these; a name such as train stands for all its branches. None: the whole pipeline.
        resume: The id of a run to resume instead.
        executor: Who runs the stages: local, pool, ray, dask or slurm. None: as before if it is resumed, else
            `compute.executor` in params.yaml.
    """
    root = Path(workspace).resolve()
    with ExitStack() as stack:
        prepared = handed() or stack.enter_context(_prepared(root, tuple(stages or ()), resume, executor))
        active = prepared.active
        resume_hint = f"; {how_to_resume(active.recorder.record)}" if active else ""
        state: State[None] = Cancelled(message=f"ended by a signal{resume_hint}")
        try:
            processes = Processes(keep_open=prepared.held)
            if _is_stopped(active):  # by `genai runs stop`, while Prefect was loading
                processes.stop()
            with when_cancelled(processes.stop, lambda: asked_to_end.is_set() or _is_stopped(active)):
                # It may wait for minutes, for a server that is away.
                run = _run(prepared, processes, stack.enter_context(_open_executor(prepared, processes, executor)))
                states = _run_all(prepared.run_plan.graph, prepared.run_plan.plan, run)
            if processes.stopping:
                state = Cancelled(message=f"stopped on request{resume_hint}")
            else:
                state = _summary(prepared.run_plan.graph, states)
        except Stopped:  # before the executor was open
            state = Cancelled(message=f"stopped on request{resume_hint}")
        except Exception as error:
            state = Failed(message=f"{type(error).__name__}: {error}")
            raise
        finally:
            if active is not None:
                _report_end(active, state)
        return state


@contextmanager
def _prepared(root: Path, stages: tuple[str, ...], resume: str | None, executor: str | None) -> Iterator[PreparedRun]:
    """Start the run of a flow that a worker or another flow has called."""
    logger = get_run_logger()
    with prepare_run(root, stages, resume, logger.warning, executor=executor) as prepared:
        for line in prepared.notes:
            logger.info(line)
            current_view().note(line)
        yield prepared


def run_stages(checkout: Path, stages: Sequence[str]) -> None:
    """Run `pipeline` in a checkout. Raises NotCompleted, so that what was opened for the run is kept for a resume."""
    state = cast("State[None]", pipeline(str(checkout), list(stages), return_state=True))
    if not state.is_completed():
        raise NotCompleted(state)


def _run(prepared: PreparedRun, processes: Processes, executor: Executor | None) -> Run:
    """What the run's stages share."""
    active, snapshot = prepared.active, prepared.run_plan.snapshot
    return Run(
        id=active.id if active else "",
        snapshot=snapshot.commit if snapshot else "",
        home=prepared.root,
        jobs=prepared.home,
        place=active.place if active else None,
        processes=processes,
        executor=executor,
        view=current_view(),
        recorder=active.recorder if active else None,
        accept=active.acceptance.offer if active and active.acceptance else _accept_nothing,
        sources=frozenset(entry.stage for entry in prepared.run_plan.sources),
        checks_out_sources=not prepared.is_resumed or _lacks_sources(prepared),
    )


def _lacks_sources(prepared: PreparedRun) -> bool:
    """Whether the checkout has no data yet, and tracks the same as a resumed run: a new clone that takes it over.

    Other data there are of another version, or may have been edited since.
    """
    if prepared.active is None:
        return False
    here, there = prepared.root, prepared.active.place.folder
    names = [entry.stage for entry in prepared.run_plan.plan.stages if entry.is_source]
    return all(
        not (here / name).with_suffix("").exists()
        and (here / name).is_file()
        and (here / name).read_bytes() == (there / name).read_bytes()
        for name in names
    )


@contextmanager
def _open_executor(prepared: PreparedRun, processes: Processes, chosen: str | None) -> Iterator[Executor | None]:
    """The executor of the run's stages; None if nothing runs.

    Raises ConfigError, GitError, RunError, MachineError, ServerAway or Stopped.
    """
    active, snapshot = prepared.active, prepared.run_plan.snapshot
    if active is None or snapshot is None:
        yield None
        return
    compute = load_config(active.place.folder / PARAMS_FILE).compute
    variables = {**prepared.variables, **_variables(snapshot, prepared.root)}
    chosen = chosen or active.recorder.record.executor or compute.executor
    is_published = active.recorder.record.is_published or chosen != "local"
    active.recorder.set(executor=chosen, is_published=is_published)
    stages = prepared.run_plan.may_run
    if chosen == "pool":
        from flows.executors.pool import open_pool_executor

        with open_pool_executor(
            active.place, prepared.home, active.id, snapshot.commit, stages, processes, variables
        ) as executor:
            yield executor
        return
    if chosen != "local":
        from flows.executors.engines import open_engine_executor

        with open_engine_executor(
            chosen, active.place, prepared.home, active.id, snapshot.commit, stages, processes, variables
        ) as engine_executor:
            yield engine_executor
        return
    check_one_machine(stages)
    resources = Resources(this_machine(compute.accelerator), compute.stages_per_gpu)
    local = LocalExecutor(active.place, processes, resources, variables)
    if not is_published:
        yield local
        return
    from flows.executors.brought_home import open_home_executor

    with open_home_executor(
        local, active.place, prepared.home, active.id, snapshot.commit, processes, variables
    ) as home_executor:
        yield home_executor


def _variables(snapshot: Snapshot, root: Path) -> dict[str, str]:
    """For the report: a snapshot has no branch, and a run's checkout not the pages of searches."""
    return {
        "GENAI_BRANCH": snapshot.branch or "",
        "GENAI_CHANGED": str(len(snapshot.changed)),
        "GENAI_SEARCHES": str(root / "search"),
    }


def _accept_nothing(_result: Result) -> None:
    """Accept nothing: results made in the checkout itself are already in their place."""


def _report_end(active: ActiveRun, state: State[None]) -> None:
    names = {StateType.COMPLETED: "completed", StateType.CANCELLED: "stopped"}
    record = finish_run(active, names.get(state.type, "failed"), (state.message or "").partition("\n")[0])
    left = {name: stage.left for name, stage in record.stages.items() if stage.left}
    for name, reason in left.items():
        current_view().note(f"{name}: only in DVC's cache, not in this checkout: {reason}")
    if left:
        current_view().note("`genai run` restores them once those inputs are back")


def _run_all(graph: Graph, plan: Plan, run: Run) -> dict[str, State[Any]]:
    """Submit every stage and wait for all; on a signal, end their processes first. Returns final states by stage."""
    futures: dict[str, PrefectFuture[Any]] = {}
    try:
        for stage in graph.stages:
            futures[stage.name] = _submit(stage, plan[stage.name], plan, run, futures)
        for future in futures.values():
            future.wait()
    except (KeyboardInterrupt, TerminationSignal) as interruption:
        run.processes.stop()
        with _signals_ignored():
            run.processes.wait_until_stopped(DEFAULT_GRACE_S + 5.0)
            for future in futures.values():
                future.wait(timeout=5.0)
        if isinstance(interruption, TerminationSignal):
            raise  # Prefect knows whether a worker cancelled the run or the machine shuts down
    for stage in graph.stages:
        if stage.name in futures and _never_began(futures[stage.name].state) and not run.processes.stopping:
            run.finished(stage.name, "skipped", 0.0)
    return {name: future.state for name, future in futures.items()}


def _submit(
    stage: StageNode, plan: StagePlan, whole: Plan, run: Run, futures: Mapping[str, PrefectFuture[Any]]
) -> PrefectFuture[Any]:
    task = run_stage.with_options(name=stage.name, task_run_name=stage.name, retries=stage.needs.retries)
    upstream_ran = any(whole[name].action != "keep" for name in stage.upstream)
    upstream = [futures[name] for name in stage.upstream]
    submit = cast("Callable[..., PrefectFuture[Any]]", task.submit)  # its overloads know nothing of quote()
    return submit(stage, plan, upstream_ran, quote(run), wait_for=upstream)


def _summary(graph: Graph, states: Mapping[str, State[Any]]) -> State[None]:
    failed = [name for name, state in states.items() if state.is_failed() or state.is_crashed()]
    if not failed:
        return Completed(message=f"{counted(len(graph.stages), 'stage')} up to date")
    skipped = [name for name, state in states.items() if _never_began(state)]
    after = f"; not run because of that: {', '.join(skipped)}" if skipped else ""
    reasons = "\n".join(str(states[name].result(raise_on_failure=False)) for name in failed)
    return Failed(message=f"failed: {', '.join(failed)}{after}\n{reasons}".rstrip())


def _is_stopped(active: ActiveRun | None) -> bool:
    """Whether `genai runs stop` stopped the run."""
    return active is not None and (active.recorder.folder / STOP).exists()


def _never_began(state: State[Any]) -> bool:
    """Whether an upstream task failed: Prefect leaves the task pending then, under the name NotReady."""
    return state.is_pending()


@contextmanager
def _signals_ignored() -> Iterator[None]:
    """Ignore a second Ctrl-C while the processes end; the grace time bounds that."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
