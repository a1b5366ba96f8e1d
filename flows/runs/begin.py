"""Start a run: plan, snapshot, record and checkout. Needs no Prefect.

`genai run` does this before it loads Prefect and starts a server, which takes seconds. Later edits do not affect it.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from flows.git import printable
from flows.runs.checkout import home_of
from flows.runs.decided import Decided, decide, decide_in_place
from flows.runs.snapshot import MAX_NEW_BYTES
from flows.runs.started import Started, resume, start, start_in_place, sweep
from flows.workspace import checked_config, only_run_in, repair_locks


@dataclass(frozen=True)
class Begun:
    """A run before its first stage. started: None if there is nothing to do.

    root: the checkout that `genai run` was called for. home: its workspace, which is another one only if the checkout
    was made for a run. asked: the requested stages; empty: all. held: descriptors of locks, which every process of the
    run inherits.
    """

    root: Path
    home: Path
    asked: tuple[str, ...]
    decided: Decided
    started: Started | None
    held: tuple[int, ...]
    is_resumed: bool

    @property
    def notes(self) -> tuple[str, ...]:
        """Lines for the user: the snapshot, the outputs that the run replaces, the files that the snapshot lacks."""
        snapshot = self.decided.snapshot
        if self.started is None or snapshot is None:
            return ()
        differs = f", uncommitted files: {len(snapshot.changed)}" if snapshot.changed else ""
        works = f"run {self.started.id} works on a snapshot of {snapshot.branch or snapshot.commit[:7]}{differs}"
        why = f"new and larger than {MAX_NEW_BYTES / 1e6:.0f} MB"
        left_out = (f"not in the snapshot: {printable(name)} ({why})" for name in snapshot.left_out)
        return (works, *self.decided.plan.replaced, *left_out)


@contextmanager
def begin(root: Path, stages: tuple[str, ...], resumed: str | None, warn: Callable[[str], None]) -> Iterator[Begun]:
    """Plan a run and keep its record and checkout open in the body.

    Args:
        root: The checkout to run in.
        stages: Run up to these stages. Empty: all.
        resumed: The id of a run to resume instead.
        warn: Receives one line for each of DVC's files that an interrupted write had truncated and that was repaired.

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
        started: Started | None = None
        if resumed is not None:
            started, decided = stack.enter_context(resume(root, resumed))
            stages = started.recorder.record.asked
        elif home is not None:
            decided = decide_in_place(root, stages)
            if decided.snapshot is not None:
                started = stack.enter_context(start_in_place(home, root, decided, stages))
        else:
            decided = decide(root, stages)
            if decided.snapshot is not None:
                started = stack.enter_context(start(root, decided, stages))
            else:
                sweep(root)  # remove what killed runs left, even if there is nothing to do
        held += started.held if started else ()
        yield Begun(root, home or root, tuple(stages), decided, started, tuple(held), resumed is not None)


_handed: ContextVar[Begun | None] = ContextVar("handed", default=None)


@contextmanager
def handed_to_flow(begun: Begun) -> Iterator[None]:
    """A flow called in the body continues this run instead of starting one."""
    token = _handed.set(begun)
    try:
        yield
    finally:
        _handed.reset(token)


def handed() -> Begun | None:
    """Return the run that the command has started for this flow, or None."""
    return _handed.get()
