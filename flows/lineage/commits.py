"""The commits that lineage searches, and the contents of their files."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.dvc_lock import folder_md5, parsed_yaml
from flows.git import contents, git
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
    # By date, so that a new branch does not change the order of older commits; a parent always before its children.
    order = ("--reverse", "--date-order")
    listed = git(workspace, "log", "--all", *order, "--format=%H", "--", *paths).split()
    # In git's order: a snapshot comes after its parent commit.
    if missing := snapshots.keys() - set(listed):
        wanted = {*listed, *missing}
        listed = [commit for commit in git(workspace, "rev-list", "--all", *order).split() if commit in wanted]
    own = git(workspace, "rev-list", f"--exclude={REFS}*", f"--exclude={_STASH}", "--all").split()
    return Commits(tuple(listed), frozenset(own), snapshots)


class CommittedFiles:
    """DVC's hashes of files and folders in commits, and parameters there. Reads each content once."""

    def __init__(self, workspace: Path) -> None:
        self._workspace = workspace
        self._objects: dict[tuple[str, str], str] = {}  # (commit, path) -> git's type and hash; "" without such a path
        self._hashes: dict[str, str] = {}  # git's hash -> DVC's
        self._params: dict[str, Any] = {}

    def load(self, commits: Sequence[str], paths: Iterable[str]) -> None:
        """Look up paths in commits. With two processes, however many they are."""
        wanted = [(commit, path) for path in dict.fromkeys(paths) for commit in commits]
        wanted = [place for place in wanted if place not in self._objects]
        names = "".join(f"{commit}:./{path}\n" for commit, path in wanted)
        if not names:
            return
        answer = git(self._workspace, "cat-file", "--batch-check=%(objecttype) %(objectname)", text=names)
        # Not splitlines(): git repeats the name of a missing path, which may contain U+2028 or U+0085.
        for place, line in zip(wanted, answer.split("\n")[:-1], strict=True):
            self._objects[place] = "" if line.endswith(" missing") else line
        found = {self._objects[place] for place in wanted if place[1] != PARAMS_FILE}
        new = {line.split()[1] for line in found if line.startswith("blob ")} - self._hashes.keys()
        for name, content in contents(self._workspace, sorted(new)).items():
            self._hashes[name] = hashlib.md5(content, usedforsecurity=False).hexdigest()

    def md5(self, commit: str, path: str) -> str | None:
        """DVC's hash of a loaded file or folder; None if the commit does not have it."""
        found = self._objects[commit, path]
        if not found:
            return None
        kind, name = found.split()
        if kind == "tree" and name not in self._hashes:
            self._hashes[name] = folder_md5(self._workspace, commit, path) or ""
        return self._hashes.get(name)

    def params(self, commit: str) -> Any:
        """The parsed, loaded params.yaml; None if the commit has none."""
        found = self._objects[commit, PARAMS_FILE]
        if not found:
            return None
        name = found.split()[1]
        if name not in self._params:
            self._params[name] = parsed_yaml(contents(self._workspace, [name])[name], PARAMS_FILE)
        return self._params[name]
