"""Find data that production was not trained on, by versions and stamps. Downloads and hashes nothing."""

import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from flows.data.versions import WORKING_TREE, version_at
from flows.git import GitError, commit_of, git, remote_of
from flows.registry.read import read_registry
from flows.whole_file import write_json

REMOTE_TIMEOUT_S = 20.0


class DivergedError(GitError):
    """This branch and its counterpart at the remote have diverged: to use either one would drop somebody's commits."""


@dataclass(frozen=True)
class Newest:
    """The newest committed version of the data: DVC's hash of data/raw (None: no data), and its commit."""

    raw: str | None
    commit: str
    where: str  # "this checkout", or "origin/main"
    fault: str = ""  # why the git remote was not taken into account


@dataclass(frozen=True)
class News:
    """Production's data and the newest data. old, new: DVC's hashes of data/raw, "" if there is none."""

    production: str  # its version; "": nothing is in production
    old: str
    new: str
    commit: str
    where: str
    faults: tuple[str, ...] = ()

    @property
    def is_new(self) -> bool:
        return bool(self.new) and self.new != self.old

    def sentence(self) -> str:
        """One line for the terminal, the flow's state and notifications."""
        if not self.new:
            return "there is no data yet; add some: genai data add SOURCE"
        found = f"data version {self.new[:10]} ({self.where})"
        if not self.production:
            return f"{found}, and nothing is in production yet"
        if self.is_new:
            return f"{found}; {self.production}, in production, was trained on {self.old[:10] or 'an unknown version'}"
        return f"nothing new: {self.production}, in production, was trained on {found}"


def look(workspace: Path) -> News:
    """Compare what production was trained on with the newest version of the data. Raises GitError."""
    newest = newest_data(workspace)
    production, old = production_data(workspace)
    faults = (newest.fault,) if newest.fault else ()
    if here := uncommitted_data(workspace):
        return News(production, old, here, newest.commit, "the working tree", faults)
    return News(production, old, newest.raw or "", newest.commit, newest.where, faults)


def production_data(workspace: Path) -> tuple[str, str]:
    """The version in production, and the hash of data/raw that it was trained on; "" if unknown."""
    registry = read_registry(workspace)
    standing = registry.production()
    if standing is None:
        return "", ""
    version = next((entry for entry in registry.versions if entry.commit == standing.commit), None)
    raw = version.facts.raw_data if version and version.facts else None
    return standing.version, raw or version_at(workspace, standing.version, standing.commit).raw or ""


def newest_data(workspace: Path) -> Newest:
    """The data of this branch: at the git remote if that is ahead, else of HEAD. Raises GitError.

    Asks the remote for one hash. Fetches git's objects, a few KB and none of DVC's, only if that commit is not here. A
    remote that does not answer, or has diverged, is reported in `fault`.
    """
    head = commit_of(workspace)
    commit, where, fault = head, "this checkout", ""
    try:
        ahead = _ahead(workspace, head)
        if ahead:
            commit, where = ahead
    except DivergedError as error:
        fault = str(error)
    except GitError as error:
        fault = f"the git remote could not be queried: {error}"
    return Newest(version_at(workspace, commit, commit).raw, commit, where, fault)


def uncommitted_data(workspace: Path) -> str | None:
    """The hash in the working tree's data/raw.dvc; None if HEAD has the same."""
    here = version_at(workspace, WORKING_TREE, None).raw
    return here if here != version_at(workspace, "HEAD", "HEAD").raw else None


# --- what was announced and added already: .genai/watch.json, safe to delete ------------------------------------------


@dataclass(frozen=True)
class WatchMemory:
    """State of earlier checks. added: source -> its stamp when last added; announced: news -> time (epoch, seconds)."""

    added: dict[str, str]
    announced: dict[str, float]

    def is_announced(self, news: News, repeat_hours: float, now: float) -> bool:
        at = self.announced.get(_key(news))
        return at is not None and 0 <= now - at < repeat_hours * 3600.0


def read_memory(workspace: Path) -> WatchMemory:
    try:
        values = json.loads(_memory_file(workspace).read_text())
        added, announced = values["taken"], values["told"]
        return WatchMemory({str(k): str(v) for k, v in added.items()}, {str(k): float(v) for k, v in announced.items()})
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return WatchMemory({}, {})


def remember_added(workspace: Path, source: str, stamp: str) -> None:
    memory = read_memory(workspace)
    _write(workspace, WatchMemory({**memory.added, source: stamp}, memory.announced))


def remember_announced(workspace: Path, news: News) -> None:
    memory = read_memory(workspace)
    _write(workspace, WatchMemory(memory.added, {_key(news): time.time()}))  # drop events that are already handled


def describe_time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _key(news: News) -> str:
    return f"{news.production} {news.old} -> {news.new}"


def _memory_file(workspace: Path) -> Path:
    return workspace / ".genai" / "watch.json"


def _write(workspace: Path, memory: WatchMemory) -> None:
    write_json(_memory_file(workspace), {"taken": memory.added, "told": memory.announced})


def _ahead(workspace: Path, head: str) -> tuple[str, str] | None:
    """This branch's commit at the remote and its name, if that has all commits of HEAD and more.

    Raises DivergedError if each has commits that the other lacks, and GitError.
    """
    remote = remote_of(workspace)
    branch = git(workspace, "rev-parse", "--abbrev-ref", "HEAD").strip()
    if remote is None or branch == "HEAD":
        return None
    answer = git(workspace, "ls-remote", remote, f"refs/heads/{branch}", timeout_s=REMOTE_TIMEOUT_S).split()
    if not answer or answer[0] == head:
        return None
    there = answer[0]
    try:
        git(workspace, "cat-file", "-e", f"{there}^{{commit}}")
    except GitError:
        git(workspace, "fetch", "--quiet", "--no-tags", remote, f"refs/heads/{branch}")
    here, there_only = git(workspace, "rev-list", "--left-right", "--count", f"{head}...{there}").split()
    if here != "0" and there_only != "0":
        raise DivergedError(
            f"{branch} and {remote}/{branch} have diverged, by {here} and {there_only} commits, so only this checkout "
            f"counts; merge them: git pull"
        )
    return None if there_only == "0" else (there, f"{remote}/{branch}")
