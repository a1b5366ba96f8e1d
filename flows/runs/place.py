"""A place: a checkout in which stages work, and DVC's view of a stage there: inputs, outputs, record.

This code runs a stage's command, and DVC records it: hash the inputs, run, hash them again, compare, and only then
write. `dvc repro` hashes inputs only after the command, and so records edits that were made meanwhile.
"""

import os
import shutil
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.data.outputs import StoredOutput, cached_bytes
from flows.dvc_lock import LOCK_FILE
from flows.graph import GraphError, StageNode, dvc_stages, one_line, open_repo, path_of, read_graph, stage_name
from flows.hashes import may_be_restored, recorded_stage, run_cache_entry, save_to_run_cache
from flows.runs.job import Job, LockEntry, changed_inputs, inputs_of, key_of
from flows.runs.stored import UnknownReads, add_to_cache, lay_out, outputs_read, stored
from genai_core import GenaiError

if TYPE_CHECKING:
    from dvc.output import Output
    from dvc.repo import Repo
    from dvc.stage import Stage


class PlaceError(GenaiError):
    """A stage cannot work in a place, or its result cannot be recorded; the message says why and what to do."""


class Place:
    """A checkout with its DVC repo. Methods may be called from many threads; DVC's own objects are not thread-safe.

    workspace: the user's checkout that this one is a snapshot of; None if there is none.
    """

    def __init__(self, folder: Path, repo: "Repo", workspace: Path | None = None) -> None:
        from dvc.stage.serialize import to_single_stage_lockfile

        self.folder = folder
        self._workspace = workspace
        self._repo = repo
        self._lock = threading.Lock()
        stages = dvc_stages(repo)
        self._stages = {stage_name(stage): stage for stage, _ in stages}
        self._upstream = {stage_name(stage): [stage_name(other) for other in upstream] for stage, upstream in stages}
        self._recorded: dict[str, LockEntry] = {
            name: to_single_stage_lockfile(stage)
            for name, stage in self._stages.items()
            if stage.cmd and not stage.changed_stage() and all(item.hash_info for item in (*stage.deps, *stage.outs))
        }
        self._laid_out: set[str] = set()
        self._unwritten: list[Stage] = []  # their entries are not in dvc.lock yet

    def job(self, run: str, snapshot: str, stage: str, planned: Mapping[str, str | None], attempt: int = 1) -> Job:
        """Check out and hash the stage's inputs, and return its job.

        planned: the inputs' hashes in the plan. Raises PlaceError if an input is missing or has changed since.
        """
        from dvc.dependency.param import ParamsDependency
        from dvc.exceptions import DvcException
        from dvc.stage.serialize import to_single_stage_lockfile

        with self._lock, self._repo.lock:
            found = self._stages[stage]
            self._check_out_inputs(stage)
            try:
                found.save_deps()
            except DvcException as error:
                raise PlaceError(f"{stage}: {one_line(error)}") from None
            inputs = inputs_of(to_single_stage_lockfile(found))
            files = [dep for dep in found.deps if not isinstance(dep, ParamsDependency)]
            hashes = {path_of(dep): dep.hash_info.value for dep in files}
            if changed := sorted(path for path in planned if planned[path] != hashes.get(path)):
                folder = next((path for path in changed if (self.folder / path).is_dir()), None)
                ignored = f" A snapshot has no files that git ignores: list those in {folder} in .dvcignore too."
                raise PlaceError(
                    f"{stage}: {', '.join(changed)} in {self.folder} differs from the run's plan; run again."
                    f"{ignored if folder else ''}"
                )
            return Job(run, snapshot, stage, inputs, attempt)

    def ignores(self, name: str) -> bool:
        """Whether DVC ignores folders of that name because of .dvcignore."""
        with self._lock:
            return bool(self._repo.dvcignore.is_ignored_dir(str(self.folder / name)))

    def stage(self, name: str) -> StageNode:
        """The stage as in dvc.yaml. Raises GraphError for an invalid `meta:`."""
        with self._lock:
            return next(stage for stage in read_graph(self._repo).stages if stage.name == name)

    def working_folder(self, stage: str) -> Path:
        """Where the stage's command runs: `wdir`, or the folder of its dvc.yaml."""
        return Path(self._stages[stage].wdir)

    def outputs(self, stage: str) -> list[str]:
        """The paths of the stage's outputs, from the checkout's root."""
        return [path_of(out) for out in self._stages[stage].outs]

    def restore(self, job: Job) -> LockEntry | None:
        """Restore the stage's outputs from DVC's cache if the run-cache has an entry for these inputs; return that.

        None: the stage has to run.
        """
        with self._lock, self._repo.lock:
            stage = self._stages[job.stage]
            recorded = self._recorded.get(job.stage)
            known = [] if recorded is None else [recorded]
            if not stage.frozen:  # `dvc freeze`: it keeps its outputs whatever its inputs are
                if stage.always_changed:
                    return None
                known = [entry for entry in known if inputs_of(entry) == job.inputs]
                # A machine that never had the recorded outputs may have others of the same inputs.
                if may_be_restored(stage) and (found := run_cache_entry(stage)) is not None:
                    known.append(found)
            for entry in known:
                cached = recorded_stage(entry, stage)
                if cached.outs_cached():
                    cached.checkout(force=True)
                    self._set_entry(job.stage, entry)
                    return entry
            return None

    def clear_outputs(self, job: Job) -> None:
        """Remove the stage's old outputs, as DVC does; check out the previous version of persistent outputs instead.

        These are links only if the stage rewrites its outputs (`meta: restorable`), else copies.
        """
        with self._lock, self._repo.lock:
            stage = self._stages[job.stage]
            if stage.frozen:
                raise PlaceError(f"{job.stage} is frozen, but its outputs are lost. Run: dvc unfreeze {job.stage}")
            for out in stage.outs:
                if not out.persist:
                    out.remove(ignore_remove=False)
                    continue
                if out.hash_info and not out.exists and not out.changed_cache():
                    out.checkout(force=True)
                if out.exists and not (stage.meta or {}).get("restorable"):
                    out.unprotect()  # the command may write into it, and a link leads into the cache

    def record(self, job: Job) -> LockEntry:
        """Hash the stage's outputs, add them to the cache, write its entry. Raises PlaceError.

        If an input has changed since the stage began, nothing is recorded.
        """
        from dvc.exceptions import DvcException
        from dvc.stage.serialize import to_single_stage_lockfile

        with self._lock, self._repo.lock:
            stage = self._stages[job.stage]
            try:
                stage.save(run_cache=False)
                entry: dict[str, Any] = to_single_stage_lockfile(stage)
                if changed := changed_inputs(job.inputs, entry):
                    raise PlaceError(
                        f"{', '.join(changed)} changed in {self.folder} while {job.stage} ran, so its result was "
                        "not recorded. Do not edit that folder, and run again"
                    )
                if _enters_run_cache(stage):
                    save_to_run_cache(stage)
                stage.commit()
            except DvcException as error:
                raise PlaceError(f"{job.stage}: {one_line(error)}") from None
            self._set_entry(job.stage, entry)
            return entry

    def reads(self, stage: str, declared: Sequence[str]) -> tuple[StoredOutput, ...]:
        """The outputs that the stage reads, or the parts of them; all are in the cache then. Raises PlaceError.

        declared: paths that it reads besides its dependencies (`meta: reads`).
        """
        with self._lock, self._repo.lock:
            upstream = [self._stages[name] for name in self._all_upstream(stage)]
            try:
                read = outputs_read(self._stages[stage], upstream, declared)
            except UnknownReads as error:
                raise PlaceError(
                    f"dvc.yaml: {stage}: meta.reads: {error} is no output of an upstream stage; name one, or a path "
                    "in it"
                ) from None
            paths = {output.path for output in read}
            add_to_cache(out for other in upstream for out in other.outs if path_of(out) in paths)
            return read

    def lay_out(self, outputs: Iterable[StoredOutput]) -> None:
        """Lay out inputs that were fetched into the cache, instead of those that dvc.lock names."""
        with self._lock, self._repo.lock:
            outs = {path_of(out): out for stage in self._stages.values() for out in stage.outs}
            lay_out(self._repo, outs, outputs)
            self._laid_out.update(self._stages)

    def made(self, stage: str) -> tuple[StoredOutput, ...]:
        """The recorded outputs of a stage; all are in the cache then, those that git tracks too."""
        with self._lock, self._repo.lock:
            outs = self._stages[stage].outs
            add_to_cache(outs)
            return tuple(stored(out) for out in outs)

    def named(self, entry: LockEntry, stage: str) -> tuple[StoredOutput, ...]:
        """The outputs that a lock entry of a stage names."""
        with self._lock:
            return tuple(stored(out) for out in recorded_stage(entry, self._stages[stage]).outs)

    def size_of(self, output: StoredOutput) -> int:
        """Bytes of an output, or of the parts of it, that are in the cache."""
        if output.parts is None and output.size_bytes is not None:
            return output.size_bytes
        with self._lock:
            cache = self._repo.cache.local
        return cached_bytes(cache, output)

    def take(self, job: Job, entry: LockEntry) -> None:
        """Take over the result of a job that was executed elsewhere. Its outputs must be in the cache.

        Raises PlaceError if it is not a result of this job's inputs, or not complete.
        """
        with self._lock, self._repo.lock:
            stage = self._stages[job.stage]
            if changed := changed_inputs(job.inputs, entry):
                raise PlaceError(f"{job.stage}: its result was made from other inputs: {', '.join(changed)}")
            cached = recorded_stage(entry, stage)
            if not cached.outs_cached():
                raise PlaceError(f"{job.stage}: its outputs are not complete in DVC's cache")
            cached.checkout(force=True)
            # Written with others: commands run elsewhere, and with a thousand stages it takes a second. In a place of
            # its own, nobody copies the file.
            self._set_entry(job.stage, entry, at_once=self._workspace is None)
            if _enters_run_cache(stage):
                save_to_run_cache(stage)

    def copy_lock(self, to: Path) -> None:
        """Copy the place's dvc.lock atomically, if there is one; no stage writes it meanwhile."""
        with self._lock:
            if self._unwritten:
                self._write_entries()
            if not (self.folder / LOCK_FILE).is_file():
                return
            new = to.with_name(f".{to.name}.new")
            shutil.copyfile(self.folder / LOCK_FILE, new)
            os.replace(new, to)

    def _set_entry(self, name: str, entry: LockEntry, *, at_once: bool = True) -> None:
        """Record the entry for the stage, in memory and in the place's dvc.lock; later if not `at_once`."""
        from dvc.stage.loader import StageLoader

        stage = self._stages[name]
        StageLoader.fill_from_lock(stage, dict(entry))
        stage.cmd_changed = False
        self._unwritten.append(stage)
        if at_once:
            self._write_entries()
        self._recorded[name] = entry
        self._laid_out.add(name)

    def _write_entries(self) -> None:
        for path in dict.fromkeys(stage.path for stage in self._unwritten):
            own = [stage for stage in self._unwritten if stage.path == path]
            own[0].dvcfile.dump_stages(own, update_pipeline=False)
        self._unwritten.clear()

    def _check_out_inputs(self, stage: str) -> None:
        """Check out the outputs of all upstream stages, as a task may read undeclared ones, and its data sources."""
        for name in self._all_upstream(stage):
            other = self._stages[name]
            if name in self._laid_out or (other.is_data_source and name not in self._upstream[stage]):
                continue
            for out in other.outs:
                if out.use_cache and out.hash_info and (not out.exists or out.changed_checksum()):
                    if out.changed_cache():
                        self._recover_from_workspace(name, out)
                    out.checkout(force=True)
            self._laid_out.add(name)

    def _recover_from_workspace(self, name: str, out: "Output") -> None:
        """Add an output that the cache lost to it again, from the workspace. Raises PlaceError."""
        if self._workspace is not None:
            # A workspace that cannot be read, as in the middle of an edit, has no outputs to offer.
            with suppress(GraphError), open_repo(self._workspace) as repo:
                stages = [stage for stage, _ in dvc_stages(repo) if stage_name(stage) == name]
                for other in (other for stage in stages for other in stage.outs if path_of(other) == path_of(out)):
                    if other.exists and not other.changed_checksum():
                        other.commit(relink=False)
        if out.changed_cache():
            raise PlaceError(
                f"{path_of(out)} is complete neither in DVC's cache nor here: genai data pull, or create it again"
            )

    def _all_upstream(self, stage: str) -> list[str]:
        found: dict[str, None] = {}
        waiting = list(self._upstream[stage])
        while waiting:
            name = waiting.pop()
            if name not in found:
                found[name] = None
                waiting += self._upstream[name]
        return list(found)


@contextmanager
def open_place(folder: Path, workspace: Path | None = None) -> Iterator[Place]:
    """The place in a checkout; see Place. Raises GraphError."""
    with open_repo(folder, wait_for_lock=True) as repo:
        yield Place(folder, repo, workspace)


def command_line(command: str) -> list[str]:
    """Return the command line as DVC runs it: in the user's shell, without the shell's settings."""
    from dvc.stage.run import _make_cmd, get_executable

    return list(_make_cmd(get_executable(), command))


def stage_variables(place: Place, job: Job) -> dict[str, str]:
    """The variables that DVC sets for a stage's command, and one that identifies its inputs, for checkpoints."""
    own = {"DVC_ROOT": str(place.folder), "DVC_STAGE": job.stage, "DVC_NO_ANALYTICS": "1", "GENAI_JOB": key_of(job)}
    # Python writes bytecode next to the code. In a folder that a stage depends on, that would change the input.
    return own if place.ignores("__pycache__") else {**own, "PYTHONDONTWRITEBYTECODE": "1"}


def _enters_run_cache(stage: "Stage") -> bool:
    """DVC's own rule (Stage.run): a file outside the cache that is neither metric nor plot cannot be restored."""
    return all(out.use_cache or out.is_metric or out.is_plot for out in stage.outs)
