"""All that comes before a run's first stage, and needs no Prefect: a command does it at once, before it loads that.

In the command `genai run` edits are safe from here on; the libraries and the server of the flow take seconds more.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from flows.git import printable
from flows.runs.checkout import home_of
from flows.runs.decided import Decided, decide, decide_in_place
from flows.runs.snapshot import MOST_NEW_BYTES
from flows.runs.started import Started, resume, start, start_in_place, sweep
from flows.workspace import checked_config, only_run_in, repair_locks


@dataclass(frozen=True)
class Begun:
    """A run before its first stage. started: None where nothing has to be done.

    root: the checkout that was asked for. home: the workspace that it belongs to: itself, but in checkouts that were
    made for a run. held: descriptors of locks, for all that the run starts.
    """

    root: Path
    home: Path
    decided: Decided
    started: Started | None
    held: tuple[int, ...]
    is_resumed: bool

    @property
    def notes(self) -> tuple[str, ...]:
        """For people: what the run works on, and what of the workspace it replaces or leaves out."""
        snapshot = self.decided.snapshot
        if self.started is None or snapshot is None:
            return ()
        differs = f", {len(snapshot.changed)} files not committed" if snapshot.changed else ""
        works = f"run {self.started.id} works on a snapshot of {snapshot.branch or snapshot.commit[:7]}{differs}"
        why = f"as it is new and larger than {MOST_NEW_BYTES / 1e6:.0f} MB"
        left_out = (f"not in the snapshot, {why}: {printable(name)}" for name in snapshot.left_out)
        return (works, *self.decided.plan.replaced, *left_out)


@contextmanager
def begin(root: Path, stages: tuple[str, ...], resumed: str | None, tell: Callable[[str], None]) -> Iterator[Begun]:
    """Decide what a run is to do, and open its record and its checkout for the body.

    Args:
        root: The checkout that was asked for.
        stages: Up to which to run. Empty: all.
        resumed: The id of a run to go on with, instead.
        tell: Gets a line for each of DVC's files that an interrupted write had left cut short, and that was mended.

    Raises:
        ConfigError, GraphError, GitError or RunError: In a line, what keeps the run from starting.
    """
    if resumed is None:
        checked_config(root)
    home = home_of(root)
    with ExitStack() as stack:
        held = [stack.enter_context(only_run_in(root))] if home else []
        for message in repair_locks(root):
            tell(message)
        started: Started | None = None
        if resumed is not None:
            started, decided = stack.enter_context(resume(root, resumed))
        elif home is not None:
            decided = decide_in_place(root, stages)
            if decided.snapshot is not None:
                started = stack.enter_context(start_in_place(home, root, decided, stages))
        else:
            decided = decide(root, stages)
            if decided.snapshot is not None:
                started = stack.enter_context(start(root, decided, stages))
            else:
                sweep(root)  # what a killed run left goes also where nothing is to be done
        yield Begun(
            root, home or root, decided, started, (*held, *(started.held if started else ())), resumed is not None
        )


_handed: ContextVar[Begun | None] = ContextVar("handed", default=None)


@contextmanager
def handed_to_flow(begun: Begun) -> Iterator[None]:
    """The flow that is called in the body goes on with this run, in place of beginning one."""
    token = _handed.set(begun)
    try:
        yield
    finally:
        _handed.reset(token)


def handed() -> Begun | None:
    """The run that the command, which called the flow, has begun."""
    return _handed.get()
