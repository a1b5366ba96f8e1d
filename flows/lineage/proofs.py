"""The commit whose code, parameters and data sources made a stage's entry in dvc.lock.

A dvc.lock does not prove that its commit made the result. In a run's snapshot, it is from before the run. In a user's
commit, it may be older than the code. So this module compares the contents.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.git import contents, git
from flows.locked import Lock, LockedStage, folder_md5, is_at, parsed_yaml
from flows.runs.snapshot import REFS
from genai_core.config import PARAMS_FILE

_STASH = "refs/stash"


@dataclass(frozen=True, eq=False)
class Commits:
    """The commits that lineage searches, oldest first.

    own: on a branch or tag, made by a user or a retraining. snapshots: commit -> its runs, oldest first.
    """

    all: tuple[str, ...]
    own: frozenset[str]
    snapshots: Mapping[str, tuple[str, ...]]


def read_commits(workspace: Path, paths: Iterable[str]) -> Commits:
    """All commits that changed one of `paths`, and all snapshots of runs. Raises GitError."""
    snapshots: dict[str, tuple[str, ...]] = {}
    for line in git(workspace, "for-each-ref", "--format=%(objectname) %(refname)", REFS).split("\n")[:-1]:
        commit, name = line.split(" ", 1)
        snapshots[commit] = (*snapshots.get(commit, ()), name.removeprefix(REFS))
    order = ("--reverse", "--topo-order")
    listed = git(workspace, "log", "--all", *order, "--format=%H", "--", *paths).split()
    # In git's order: a snapshot comes after its parent commit.
    if missing := snapshots.keys() - set(listed):
        wanted = {*listed, *missing}
        listed = [commit for commit in git(workspace, "rev-list", "--all", *order).split() if commit in wanted]
    own = git(workspace, "rev-list", f"--exclude={REFS}*", f"--exclude={_STASH}", "--all").split()
    return Commits(tuple(listed), frozenset(own), snapshots)


class Proofs:
    """Compares entries of dvc.lock with the contents of commits. Reads each file once."""

    def __init__(self, workspace: Path, commits: Commits, locks: Mapping[str, Lock]) -> None:
        self._workspace, self._commits, self._locks = workspace, commits, locks
        self._recorded: dict[str, set[str]] = defaultdict(set)  # entry -> snapshots whose run produced it
        self._entries: dict[int, tuple[Lock, frozenset[str]]] = {}  # by id(lock); keeping the lock keeps the id unique
        self._hashes: dict[str, str] = {}
        self._params: dict[str, Any] = {}
        self._found: dict[str, str | None] = {}
        own = (commit for commit in commits.all if commit in commits.own)
        self._committed = frozenset[str]().union(*(self._entries_of(locks[commit]) for commit in own))

    def recorded(self, lock: Lock, commit: str) -> None:
        """Add the results of the run on a snapshot."""
        for entry in self._entries_of(lock):
            self._recorded[entry].add(commit)

    def commit_of(self, stage: LockedStage, lock: Lock) -> str | None:
        """The commit with exactly the stage's code, parameters and data sources; None if there is none.

        lock: one that contains the entry. Order: commits on a branch or tag whose dvc.lock has the entry, other commits
        on a branch or tag (first those whose run produced it), the snapshot whose run produced it, other snapshots.
        """
        entry = identity(stage)
        if entry not in self._found:
            self._found[entry] = self._search(stage, lock, entry)
        return self._found[entry]

    def is_committed(self, stage: LockedStage) -> bool:
        """Whether the dvc.lock of a commit on a branch or tag has the entry."""
        return identity(stage) in self._committed

    def _search(self, stage: LockedStage, lock: Lock, entry: str) -> str | None:
        ranks: dict[tuple[bool, bool, bool], list[str]] = defaultdict(list)
        for commit in self._commits.all:
            is_own, is_recorded = commit in self._commits.own, commit in self._recorded[entry]
            has_entry = entry in self._entries_of(self._locks[commit]) if is_own else is_recorded
            ranks[is_own, has_entry, is_recorded].append(commit)
        for rank in sorted(ranks, reverse=True):
            # The first commit with the entry. Without one, the last commit, whose data are the most similar.
            ordered = ranks[rank] if any(rank[1:]) else ranks[rank][::-1]
            if (found := self._first_match(ordered, stage, lock)) is not None:
                return found
        return None

    def _first_match(self, commits: list[str], stage: LockedStage, lock: Lock) -> str | None:
        sources = {item.path for item in lock.sources}
        data = {item for item in stage.deps if item.path in sources}
        code = [item for item in lock.code(stage) if item not in data]
        paths = [*(item.path for item in code), PARAMS_FILE]
        objects = self._objects(commits, paths)
        for commit in commits:
            found = objects[commit]
            if (
                data <= set(self._locks[commit].sources)
                and all(self._md5(commit, item.path, found[item.path]) == item.md5 for item in code)
                and self._has_parameters(found[PARAMS_FILE], stage)
            ):
                return commit
        return None

    def _objects(self, commits: list[str], paths: list[str]) -> dict[str, dict[str, str]]:
        """git's object type and hash of each path in each commit; "" if it does not exist."""
        names = "".join(f"{commit}:./{path}\n" for commit in commits for path in paths)
        # Not splitlines(): git repeats the name of a missing path, which may contain U+2028 or U+0085.
        lines = iter(
            git(self._workspace, "cat-file", "--batch-check=%(objecttype) %(objectname)", text=names).split("\n")
        )
        return {
            commit: {path: "" if (line := next(lines)).endswith(" missing") else line for path in paths}
            for commit in commits
        }

    def _md5(self, commit: str, path: str, found: str) -> str | None:
        """DVC's hash of a file or a folder."""
        if not found:
            return None
        kind, name = found.split()
        if name not in self._hashes:
            if kind == "tree":
                self._hashes[name] = folder_md5(self._workspace, commit, path) or ""
            else:
                content = contents(self._workspace, [name])[name]
                self._hashes[name] = hashlib.md5(content, usedforsecurity=False).hexdigest()
        return self._hashes[name]

    def _has_parameters(self, found: str, stage: LockedStage) -> bool:
        if not stage.params:
            return True
        if not found:
            return False
        name = found.split()[1]
        if name not in self._params:
            self._params[name] = parsed_yaml(contents(self._workspace, [name])[name], PARAMS_FILE)
        return all(is_at(self._params[name], key, value) for key, value in stage.params.items())

    def _entries_of(self, lock: Lock) -> frozenset[str]:
        if id(lock) not in self._entries:
            self._entries[id(lock)] = lock, frozenset(identity(stage) for stage in lock.stages.values())
        return self._entries[id(lock)][1]


def identity(stage: LockedStage) -> str:
    """A key of what the stage read, ran and wrote; equal entries have equal keys."""
    return repr((stage.name, stage.command, stage.deps, stage.outs, sorted(stage.params.items())))
