"""Who holds a run on an engine: the process that published it last. No server is needed, unlike for a lease (lease.py).

The run's reference at the git remote is a tag that names its holder (runs/publication.py). Whoever resumes the run
replaces the tag. A process that finds another tag there has lost the run, and ends.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from flows.beside import beside
from flows.git import GitError
from flows.runs.publication import fetch_published, published_hash
from flows.runs.record import RunError

CHECK_S = 30.0
JOIN_S = 10.0  # for a git remote that does not answer


@contextmanager
def held_at_remote(workspace: Path, remote: str, run: str, pushed: str, on_lost: Callable[[], None]) -> Iterator[None]:
    """Look at the git remote now and then while the body runs.

    pushed: the hash of what this process published. on_lost: called in another thread if something else is there.
    Raises RunError after the body then.
    """
    lost = threading.Event()

    def watch(over: threading.Event) -> None:
        while not over.wait(CHECK_S):
            with suppress(GitError):  # the remote does not answer; the next time tells
                if published_hash(workspace, remote, run) != pushed:
                    lost.set()
                    on_lost()
                    return

    with beside(watch, JOIN_S):
        yield
    if lost.is_set():
        raise RunError(_how(workspace, run))


def _how(workspace: Path, run: str) -> str:
    with suppress(GitError, RunError):
        found = fetch_published(workspace, run)
        if found is not None:
            return f"run {run} was taken over by {found.holder}. The run goes on there"
    return (
        f"run {run} is no longer at the git remote: another process has taken it over and completed it, or somebody "
        f"deleted it there. To continue here: genai run --resume {run}"
    )
