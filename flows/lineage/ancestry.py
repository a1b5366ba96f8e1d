"""What was made of what, over the whole history of dvc.lock: by the hashes of contents, whatever the commit.

A run is one entry of dvc.lock. It hangs on another when something that it read has the content that the other wrote,
so that a dvc.lock in which old and new stages are mixed misleads nobody.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from flows.data.outputs import Outputs
from flows.git import git
from flows.locked import LOCK_FILE, SOURCE_FILES, Item, Lock, LockedStage, locks_at


@dataclass(frozen=True, eq=False)
class Run:
    """A stage that ran once: what it read and wrote, and the first commit that says so."""

    stage: LockedStage
    commit: str

    def out(self, path: str) -> Item | None:
        return next((item for item in self.stage.outs if item.path == path), None)


class History:
    """All runs that any commit of any branch or tag knows, the oldest first."""

    def __init__(self, workspace: Path, held: Outputs) -> None:
        """Reads git's history and, from DVC's cache or remote, lists of files. Raises GitError."""
        self.held = held
        paths = (LOCK_FILE, *SOURCE_FILES)
        commits = git(workspace, "log", "--all", "--reverse", "--topo-order", "--format=%H", "--", *paths).split()
        locks = locks_at(workspace, commits)
        self.sources = {item: commit for commit in reversed(commits) for item in locks[commit].sources}
        known: dict[str, Run] = {}
        for commit in commits:
            for stage in locks[commit].stages.values():
                known.setdefault(_identity(stage), Run(stage, commit))
        self.runs = tuple(known.values())
        self._makers: dict[Item, list[Run]] = defaultdict(list)
        read = {item.path for run in self.runs for item in run.stage.deps}
        for run in self.runs:
            for out in run.stage.outs:
                self._index(run, out, (path for path in read if path.startswith(f"{out.path}/")))
        for commit in commits:
            self._index_folders(locks[commit], known, read)

    def makers(self, item: Item) -> list[Run]:
        """The runs that wrote `item`: an output, a file in one, or a folder of several outputs."""
        return self._makers.get(item, [])

    def source_of(self, item: Item) -> Item | None:
        """The data source that `item` is, or is a file of."""
        if item in self.sources:
            return item
        for source in self.sources:
            if item.path.startswith(f"{source.path}/"):
                name = item.path[len(source.path) + 1 :]
                if (self.held.files(source.md5) or {}).get(name) == item.md5:
                    return source
        return None

    def upstream(self, run: Run) -> list[tuple[Item, list[Run]]]:
        """What the run read that other runs wrote, each with those runs."""
        return [(item, self.makers(item)) for item in run.stage.deps if self.makers(item)]

    def downstream(self, run: Run) -> list[Run]:
        """The runs that read something that this run wrote."""
        return [other for other in self.runs if any(run in self.makers(item) for item in other.stage.deps)]

    def outputs(self, path: str) -> list[tuple[Item, Run]]:
        """All versions of the output at `path`, the newest first."""
        return [(item, run) for run in reversed(self.runs) for item in run.stage.outs if item.path == path]

    def read(self, folder: Item, name: str) -> bytes | None:
        """A file of an output folder by its name; None when cache and remote do not have it."""
        md5 = (self.held.files(folder.md5) or {}).get(name)
        return self.held.read(md5) if md5 else None

    def _index(self, run: Run, out: Item, inside: Iterable[str]) -> None:
        self._add(out, run)
        wanted = list(inside)
        files = self.held.files(out.md5) or {} if wanted else {}
        for path in wanted:
            md5 = files.get(path[len(out.path) + 1 :])
            if md5:
                self._add(Item(path, md5), run)

    def _index_folders(self, lock: Lock, known: dict[str, Run], read: set[str]) -> None:
        """Folders of outputs that are read as one, such as models/trained, by what lay there at this commit."""
        for folder in read:
            below = [
                (item, known[_identity(stage)])
                for stage in lock.stages.values()
                for item in stage.outs
                if item.path.startswith(f"{folder}/")
            ]
            md5 = self._folder_md5(folder, [item for item, _ in below]) if below else None
            if md5:
                for _, run in below:
                    self._add(Item(folder, md5), run)

    def _folder_md5(self, folder: str, outs: list[Item]) -> str | None:
        listing = {}
        for out in outs:
            files = self.held.files(out.md5)
            if files is None:
                return None
            prefix = out.path[len(folder) + 1 :]
            listing.update({f"{prefix}/{name}" if name else prefix: md5 for name, md5 in files.items()})
        text = json.dumps([{"md5": listing[name], "relpath": name} for name in sorted(listing)], sort_keys=True)
        return f"{hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()}.dir"

    def _add(self, item: Item, run: Run) -> None:
        if run not in self._makers[item]:
            self._makers[item].append(run)


def _identity(stage: LockedStage) -> str:
    return repr((stage.name, stage.command, stage.deps, stage.outs, sorted(stage.params.items())))
