"""A watched folder: has something arrived since it was last taken in, and taking it in."""

import time
from dataclasses import dataclass
from pathlib import Path

from flows.data.add import add
from flows.git import git
from flows.watching.folder import Folder, is_settled, look_at
from flows.watching.news import describe_time, read_memory, remember_taken
from flows.workspace import RAW_DATA

_TRACKED = (f"{RAW_DATA}.dvc", f"{RAW_DATA.parent}/.gitignore")


@dataclass(frozen=True)
class Arrivals:
    """What a look at the watched source found. changed: it is not as it was when it was last taken in."""

    source: str
    folder: Folder
    changed: bool
    settled: bool

    @property
    def can_be_taken(self) -> bool:
        return self.changed and self.settled

    def sentence(self) -> str:
        there = f"{self.source}: {self.folder.files:,} files"
        if not self.changed:
            return f"{there}, as they were when they were last added"
        last = f"last change {describe_time(self.folder.changed_at)}"
        return f"{there}, not as last added ({last})" + ("" if self.settled else "; still being written, later then")


def arrivals(workspace: Path, source: str | None, settle_s: float) -> Arrivals | None:
    """Look at the watched source, if there is one. Raises WatchError when it is not there."""
    if source is None:
        return None
    folder = look_at(source, workspace)
    changed = read_memory(workspace).taken.get(source) != folder.stamp
    return Arrivals(source, folder, changed, is_settled(folder, settle_s, time.time()))


def take(workspace: Path, found: Arrivals, name: str | None) -> str:
    """Add what is new of the source, commit data/raw.dvc and nothing else, and say what became of it.

    What arrives meanwhile changes the stamp, and is taken the next time. A run that is at work has its own snapshot.
    Raises DataError, GitError or ConfigError; a commit that failed is made by the next look, as the source counts as
    taken only after it.
    """
    version = add(workspace, str(workspace / Path(found.source).expanduser()), name)
    said = f"data/raw is version {version.md5[:10]} ({version.files:,} files)"
    files = [path for path in _TRACKED if (workspace / path).is_file()]
    git(workspace, "add", "--", *files)
    if git(workspace, "diff", "--cached", "--name-only", "--", *files).strip():
        message = f"Data: {found.source} has grown\n\ndata/raw is now version {version.md5}"
        git(workspace, "commit", "--quiet", "--no-verify", "--only", "--message", message, "--", *files)
        said += ", committed"
    remember_taken(workspace, found.source, found.folder.stamp)
    return said
