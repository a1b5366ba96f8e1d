"""What every executor with other machines does: publish the snapshot and the inputs, and take over results.

An executor makes an order of each job, has it executed, and hands in the outcome.
"""

import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path

from flows.data.kept_remote import SharedRemote
from flows.data.objects import RemoteError, UnreachableError
from flows.data.outputs import StoredOutput, fetch_outputs, patiently, send_outputs
from flows.data.stores import opened_remote
from flows.executors.checkpoints import CHECKPOINTS, RemoteCheckpoints
from flows.executors.holding import held_at_remote
from flows.executors.open_results import OpenResults, delete_forgotten
from flows.executors.order import Node, Order, Outcome
from flows.executors.software import Software, this_software
from flows.git import GitError, git, prefix_of, remote_of
from flows.graph import StageNode
from flows.redact import without_secrets
from flows.runs.checkout import project_in
from flows.runs.job import Job, Result, key_of
from flows.runs.place import Place
from flows.runs.publication import (
    is_forgotten,
    publish,
    published_hash,
    published_runs,
    withdraw,
    withdraw_own,
)
from flows.runs.record import CHECKOUT, RUNS, RunRecord, is_held, read_run
from flows.runs.snapshot import REFS
from flows.view import current_view
from genai_core import GenaiError
from genai_core.config import PARAMS_FILE, ConfigError, load_config


class Dispatch:
    """Makes orders of a run's jobs, and takes over their outcomes. Methods may be called from many threads.

    address: of the git remote that has the snapshot. variables: for every command.
    """

    def __init__(self, place: Place, address: str, variables: Mapping[str, str]) -> None:
        self._place, self._address, self._variables = place, address, dict(variables)
        self._software: Software = this_software(place.folder)
        self._project = prefix_of(place.folder)
        self._remote = SharedRemote(place.folder)
        self._attempts: dict[str, int] = {}
        self._at_remote: set[StoredOutput] = set()
        self._lock = threading.Lock()

    def close(self) -> None:
        self._remote.close()

    def known(self, job: Job, say: Callable[[str], None]) -> Result | None:
        """The job's result, if an earlier attempt has left it at the DVC remote; its outputs are in the place then.

        Of a coordinator that died, or of a worker that was given up. say: as in `order`. Raises RemoteError.
        """
        outcome = patiently(
            lambda: self._remote.use(lambda _, store: OpenResults(store, job.run).find(key_of(job))), say
        )
        if outcome is None:
            return None
        try:
            return self._taken(job, outcome, say)
        except UnreachableError:
            raise
        except RemoteError as error:
            say(f"the result of an earlier attempt is not complete, so the stage runs again: {error}")
            return None

    def fetch_checkpoints(self, job: Job, say: Callable[[str], None]) -> int:
        """See RemoteCheckpoints.fetch: of those that other machines have sent for a job. say: as in `order`.

        Raises RemoteError.
        """
        folder = self._place.folder / CHECKPOINTS
        return patiently(
            lambda: self._remote.use(lambda _, store: RemoteCheckpoints(store, key_of(job), folder).fetch()), say
        )

    def delete_checkpoints(self, job: Job) -> None:
        """Delete them at the remote, which is asked once: the stage should not wait for that. Raises RemoteError."""
        folder = self._place.folder / CHECKPOINTS
        self._remote.use(lambda _, store: RemoteCheckpoints(store, key_of(job), folder).delete())

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
            node=Node(0, stage.needs.nodes, secrets.token_hex(16)) if stage.needs.nodes > 1 else None,
        )

    def expect(self, order: Order) -> None:
        """Let an order be the job's last attempt, also one of an earlier coordinator of the run."""
        with self._lock:
            self._attempts[order.job.stage] = order.job.attempt

    def is_current(self, order: Order, outcome: Outcome) -> bool:
        """Whether an outcome is that of the job's last attempt. An earlier one is late: its worker was given up."""
        with self._lock:
            last = self._attempts.get(order.job.stage)
        return outcome.key == key_of(order.job) and outcome.attempt == order.job.attempt == last

    def take(self, order: Order, outcome: Outcome, say: Callable[[str], None]) -> Result:
        """Fetch the outputs of an outcome into the run's place. say: as in `order`.

        Raises CommandFailed, JobFailed if it failed; PlaceError if the outcome does not belong to the job; RemoteError.
        """
        return self._taken(order.job, outcome, say)

    def size_of(self, output: StoredOutput) -> int:
        """Bytes of an input, or of the parts of it; 0 if they cannot be read: only where a job goes depends on it."""
        try:
            return self._place.size_of(output)
        except (RemoteError, OSError):
            return 0

    def made(self, result: Result) -> tuple[StoredOutput, ...]:
        """The outputs of a result."""
        return self._place.named(result.entry, result.job.stage)

    def _taken(self, job: Job, outcome: Outcome, say: Callable[[str], None]) -> Result:
        if outcome.entry is None:
            raise outcome.failed()
        made = self._place.named(outcome.entry, job.stage)
        patiently(lambda: self._remote.use(lambda repo, store: fetch_outputs(repo, store, made)), say)
        self._place.take(job, outcome.entry)
        with self._lock:
            self._at_remote.update(made)
        host = outcome.machine.get("host", "another machine")
        say(f"took over the result of attempt {outcome.attempt}: {host}, {outcome.seconds:.2f} s")
        return Result(job, outcome.entry, ran=outcome.ran, seconds=outcome.seconds, machine=dict(outcome.machine))

    def _send(self, reads: tuple[StoredOutput, ...], say: Callable[[str], None]) -> None:
        whole = {replace(read, parts=None) for read in reads}
        with self._lock:
            missing = whole - self._at_remote
        if missing:
            outputs = sorted(missing, key=lambda output: output.path)
            patiently(lambda: self._remote.use(lambda repo, store: send_outputs(repo, store, outputs)), say)
            with self._lock:
                self._at_remote.update(missing)


@contextmanager
def published_snapshot(
    workspace: Path, run: str, snapshot: str, on_lost: Callable[[], None] | None = None
) -> Iterator[str]:
    """Push a run's snapshot to the git remote, and return the remote's address.

    When the run is completed, it is deleted there, with what the run has at the DVC remote besides its outputs. Until
    then another machine can take the run over; all of this is that machine's then.

    on_lost: called in another thread as soon as that is seen; None: something else tells (lease.py). Raises ConfigError
    without a git remote, GitError; afterwards RunError if another machine has taken the run over.
    """
    remote = git_remote(workspace)
    address = git(workspace, "remote", "get-url", remote).strip()
    local = (workspace / address).resolve() if "://" not in address else None
    pushed = publish(workspace, remote, run, snapshot, _resumable(workspace, run))
    with suppress(GitError):  # the next run deletes them
        _delete_old(workspace, remote, run)
    try:
        with held_at_remote(workspace, remote, run, pushed, on_lost) if on_lost else nullcontext():
            yield str(local) if local and local.exists() else without_secrets(address)
    finally:
        if _is_over(workspace, run):
            with suppress(GenaiError):  # it is deleted when it is old
                if published_hash(workspace, remote, run) == pushed:
                    patiently(lambda: _clean_remote(workspace, run), current_view().note)
            with suppress(GitError):  # the next run deletes it
                withdraw_own(workspace, remote, run, pushed)


def _clean_remote(workspace: Path, run: str) -> None:
    checkout = project_in(workspace, workspace / RUNS / run / CHECKOUT)  # the workspace may be in the middle of an edit
    with opened_remote(checkout if checkout.is_dir() else workspace, None) as (_, store):
        OpenResults(store, run).close()
        delete_forgotten(store)


def _delete_old(workspace: Path, remote: str, run: str) -> None:
    """Delete completed runs of this workspace at both remotes, and at the git remote all that nobody will resume.

    A completed run is still there if its process was killed before it could delete it.
    """
    others = [other for other in published_runs(workspace, remote) if other != run]
    # Not those that run beside this one, such as other trials of a search.
    over = [other for other in others if _has_ended(workspace, other) and _is_over(workspace, other)]
    for other in over:
        with suppress(GenaiError):  # it is deleted when it is old
            _clean_remote(workspace, other)
    withdraw(workspace, remote, [other for other in others if other in over or is_forgotten(other)])


def _has_ended(workspace: Path, run: str) -> bool:
    """Whether a run is one of this workspace, and no process of it is alive."""
    folder = workspace / RUNS / run
    return folder.is_dir() and not is_held(folder)


def _resumable(workspace: Path, run: str) -> RunRecord | None:
    """The run's record, if `genai run --resume` could resume it."""
    record = read_run(workspace / RUNS / run)
    return None if record is None or record.place else record


def _is_over(workspace: Path, run: str) -> bool:
    """Whether a run of this workspace is completed, or cannot be resumed."""
    record = _resumable(workspace, run)
    return record is None or record.state == "completed"


def git_remote(workspace: Path) -> str:
    """The name of the git remote. Raises ConfigError without one."""
    remote = remote_of(workspace)
    if remote is None:
        raise ConfigError(
            f"{workspace}: other machines get the run's snapshot from the git remote, and there is none; add one that "
            "all of them reach: git remote add origin URL"
        )
    return remote


def check_portable(place: Path) -> None:
    """Raise ConfigError if a stage reads a file that only this machine has."""
    weights = getattr(load_config(place / PARAMS_FILE).extractor, "weights", None)
    if weights:
        raise ConfigError(
            f"params.yaml: extractor.weights: {weights} is on this machine only, and other machines cannot fetch it. "
            "Run with --executor local"
        )
