"""Runs at the git remote: the snapshot, for the workers of other machines, and what is needed to take the run over.

refs/genai/runs/ID is a tag object there. It leads to the snapshot, and its message is the run's record. It stays until
the run is completed, so that any clone can resume the run.
"""

import json
import os
import socket
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from flows.git import GitError, git, prefix_of, remote_of
from flows.runs.checkout import NO_HOOKS
from flows.runs.record import RunError, RunRecord, record_from
from flows.runs.snapshot import REFS

KEEP_DAYS = 30  # what an unfinished run has at the remotes; then the run is forgotten
_FETCHED = "refs/genai/published"  # while a run is taken over
_ID_TIME = "%Y%m%d-%H%M%S"


@dataclass(frozen=True)
class Published:
    """A run at the git remote, as its coordinator published it. holder: that coordinator, for people."""

    record: RunRecord
    holder: str


def this_coordinator(workspace: Path) -> str:
    """This process, for people on other machines."""
    return f"process {os.getpid()} in {workspace} on {socket.gethostname()}"


def publish(workspace: Path, remote: str, run: str, snapshot: str, record: RunRecord | None) -> str:
    """Push a run's snapshot, with its record if it can be resumed. Return the hash of what was pushed. Raises GitError.

    The record names this process, so no other process pushes the same.
    """
    pushed = snapshot if record is None else _tag(workspace, record)
    try:
        git(workspace, *NO_HOOKS, "push", "--quiet", remote, f"+{pushed}:{REFS}{run}")
    except GitError as error:
        raise GitError(f"the run's snapshot cannot be pushed to {remote}: {error}") from None
    return pushed


def published_hash(workspace: Path, remote: str, run: str) -> str | None:
    """The hash of what is published of a run now; None if nothing is. Raises GitError."""
    for line in git(workspace, "ls-remote", remote, f"{REFS}{run}").splitlines():
        found, _, ref = line.partition("\t")
        if ref == f"{REFS}{run}":
            return found
    return None


def withdraw_own(workspace: Path, remote: str, run: str, pushed: str) -> None:
    """Delete a run at the git remote, unless another process has published it since. Raises GitError."""
    ref = f"{REFS}{run}"
    git(workspace, *NO_HOOKS, "push", "--quiet", f"--force-with-lease={ref}:{pushed}", remote, f":{ref}")


def withdraw(workspace: Path, remote: str, runs: list[str]) -> None:
    """Delete runs at the git remote. Raises GitError."""
    if runs:
        git(workspace, *NO_HOOKS, "push", "--quiet", remote, *(f":{REFS}{run}" for run in runs))


def published_runs(workspace: Path, remote: str) -> list[str]:
    """The ids of the runs at the git remote, oldest first. Raises GitError."""
    lines = git(workspace, "ls-remote", remote, f"{REFS}*").splitlines()
    names = (line.split("\t")[1].removeprefix(REFS) for line in lines)
    return sorted(name for name in names if not name.endswith("^{}"))  # git's name for what a tag leads to


def is_forgotten(run: str) -> bool:
    """Whether a run began so long ago that nobody will resume it, by its id."""
    try:
        began = datetime.strptime(run[:15], _ID_TIME)
    except ValueError:
        return False
    return datetime.now() - began > timedelta(days=KEEP_DAYS)


def fetch_published(workspace: Path, name: str) -> Published | None:
    """The run at the git remote with that id, or whose id ends with it; its snapshot is in this repository then.

    None if there is no such run, or no git remote. Raises GitError; RunError if several match or it cannot be read.
    """
    remote = remote_of(workspace)
    if remote is None or not name:
        return None
    runs = published_runs(workspace, remote)
    found = [run for run in runs if run == name] or [run for run in runs if run.startswith(name) or run.endswith(name)]
    if len(found) > 1:
        raise RunError(f"{len(found)} runs at the git remote {remote} match {name!r}: {', '.join(found)}")
    if not found:
        return None
    (run,) = found
    ref = f"+{REFS}{run}:{_FETCHED}"
    git(workspace, *NO_HOOKS, "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", remote, ref)
    try:
        return _read(workspace, run)
    finally:
        git(workspace, "update-ref", "-d", _FETCHED)


def _read(workspace: Path, run: str) -> Published:
    try:
        text = git(workspace, "cat-file", "tag", _FETCHED).partition("\n\n")[2]
        values = json.loads(text)
        record, project = record_from(values["record"]), str(values["project"])
        if record.id != run or git(workspace, "rev-parse", f"{_FETCHED}^{{commit}}").strip() != record.snapshot:
            raise ValueError(run)
        git(workspace, "update-ref", f"{REFS}{run}", record.snapshot)
    except (GitError, ValueError, KeyError, TypeError):
        raise RunError(
            f"run {run} cannot be taken over: another version of this code published it. Update this clone (git pull), "
            "or resume the run where it began"
        ) from None
    if project != prefix_of(workspace):
        raise RunError(f"run {run} is one of another project of this repository: {project or 'the one at its top'}")
    return Published(record, str(values["holder"]))


def _tag(workspace: Path, record: RunRecord) -> str:
    """Write the tag object and return its hash."""
    plain = replace(record, state="running", stages={}, figures=(), pid=0)
    values = {"holder": this_coordinator(workspace), "project": prefix_of(workspace), "record": asdict(plain)}
    message = json.dumps(values, indent=2)
    began = int(datetime.fromisoformat(record.resumed or record.began).timestamp())
    head = (
        f"object {record.snapshot}\ntype commit\ntag genai-run-{record.id}\n"
        f"tagger genai <genai@localhost> {began} +0000\n\n"
    )
    return git(workspace, "mktag", text=f"{head}{message}\n").strip()
