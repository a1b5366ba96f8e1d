"""What was made from what, across the whole history of dvc.lock, by content hash instead of by commit.

A run is one entry of dvc.lock. It depends on another run if it read content that the other wrote. A dvc.lock with old
and new stages therefore makes no false claim.
"""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from flows.data.stores import Stores
from flows.dvc_lock import LOCK_FILE, SOURCE_FILES, Item, Lock, lock_here, locks_at
from flows.hashes import folder_hash
from flows.lineage.commits import read_commits
from flows.lineage.proofs import Proofs
from flows.lineage.stage_run import StageRun, Writers, identity
from flows.runs.record import RUNS
from genai_core.config import PARAMS_FILE


class History:
    """All runs in any commit's dvc.lock or the workspace's, oldest first; those of the workspace come last."""

    def __init__(self, workspace: Path, stores: Stores) -> None:
        """Read git's history, and folder listings from DVC's cache or remote. Raises GitError."""
        self.stores = stores
        paths = (LOCK_FILE, *SOURCE_FILES)
        locks = locks_at(workspace, list(read_commits(workspace, paths).all))
        here = lock_here(workspace)
        code = {
            item.path
            for lock in {id(lock.stages): lock for lock in (*locks.values(), here)}.values()
            for stage in lock.stages.values()
            for item in lock.code(stage)
        }
        commits = read_commits(workspace, [*paths, PARAMS_FILE, *sorted(code)])
        locks = locks_at(workspace, list(commits.all))
        self._own, self._snapshots = commits.own, commits.snapshots
        self._proofs = Proofs(workspace, commits, locks, self._inputs, stores.files)
        for commit, names in commits.snapshots.items():
            for name in names:
                self._proofs.recorded(lock_here(workspace / RUNS / name), commit)
        self.sources: dict[Item, str | None] = dict.fromkeys(here.sources)
        newest_first = commits.all[::-1]
        for is_own in (False, True):  # the oldest commit on a branch or tag wins
            for commit in (commit for commit in newest_first if (commit in commits.own) == is_own):
                self.sources.update(dict.fromkeys(locks[commit].sources, commit))
        known: dict[str, StageRun] = {}
        distinct: dict[int, Lock] = {}  # many commits have the same dvc.lock
        for lock in (*locks.values(), here):
            distinct.setdefault(id(lock.stages), lock)
        for lock in distinct.values():
            for stage in lock.stages.values():
                known.setdefault(identity(stage), StageRun(stage, lock))
        self.runs = tuple(known.values())
        self._by_identity = known
        self._writers: dict[Item, list[Writers]] = defaultdict(list)
        self._makers: dict[Item, list[StageRun]] = {}
        read = {item.path for run in self.runs for item in run.stage.deps}
        for run in self.runs:
            for out in run.stage.outs:
                self._index(run, out, (path for path in read if path.startswith(f"{out.path}/")))
        for lock in distinct.values():
            self._index_folders(lock, read)
        for item, alternatives in self._writers.items():
            runs = dict.fromkeys(run for writers in alternatives for run in writers)
            self._makers[item] = sorted(runs, key=lambda run: not self.is_committed(run))

    def commit_of(self, run: StageRun) -> str | None:
        """The commit with exactly the code, parameters and data of the run and all upstream; None if there is none."""
        return self._proofs.commit_of(run)

    def is_committed(self, run: StageRun) -> bool:
        """Whether a commit on a branch or a tag has the run in its dvc.lock."""
        return self._proofs.is_committed(run)

    def is_tracked(self, source: Item) -> bool:
        """Whether a commit on a branch or a tag has that version of a data source."""
        return self.sources.get(source) in self._own

    def snapshot_of(self, commit: str) -> str | None:
        """The oldest run whose snapshot the commit is; None for a commit on a branch or a tag."""
        return None if commit in self._own else self._snapshots.get(commit, (None,))[0]

    def makers(self, item: Item) -> list[StageRun]:
        """The runs that wrote `item` (an output, a file in one, or a folder of several); committed runs first."""
        return self._makers.get(item, [])

    def source_of(self, item: Item) -> Item | None:
        """The data source that `item` is or belongs to; None if there is none."""
        if item in self.sources:
            return item
        for source in self.sources:
            if item.path.startswith(f"{source.path}/"):
                name = item.path[len(source.path) + 1 :]
                if (self.stores.files(source.md5) or {}).get(name) == item.md5:
                    return source
        return None

    def upstream(self, run: StageRun) -> list[tuple[Item, list[StageRun]]]:
        """Each input that other runs wrote, with those runs."""
        return [(item, self.makers(item)) for item in run.stage.deps if self.makers(item)]

    def downstream(self, run: StageRun) -> list[StageRun]:
        """The runs that read something that this run wrote."""
        return [other for other in self.runs if any(run in self.makers(item) for item in other.stage.deps)]

    def outputs(self, path: str) -> list[tuple[Item, StageRun]]:
        """All versions of the output at `path`, the newest first."""
        return [(item, run) for run in reversed(self.runs) for item in run.stage.outs if item.path == path]

    def read(self, folder: Item, name: str) -> bytes | None:
        """A file of an output folder by its name; None if neither cache nor remote has it."""
        md5 = (self.stores.files(folder.md5) or {}).get(name)
        return self.stores.read(md5) if md5 else None

    def _index(self, run: StageRun, out: Item, inside: Iterable[str]) -> None:
        self._add(out, run)
        wanted = list(inside)
        files = self.stores.files(out.md5) or {} if wanted else {}
        for path in wanted:
            md5 = files.get(path[len(out.path) + 1 :])
            if md5:
                self._add(Item(path, md5), run)

    def _index_folders(self, lock: Lock, read: set[str]) -> None:
        """Index folders of outputs that a stage reads as one, such as models/trained, by content at this dvc.lock."""
        for folder in read:
            below = [
                (item, self._by_identity[identity(stage)])
                for stage in lock.stages.values()
                for item in stage.outs
                if item.path.startswith(f"{folder}/")
            ]
            md5 = self._folder_md5(folder, [item for item, _ in below]) if below else None
            if md5:
                self._add(Item(folder, md5), *(run for _, run in below))

    def _folder_md5(self, folder: str, outs: list[Item]) -> str | None:
        listing = {}
        for out in outs:
            files = self.stores.files(out.md5)
            if files is None:
                return None
            prefix = out.path[len(folder) + 1 :]
            listing.update({f"{prefix}/{name}" if name else prefix: md5 for name, md5 in files.items()})
        return folder_hash(listing)

    def _add(self, item: Item, *writers: StageRun) -> None:
        if writers not in self._writers[item]:
            self._writers[item].append(writers)

    def _inputs(self, run: StageRun) -> list[list[Writers]]:
        """For each input that stages wrote: the alternative writers of that content."""
        made = [item for item in run.stage.deps if run.lock.makers(item.path)]
        return [self._writers.get(item) or self._presumed(item, run.lock) for item in made]

    def _presumed(self, item: Item, lock: Lock) -> list[Writers]:
        """The makers in the lock that first recorded the reader, unless their outputs show that they did not write it.

        For inputs whose listing is neither in the cache nor at the remote, and for folders that have more files in them
        than the outputs of stages.
        """
        stages = lock.makers(item.path)
        for out in (out for stage in stages for out in stage.outs):
            if out.path == item.path:
                return []
            if item.path.startswith(f"{out.path}/") and self.stores.files(out.md5) is not None:
                return []
        return [tuple(self._by_identity[identity(stage)] for stage in stages)]
