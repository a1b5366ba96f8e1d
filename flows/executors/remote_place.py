"""A place on another machine, which has only git, the DVC remote and this code: executes one job in it.

A worker's home outlives its jobs. Per repository it has:

    repository.git         a bare clone: the snapshots of the runs that came here
    cache/                 DVC's cache
    genai/                 records and checkpoints, shared by its jobs (.genai in a workspace)
    jobs/NAME/checkout     the place of one job, removed afterwards
"""

import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext, suppress
from pathlib import Path
from urllib.parse import quote

from filelock import FileLock

from flows.data.kept_remote import KeptRemote
from flows.data.objects import RemoteError
from flows.data.outputs import Moved, StoredOutput, fetch_outputs, patiently, send_outputs
from flows.dvc_config import edited_config
from flows.executors.checkpoints import CHECKPOINTS, RemoteCheckpoints
from flows.executors.executor import Listener, NodeListener
from flows.executors.local import LocalExecutor, Together
from flows.executors.nodes.beside import run_beside
from flows.executors.nodes.meeting import Meeting
from flows.executors.open_results import OpenResults
from flows.executors.order import Node, Order, Outcome
from flows.executors.software import differences, machine_facts, this_software
from flows.file_lock import try_lock
from flows.git import GitError, git
from flows.process import Processes, start_keeper
from flows.redact import without_secrets
from flows.resources import Resources, this_machine
from flows.runs.checkout import LINKS, NO_HOOKS, SHARED
from flows.runs.job import Job, Result, changed_inputs, key_of
from flows.runs.place import Place, PlaceError, open_place
from flows.runs.publication import KEEP_DAYS
from flows.runs.record import CHECKOUT, LOCK
from genai_core.config import PARAMS_FILE, load_config
from genai_core.counted import counted

REPOSITORY = "GENAI_GIT_URL"
OWN_GPUS = "GENAI_OWN_GPUS"  # set if nobody else may use the GPUs that a job sees: no other job waits for them then
KEEPER = Path(__file__).parents[1] / "runs" / "keeper.py"
_NEWEST = "refs/genai/last"  # the newest snapshot that came here: the next one is fetched as a difference to it


def execute_order(order: Order, home: Path, listener: NodeListener, processes: Processes) -> Outcome:
    """Execute a job here. When this returns, its result is at the DVC remote.

    That is all of its outputs, checked object by object, and its lock entry, for whoever takes the run over.

    Raises:
        CommandFailed, Stopped: See Executor.execute.
        NodeLost: Another machine of the same training is gone.
        PlaceError: This machine's software differs, or its inputs are not those of the job.
        GitError, RemoteError: The git or the DVC remote does not answer as expected.
    """
    with _checkout(order, home) as (folder, lock), closing(KeptRemote(folder)) as remote:
        if found := differences(order.software, this_software(folder)):
            raise PlaceError(
                f"this machine has {'; '.join(found)}. A run needs the same on every machine: "
                "git pull, make setup, restart the worker; build the image of containers anew"
            )
        moved = patiently(lambda: _fetched(remote, order.reads), listener.line)
        listener.line(f"fetched {_described(moved)}")
        with open_place(folder) as place:
            place.lay_out(order.reads)
            job = _checked_job(place, order.job)
            if order.node and order.node.rank > 0:
                stage, resources = place.stage(job.stage), resources_of(folder)
                return run_beside(place, stage, job, order, order.node, listener, processes, resources, lock)
            checkpoints = RemoteCheckpoints(remote.use(lambda _, store: store), key_of(job), folder / CHECKPOINTS)
            began = time.monotonic()
            entry = place.restore(job)
            if entry is not None:
                result = Result(job, entry, ran=False, seconds=time.monotonic() - began)
            else:
                if count := patiently(checkpoints.fetch, listener.line):
                    listener.line(f"goes on from a checkpoint of another machine ({counted(count, 'file')})")
                together = _together(order.node, listener, processes)
                executor = LocalExecutor(place, processes, resources_of(folder), order.variables, together)
                with checkpoints.sent(listener.line):
                    result = executor.execute(place.stage(job.stage), job, listener, lock)
            made = place.made(job.stage)
            moved = patiently(lambda: remote.use(lambda repo, store: send_outputs(repo, store, made)), listener.line)
            listener.line(f"sent {_described(moved)}")
            outcome = Outcome(
                key_of(job), job.attempt, result.entry, result.ran, result.seconds, machine=machine_facts()
            )
            patiently(lambda: remote.use(lambda _, store: OpenResults(store, job.run).add(outcome)), listener.line)
            with suppress(RemoteError):  # the end of the run deletes them: the job has its result
                checkpoints.delete()
        return outcome


def _together(node: Node | None, listener: NodeListener, processes: Processes) -> Together:
    """Wait for the other machines, if there are any; they are told where."""
    if node is None:
        return lambda _: nullcontext({})

    @contextmanager
    def together(_: Listener) -> Iterator[Mapping[str, str]]:
        meeting = Meeting(node, processes)
        listener.meets(meeting.where)
        with meeting.together(listener) as variables:
            yield variables

    return together


def resources_of(folder: Path) -> Resources:
    """What a job in the checkout may use. Its GPUs are leased between all jobs of this user here, but for OWN_GPUS."""
    compute = load_config(folder / PARAMS_FILE).compute
    locks = folder / ".genai" / "gpus" if os.environ.get(OWN_GPUS) else None
    return Resources(this_machine(compute.accelerator), compute.stages_per_gpu, locks)


def _fetched(remote: KeptRemote, reads: Sequence[StoredOutput]) -> Moved:
    return remote.use(lambda repo, store: fetch_outputs(repo, store, reads)) if reads else Moved(0, 0)


def _checked_job(place: Place, wanted: Job) -> Job:
    job = place.job(wanted.run, wanted.snapshot, wanted.stage, {}, wanted.attempt)
    if changed := changed_inputs(wanted.inputs, job.inputs):
        raise PlaceError(
            f"{wanted.stage}: {', '.join(changed)} differs here from the run's own checkout. A snapshot has no files "
            "that git ignores: track them with git or DVC"
        )
    return job


@contextmanager
def _checkout(order: Order, home: Path) -> Iterator[tuple[Path, int]]:
    """The project in a new checkout of the job's snapshot, and the descriptor of its lock; removed afterwards.

    If this process is killed, a keeper removes it; if the machine dies, the next job does.
    """
    address = os.environ.get(REPOSITORY) or order.repository
    own = home / f"{Path(order.repository).stem}-{hashlib.sha256(order.repository.encode()).hexdigest()[:8]}"
    clone, job = own / "repository.git", order.job
    folder = own / "jobs" / f"{job.run}-{quote(job.stage, safe='@')}-{job.attempt}-{secrets.token_hex(2)}"
    with ExitStack() as stack:
        with FileLock(_made(own) / "lock"):
            _sweep(own / "jobs", clone)
            _forget(own / "genai" / CHECKPOINTS.name)
            _fetch_snapshot(clone, address, order)
            file = stack.enter_context((_made(folder) / LOCK).open("a"))
            try_lock(file)
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            keeper = start_keeper(KEEPER, str(clone), str(folder))
            stack.callback(keeper.communicate, b"over")
            stack.callback(_remove, clone, folder / CHECKOUT)
            git(clone, *NO_HOOKS, "worktree", "add", "--quiet", "--detach", str(folder / CHECKOUT), job.snapshot)
        project = folder / CHECKOUT / order.project
        _configure(project, own, key_of(job))
        yield project, file.fileno()


def _fetch_snapshot(clone: Path, address: str, order: Order) -> None:
    if not (clone / "HEAD").is_file():
        git(_made(clone), "init", "--quiet", "--bare")
    try:
        git(clone, "cat-file", "-e", f"{order.job.snapshot}^{{commit}}")
    except GitError:
        try:
            git(clone, "fetch", "--quiet", "--no-tags", address, f"+{order.ref}:{_NEWEST}")
            git(clone, "cat-file", "-e", f"{order.job.snapshot}^{{commit}}")
        except GitError as error:
            raise GitError(
                f"{without_secrets(address)}: the run's snapshot {order.job.snapshot[:10]} cannot be fetched: {error}. "
                f"If this machine reaches the repository at another address, set {REPOSITORY} for the worker"
            ) from None


def _configure(project: Path, own: Path, key: str) -> None:
    """Give the checkout the worker's cache and records. Keys of remotes come from DVC's user settings (--global).

    key: of the job, for its checkpoints.
    """
    from dvc.config import Config

    with edited_config(Config(str(project / ".dvc")), "local") as settings:
        settings.setdefault("cache", {}).update({"dir": str(own / "cache"), "type": LINKS})
        settings.setdefault("core", {})["site_cache_dir"] = str(project / ".dvc" / "tmp" / "site")
    (project / ".genai").mkdir(exist_ok=True)
    for name in SHARED:
        target = own / "genai" / name
        if name == CHECKPOINTS.name:
            target /= key
            _made(target).touch()  # it is in use (_forget)
        (project / ".genai" / name).symlink_to(_made(target))


def _sweep(jobs: Path, clone: Path) -> None:
    """Remove the places of jobs whose machine died."""
    for folder in jobs.glob("*"):
        with suppress(OSError), (folder / LOCK).open("r+") as file:  # its job may be removing it
            if try_lock(file):
                _remove(clone, folder / CHECKOUT)
                shutil.rmtree(folder, ignore_errors=True)


def _forget(checkpoints: Path) -> None:
    """Remove the checkpoints of jobs that nobody has continued here for a long time. A new one changes its folder."""
    for folder in checkpoints.glob("*"):
        newest = max(path.stat().st_mtime for path in (folder, *folder.glob("*")))
        if time.time() - newest > KEEP_DAYS * 86_400:
            shutil.rmtree(folder, ignore_errors=True)


def _remove(clone: Path, checkout: Path) -> None:
    shutil.rmtree(checkout, ignore_errors=True)
    git(clone, "worktree", "prune")  # the clone is ours: no worktree of it is on a disk that may be unmounted


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _described(moved: Moved) -> str:
    return f"{moved.objects:,} objects, {moved.size_bytes / 1e6:,.1f} MB"
