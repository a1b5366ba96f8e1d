"""New files in a watched folder: detect them, and add them to data/raw."""

import time
from dataclasses import dataclass
from pathlib import Path

from flows.data.add import add
from flows.git import git
from flows.watching.folder import Folder, is_settled, look_at
from flows.watching.news import describe_time, read_memory, remember_added
from flows.workspace import RAW_DATA
from genai_core.counted import counted

_TRACKED = (f"{RAW_DATA}.dvc", f"{RAW_DATA.parent}/.gitignore")


@dataclass(frozen=True)
class Arrivals:
    """The state of the watched source. changed: it differs from when it was last added."""

    source: str
    folder: Folder
    changed: bool
    settled: bool

    @property
    def can_be_added(self) -> bool:
        return self.changed and self.settled

    def sentence(self) -> str:
        there = f"{self.source}: {counted(self.folder.files, 'file')}"
        if not self.changed:
            return f"{there}, unchanged since they were last added"
        last = f"last change {describe_time(self.folder.changed_at)}"
        unsettled = "" if self.settled else "; still being written, so nothing is added yet"
        return f"{there}, changed since they were last added ({last}){unsettled}"


def arrivals(workspace: Path, source: str | None, settle_s: float) -> Arrivals | None:
    """Check the watched source, if there is one. Raises WatchError if it does not exist."""
    if source is None:
        return None
    folder = look_at(source, workspace)
    changed = read_memory(workspace).added.get(source) != folder.stamp
    return Arrivals(source, folder, changed, is_settled(folder, settle_s, time.time()))


def add_arrivals(workspace: Path, found: Arrivals, name: str | None) -> str:
    """Add new images of the source, commit data/raw.dvc and nothing else, and return a line about the result.

    Files that arrive meanwhile change the stamp, and are added next time. Running runs have their own snapshot.
    Raises DataError, GitError or ConfigError. If the commit fails, the next check retries it, because the source counts
    as added only afterwards.
    """
    version = add(workspace, str(workspace / Path(found.source).expanduser()), name).version
    text = f"data/raw is version {version.md5[:10]} ({counted(version.files, 'file')})"
    files = [path for path in _TRACKED if (workspace / path).is_file()]
    git(workspace, "add", "--", *files)
    if git(workspace, "diff", "--cached", "--name-only", "--", *files).strip():
        message = f"Data: {found.source} has grown\n\ndata/raw is now version {version.md5}"
        git(workspace, "commit", "--quiet", "--no-verify", "--only", "--message", message, "--", *files)
        text += ", committed"
    remember_added(workspace, found.source, found.folder.stamp)
    return text
