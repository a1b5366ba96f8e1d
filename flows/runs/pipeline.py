"""The main flow: DVC's graph, compiled into Prefect task runs that wait for each other as DVC's stages do."""

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from prefect import flow, get_client
from prefect.client.schemas.objects import State, StateType
from prefect.context import FlowRunContext
from prefect.exceptions import TerminationSignal
from prefect.futures import PrefectFuture
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Cancelled, Completed, Failed
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner
from prefect.utilities.annotations import quote

from flows.graph import Graph, StageNode, open_repo, read_graph
from flows.plan import Plan, StagePlan, make_plan
from flows.process import DEFAULT_GRACE_S, Processes
from flows.resources import Resources, this_machine
from flows.runs.stage import Run, run_stage
from flows.view import current_view
from flows.workspace import checked_config, only_run_in, repair_locks

CANCEL_POLL_S = 2.0


def _run_name() -> str:
    """What a person reads in Prefect's list of runs: the checkout, and what was asked for."""
    parameters = flow_run.parameters
    stages = ", ".join(parameters["stages"] or []) or "all stages"
    return f"{Path(parameters['workspace']).resolve().name}: {stages}"


# Threads only wait for child processes here: the limit on what runs at once is flows.resources.
_THREADS = cast("TaskRunner[PrefectFuture[Any]]", ThreadPoolTaskRunner(max_workers=256))


@flow(name="pipeline", flow_run_name=_run_name, task_runner=_THREADS, persist_result=False)
def pipeline(workspace: str = ".", stages: list[str] | None = None) -> State[None]:
    """Bring `stages` (default: all) and what they depend on up to date, branches side by side.

    A stage that fails stops those below it; the others finish.
    Raises ConfigError or GraphError before any stage starts.

    Args:
        workspace: The checkout, relative to where the worker runs.
        stages: Up to which to run; a name such as train stands for all its branches. None: the whole pipeline.
    """
    root = Path(workspace).resolve()
    config = checked_config(root)
    with only_run_in(root) as held:
        for message in repair_locks(root):
            get_run_logger().warning(message)
        with open_repo(root) as repo:
            graph = read_graph(repo).up_to(stages or [])
            plan = make_plan(repo, graph)
        resources = Resources(this_machine(config.compute.accelerator), config.compute.stages_per_gpu)
        run = Run(root, Processes(keep_open=[held]), resources, current_view())
        with _stopped_when_cancelled(run.processes):
            states = _run_all(graph, plan, run)
    return _summary(graph, states, stopped=run.processes.stopping)


def _run_all(graph: Graph, plan: Plan, run: Run) -> dict[str, State[Any]]:
    """Submit every stage, wait for all of them; on a signal end their processes first. Final states by stage."""
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
            raise  # Prefect knows whether a worker cancelled the run or the machine is going away
    for stage in graph.stages:
        if stage.name in futures and _never_began(futures[stage.name].state) and not run.processes.stopping:
            run.view.finished(stage.name, "skipped", 0.0)
    return {name: future.state for name, future in futures.items()}


def _submit(
    stage: StageNode, plan: StagePlan, whole: Plan, run: Run, futures: Mapping[str, PrefectFuture[Any]]
) -> PrefectFuture[Any]:
    task = run_stage.with_options(name=stage.name, task_run_name=stage.name, retries=stage.needs.retries)
    upstream_ran = any(whole[name].action != "keep" for name in stage.upstream)
    upstream = [futures[name] for name in stage.upstream]
    submit = cast("Callable[..., PrefectFuture[Any]]", task.submit)  # its overloads know nothing of quote()
    return submit(stage, plan, upstream_ran, quote(run), wait_for=upstream)


def _summary(graph: Graph, states: Mapping[str, State[Any]], *, stopped: bool) -> State[None]:
    if stopped:
        return Cancelled(message="stopped on request; the next run goes on from here")
    failed = [name for name, state in states.items() if state.is_failed() or state.is_crashed()]
    if not failed:
        return Completed(message=f"{len(graph.stages)} stages up to date")
    skipped = [name for name, state in states.items() if _never_began(state)]
    after = f"; not run because of that: {', '.join(skipped)}" if skipped else ""
    reasons = "\n".join(str(states[name].result(raise_on_failure=False)) for name in failed)
    return Failed(message=f"failed: {', '.join(failed)}{after}\n{reasons}".rstrip())


def _never_began(state: State[Any]) -> bool:
    """Prefect leaves a task whose upstream failed pending, under the name NotReady."""
    return state.is_pending()


@contextmanager
def _stopped_when_cancelled(processes: Processes) -> Iterator[None]:
    """End the processes when the flow run is cancelled on the server: for a run without a worker nobody else would."""
    context = FlowRunContext.get()
    assert context is not None
    assert context.flow_run is not None
    flow_run_id = context.flow_run.id
    done = threading.Event()

    def watch() -> None:
        with get_client(sync_client=True) as client:
            while not done.wait(CANCEL_POLL_S):
                try:
                    state = client.read_flow_run(flow_run_id).state
                except Exception:  # noqa: S112 - a server that is away for a while must not end the work
                    continue
                if state is not None and state.type in (StateType.CANCELLING, StateType.CANCELLED):
                    processes.stop()
                    return

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(timeout=5.0)


@contextmanager
def _signals_ignored() -> Iterator[None]:
    """The stop is under way: a second Ctrl-C must not tear it apart (the grace time bounds it anyway)."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
