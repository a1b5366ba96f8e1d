"""The commit whose code, parameters and data sources made a stage's entry in dvc.lock.

A dvc.lock does not prove that its commit made the result. In a run's snapshot, it is from before the run. In a user's
commit, it may be older than the code or the data. So this module compares contents: those of the stage, and those of
every stage upstream of it.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from flows.dvc_lock import Item, Lock, is_at
from flows.lineage.commits import Commits, CommittedFiles
from flows.lineage.stage_run import StageRun, Writers, identity
from genai_core.config import PARAMS_FILE

_AT_ONCE = 64  # commits to look up in one process; the first ones are usually enough


class Proofs:
    """Compares entries of dvc.lock with the contents of commits.

    inputs: for each input of a run that stages wrote, the alternative writers; empty if none is known.
    files: the names and hashes of a folder by its DVC hash; None if they are not known.
    """

    def __init__(
        self,
        workspace: Path,
        commits: Commits,
        locks: Mapping[str, Lock],
        inputs: Callable[[StageRun], list[list[Writers]]],
        files: Callable[[str], Mapping[str, str] | None],
    ) -> None:
        self._locks, self._files = locks, files
        self._inputs_of = inputs
        self._content = CommittedFiles(workspace)
        self._recorded: dict[str, set[str]] = defaultdict(set)  # entry -> snapshots whose run produced it
        self._entries: dict[int, tuple[Lock, frozenset[str]]] = {}  # by id(stages); keeping them keeps the id unique
        self._inputs: dict[StageRun, list[list[Writers]]] = {}
        self._upstream: dict[StageRun, tuple[StageRun, ...]] = {}
        self._code: dict[StageRun, tuple[Item, ...]] = {}
        self._matches: dict[tuple[str, StageRun], bool] = {}
        self._found: dict[str, str | None] = {}
        self._own = [commit for commit in commits.all if commit in commits.own]
        self._snapshots = [commit for commit in commits.snapshots if commit not in commits.own]  # as their runs began
        ranked = {*self._own, *self._snapshots}
        self._others = [commit for commit in commits.all if commit not in ranked]  # stashes
        self._committed = frozenset[str]().union(*(self._entries_of(locks[commit]) for commit in self._own))

    def recorded(self, lock: Lock, commit: str) -> None:
        """Add the results of the run on a snapshot: what its dvc.lock has and the snapshot's does not."""
        for entry in self._entries_of(lock) - self._entries_of(self._locks[commit]):
            self._recorded[entry].add(commit)

    def commit_of(self, run: StageRun) -> str | None:
        """The commit with exactly the code, parameters and data sources of the run and of everything upstream.

        None if there is none. Order: commits on a branch or tag whose dvc.lock has the entry, other commits on a branch
        or tag, the snapshot whose run produced it, other snapshots. The oldest of each, so that later commits do not
        change the answer.
        """
        entry = identity(run.stage)
        if entry not in self._found:
            found = (self._first_match(commits, run) for commits in self._ranked(entry))
            self._found[entry] = next((commit for commit in found if commit is not None), None)
        return self._found[entry]

    def is_committed(self, run: StageRun) -> bool:
        """Whether the dvc.lock of a commit on a branch or tag has the entry."""
        return identity(run.stage) in self._committed

    def _ranked(self, entry: str) -> Iterator[list[str]]:
        """All commits, in the order of `commit_of`."""
        yield [commit for commit in self._own if entry in self._entries_of(self._locks[commit])]
        yield [commit for commit in self._own if entry not in self._entries_of(self._locks[commit])]
        recorded = self._recorded.get(entry, set())
        yield [commit for commit in self._snapshots if commit in recorded]
        yield [commit for commit in self._snapshots if commit not in recorded] + self._others

    def _first_match(self, commits: list[str], run: StageRun) -> str | None:
        by_sources: dict[tuple[Item, ...], bool] = {}  # many commits have the same data
        for sources in (self._locks[commit].sources for commit in commits):
            if sources not in by_sources:
                by_sources[sources] = self._holds(run, partial(self._has_sources, sources), {})
        likely = [commit for commit in commits if by_sources[self._locks[commit].sources]]
        for start in range(0, len(likely), _AT_ONCE):
            some = likely[start : start + _AT_ONCE]
            self._load(some, [run])
            if some := [commit for commit in some if self._is_match(commit, run)]:
                self._load(some, self._with_upstream(run))
            for commit in some:
                if self._holds(run, partial(self._is_match, commit), {}):
                    return commit
        return None

    def _holds(self, run: StageRun, check: Callable[[StageRun], bool], known: dict[StageRun, bool]) -> bool:
        """Whether `check` is true for the run and everything upstream; of alternative writers, one suffices."""
        if run not in known:
            known[run] = False  # while it is decided: an object is no proof of itself
            known[run] = check(run) and all(
                any(all(self._holds(writer, check, known) for writer in writers) for writers in alternatives)
                for alternatives in self._made_inputs(run)
            )
        return known[run]

    def _is_match(self, commit: str, run: StageRun) -> bool:
        """Whether the commit has the stage's own code, parameters and data sources. They must be loaded."""
        key = commit, run
        if key not in self._matches:
            self._matches[key] = (
                self._has_sources(self._locks[commit].sources, run)
                and all(self._content.md5(commit, item.path) == item.md5 for item in self._code_of(run))
                and self._has_parameters(commit, run)
            )
        return self._matches[key]

    def _has_sources(self, sources: tuple[Item, ...], run: StageRun) -> bool:
        """Whether the data sources are, or contain, those inputs of the run that no stage makes."""
        known = {source.path for source in run.lock.sources}
        read = (item for item in run.stage.deps if any(f"{item.path}/".startswith(f"{path}/") for path in known))
        return all(any(self._contains(source, item, run) for source in sources) for item in read)

    def _contains(self, source: Item, item: Item, run: StageRun) -> bool:
        if not item.path.startswith(f"{source.path}/"):
            return source == item
        files = self._files(source.md5)
        if files is None:  # not in the cache: then the dvc.lock that first recorded the entry is believed
            return source in run.lock.sources
        return files.get(item.path[len(source.path) + 1 :]) == item.md5

    def _has_parameters(self, commit: str, run: StageRun) -> bool:
        wanted = run.stage.params
        return not wanted or all(is_at(self._content.params(commit), key, value) for key, value in wanted.items())

    def _load(self, commits: Sequence[str], runs: Sequence[StageRun]) -> None:
        paths = [item.path for run in runs for item in self._code_of(run)]
        self._content.load(commits, [*paths, PARAMS_FILE])

    def _with_upstream(self, run: StageRun) -> tuple[StageRun, ...]:
        if run not in self._upstream:
            found: dict[StageRun, None] = {run: None}
            waiting = [run]
            while waiting:
                alternatives = (writers for known in self._made_inputs(waiting.pop()) for writers in known)
                new = {writer for writers in alternatives for writer in writers if writer not in found}
                found.update(dict.fromkeys(new))
                waiting += new
            self._upstream[run] = tuple(found)
        return self._upstream[run]

    def _made_inputs(self, run: StageRun) -> list[list[Writers]]:
        if run not in self._inputs:
            self._inputs[run] = self._inputs_of(run)
        return self._inputs[run]

    def _code_of(self, run: StageRun) -> tuple[Item, ...]:
        if run not in self._code:
            self._code[run] = tuple(run.lock.code(run.stage))
        return self._code[run]

    def _entries_of(self, lock: Lock) -> frozenset[str]:
        if id(lock.stages) not in self._entries:
            self._entries[id(lock.stages)] = lock, frozenset(identity(stage) for stage in lock.stages.values())
        return self._entries[id(lock.stages)][1]
