"""What every executor with other machines does: publish the snapshot and the inputs, and take over results.

An executor makes an order of each job, has it executed, and hands in the outcome.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from flows.data.outputs import Moved, StoredOutput, fetch_outputs, patiently, send_outputs
from flows.data.stores import opened_remote
from flows.executors.executor import CommandFailed
from flows.executors.order import Order, Outcome
from flows.executors.software import Software, this_software
from flows.git import GitError, git, prefix_of, remote_of
from flows.graph import StageNode
from flows.redact import without_secrets
from flows.runs.checkout import NO_HOOKS
from flows.runs.job import Job, Result, key_of
from flows.runs.place import Place
from flows.runs.record import RUNS, read_run
from flows.runs.snapshot import REFS
from genai_core.config import PARAMS_FILE, ConfigError, load_config


class Dispatch:
    """Makes orders of a run's jobs, and takes over their outcomes. Methods may be called from many threads.

    address: of the git remote that has the snapshot. variables: for every command.
    """

    def __init__(self, place: Place, address: str, variables: Mapping[str, str]) -> None:
        self._place, self._address, self._variables = place, address, dict(variables)
        self._software: Software = this_software(place.folder)
        self._project = prefix_of(place.folder)
        self._attempts: dict[str, int] = {}
        self._at_remote: set[StoredOutput] = set()
        self._lock = threading.Lock()

    def order(self, stage: StageNode, job: Job, say: Callable[[str], None]) -> Order:
        """Send the inputs that the DVC remote lacks, and return the order of a new attempt.

        say: receives a line for each wait for the remote. Raises PlaceError, RemoteError.
        """
        reads = self._place.reads(stage.name, stage.needs.reads)
        self._send(reads, say)
        with self._lock:
            attempt = self._attempts[stage.name] = self._attempts.get(stage.name, 0) + 1
        return Order(
            job=replace(job, attempt=attempt),
            repository=self._address,
            ref=f"{REFS}{job.run}",
            project=self._project,
            reads=reads,
            variables=self._variables,
            software=self._software,
        )

    def is_current(self, order: Order, outcome: Outcome) -> bool:
        """Whether an outcome is that of the job's last attempt. An earlier one is late: its worker was given up."""
        with self._lock:
            last = self._attempts.get(order.job.stage)
        return outcome.key == key_of(order.job) and outcome.attempt == order.job.attempt == last

    def take(self, order: Order, outcome: Outcome, say: Callable[[str], None]) -> Result:
        """Fetch the outputs of an outcome into the run's place. say: as in `order`.

        Raises CommandFailed if the job failed; PlaceError if the outcome does not belong to the job; RemoteError.
        """
        if outcome.entry is None:
            raise CommandFailed(outcome.failure, retryable=outcome.retryable)
        made = self._place.named(outcome.entry, order.job.stage)
        patiently(lambda: self._moved(fetch_outputs, made), say)
        self._place.take(order.job, outcome.entry)
        with self._lock:
            self._at_remote.update(made)
        return Result(order.job, outcome.entry, ran=outcome.ran, seconds=outcome.seconds, machine=dict(outcome.machine))

    def _send(self, reads: tuple[StoredOutput, ...], say: Callable[[str], None]) -> None:
        whole = {replace(read, parts=None) for read in reads}
        with self._lock:
            missing = whole - self._at_remote
        if missing:
            patiently(lambda: self._moved(send_outputs, sorted(missing, key=lambda output: output.path)), say)
            with self._lock:
                self._at_remote.update(missing)

    def _moved(self, move: Callable[..., Moved], outputs: Iterable[StoredOutput]) -> Moved:
        with opened_remote(self._place.folder, None) as (repo, store):
            return move(repo, store, outputs)


@contextmanager
def published_snapshot(workspace: Path, run: str, snapshot: str) -> Iterator[str]:
    """Push a run's snapshot to the git remote, and return the remote's address. It is deleted there afterwards.

    Raises ConfigError without a git remote, GitError.
    """
    remote = remote_of(workspace)
    if remote is None:
        raise ConfigError(
            f"{workspace}: other machines get the run's snapshot from the git remote, and there is none; add one that "
            "all of them reach: git remote add origin URL"
        )
    address = git(workspace, "remote", "get-url", remote).strip()
    local = (workspace / address).resolve() if "://" not in address else None
    ref = f"{REFS}{run}"
    try:
        git(workspace, *NO_HOOKS, "push", "--quiet", remote, f"+{snapshot}:{ref}")
    except GitError as error:
        raise GitError(f"the run's snapshot cannot be pushed to {remote}: {error}") from None
    _delete_old(workspace, remote, run)
    try:
        yield str(local) if local and local.exists() else without_secrets(address)
    finally:
        with suppress(GitError):  # the next run deletes it
            git(workspace, *NO_HOOKS, "push", "--quiet", remote, f":{ref}")


def _delete_old(workspace: Path, remote: str, run: str) -> None:
    """Delete what killed runs of this workspace left at the git remote. Other clones' runs are theirs to delete."""
    with suppress(GitError):
        there = [line.split("\t")[1] for line in git(workspace, "ls-remote", remote, f"{REFS}*").splitlines()]
        old = [ref for ref in there if _has_ended(workspace / RUNS / ref.removeprefix(REFS)) and ref != f"{REFS}{run}"]
        if old:
            git(workspace, *NO_HOOKS, "push", "--quiet", remote, *(f":{ref}" for ref in old))


def _has_ended(folder: Path) -> bool:
    record = read_run(folder)
    return record is not None and record.state != "running"


def check_portable(place: Path) -> None:
    """Raise ConfigError if a stage reads a file that only this machine has."""
    weights = getattr(load_config(place / PARAMS_FILE).extractor, "weights", None)
    if weights:
        raise ConfigError(
            f"params.yaml: extractor.weights: {weights} is on this machine only, and other machines cannot fetch it. "
            "Run with --executor local"
        )
