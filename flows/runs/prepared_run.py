"""Start a run: plan, snapshot, record and checkout. Needs no Prefect.

`genai run` does this before it loads Prefect and starts a server, which takes seconds. Later edits do not affect it.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

from flows.runs.active_run import ActiveRun, resume_run, start_run, start_run_in_place
from flows.runs.checkout import home_of
from flows.runs.leftovers import sweep
from flows.runs.run_plan import RunPlan, plan_run, plan_run_in_place
from flows.workspace import checked_config, only_run_in, repair_locks


@dataclass(frozen=True)
class PreparedRun:
    """A run before its first stage. active: None if there is nothing to do.

    root: the checkout that `genai run` was called for. home: its workspace, which is another one only if the checkout
    was made for a run. asked: the requested stages; empty: all. held: descriptors of locks, which every process of the
    run inherits. variables: of the stages' environment, besides those that every run sets.
    """

    root: Path
    home: Path
    asked: tuple[str, ...]
    run_plan: RunPlan
    active: ActiveRun | None
    held: tuple[int, ...]
    is_resumed: bool
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def notes(self) -> tuple[str, ...]:
        """Lines for the user: the snapshot, the outputs that the run replaces, the files that the snapshot lacks."""
        snapshot = self.run_plan.snapshot
        if self.active is None or snapshot is None:
            return ()
        differs = f", uncommitted files: {len(snapshot.changed)}" if snapshot.changed else ""
        works = f"run {self.active.id} works on a snapshot of {snapshot.branch or snapshot.commit[:7]}{differs}"
        return (works, *self.run_plan.plan.replaced, *snapshot.notes)


@contextmanager
def prepare_run(
    root: Path,
    stages: tuple[str, ...],
    resumed: str | None,
    warn: Callable[[str], None],
    check: Callable[[RunPlan], None] = lambda _plan: None,
    executor: str | None = None,
) -> Iterator[PreparedRun]:
    """Plan a run and keep its record and checkout open in the body.

    Args:
        root: The checkout to run in.
        stages: Run up to these stages. Empty: all.
        resumed: The id of a run to resume instead.
        warn: Receives a line for each of DVC's files that an interrupted write had truncated and that was repaired, for
            each output of a retired stage that is removed, and lines about a run that is taken over.
        check: Called with the plan before anything is started; what it raises ends the run.
        executor: For the record. None: as before if the run is resumed, else not known yet.

    Raises:
        ConfigError, GraphError, GitError or RunError: The run cannot start; the message is one line.
    """
    if resumed is None:
        checked_config(root)
    home = home_of(root)
    with ExitStack() as stack:
        held = [stack.enter_context(only_run_in(root))] if home else []
        for message in repair_locks(root):
            warn(message)
        active: ActiveRun | None = None
        if resumed is not None:
            active, run_plan = stack.enter_context(resume_run(root, resumed, warn, executor))
            stages = active.recorder.record.asked
        elif home is not None:
            run_plan = plan_run_in_place(root, stages)
            if run_plan.snapshot is not None:
                active = stack.enter_context(start_run_in_place(home, root, run_plan, stages))
        else:
            run_plan = plan_run(root, stages, warn)
            check(run_plan)
            if run_plan.snapshot is not None:
                active = stack.enter_context(start_run(root, run_plan, stages, executor))
            else:
                sweep(root)  # remove what killed runs left, even if there is nothing to do
        held += active.held if active else ()
        yield PreparedRun(root, home or root, tuple(stages), run_plan, active, tuple(held), resumed is not None)


_handed: ContextVar[PreparedRun | None] = ContextVar("handed", default=None)


@contextmanager
def handed_to_flow(prepared: PreparedRun) -> Iterator[None]:
    """A flow called in the body continues this run instead of starting one."""
    token = _handed.set(prepared)
    try:
        yield
    finally:
        _handed.reset(token)


def handed() -> PreparedRun | None:
    """Return the run that the command prepared for this flow, or None."""
    return _handed.get()
