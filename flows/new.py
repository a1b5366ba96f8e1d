"""Make a workspace of one's own from a checkout: its code and history, nothing that was made in it.

One installation serves many datasets: `genai` works in any workspace. Stages run `python -m tasks...` there, so they
use the workspace's own code, with the Python environment that `genai` runs in.
"""

import os
import tarfile
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from flows.git import UPDATES_REMOTE, GitError, commit_of, git, prefix_of
from flows.whole_file import write_file
from genai_core import GenaiError
from genai_core.config import PARAMS_FILE

# What runs make. A commit without these paths, like all before it, has nothing of anybody's data.
MADE = ("backfill", "data", "dvc.lock", "metrics", "models", "plots", "reports", "samples", "search")
BRANCH = "main"
# As the project has it: without the remotes and the cache of the checkout.
DVC_CONFIG = "[core]\n    analytics = false\n    check_update = false\n    autostage = false\n"
SHIPPED_PARAMS = Path("presets/digits.yaml")
CODE = ("genai_core", "tasks", "flows", "deployments", "presets", "dvc.yaml", "pyproject.toml", "requirements.lock")


class NewWorkspaceError(GenaiError):
    """The workspace cannot be made, and there is no part of one."""


@dataclass(frozen=True)
class NewWorkspace:
    """folder: the workspace. code: commit of the checkout. upstream: where updates come from, and their branch.

    is_code_only: whether that branch has nothing but code, so that it can be merged; otherwise it also has the data
    versions of the checkout.
    """

    folder: Path
    code: str
    upstream: str
    upstream_branch: str
    is_code_only: bool

    @property
    def update_command(self) -> str:
        """How to take over newer code."""
        if self.is_code_only:
            return f"git pull {UPDATES_REMOTE} {self.upstream_branch}"
        names = " ".join(CODE)
        return f"git fetch {UPDATES_REMOTE} && git checkout {UPDATES_REMOTE}/{self.upstream_branch} -- {names}"


def new_workspace(folder: Path, checkout: Path) -> NewWorkspace:
    """Make a workspace in `folder` from the last commit of `checkout`, all of it or nothing.

    It is a git repository: the newest commit without data in the checkout's history, if there is one, then one of its
    own with the checkout's code and the parameters as shipped. The remote `upstream` is the checkout's origin, else the
    checkout; its tags, which are a registry, are never fetched. DVC has its own cache there. Raises NewWorkspaceError.
    """
    folder, checkout = folder.absolute(), checkout.resolve()
    if folder.is_symlink() or (folder.exists() and not (folder.is_dir() and not any(folder.iterdir()))):
        raise NewWorkspaceError(f"{folder}: exists and is not an empty folder; name another one")
    if folder.resolve().is_relative_to(checkout):
        raise NewWorkspaceError(f"{folder}: inside the checkout {checkout}; name a folder outside it")
    try:
        code = commit_of(checkout)
        if prefix_of(checkout):
            raise NewWorkspaceError(f"{checkout}: a part of a larger repository; clone the project on its own first")
        git(checkout, "var", "GIT_COMMITTER_IDENT")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as staged:
            made = Path(staged) / "workspace"
            start = None if _is_shallow(checkout) else _last_without_data(checkout, code)
            upstream, branch = _upstream(checkout), _branch(checkout)
            _fill(made, checkout, code, start)
            git(made, "remote", "add", "-t", branch, UPDATES_REMOTE, upstream)
            git(made, "config", f"remote.{UPDATES_REMOTE}.tagOpt", "--no-tags")
            os.rename(made, folder)
    except (GitError, OSError, tarfile.TarError) as error:
        raise NewWorkspaceError(f"{folder}: no workspace was made: {error}") from None
    return NewWorkspace(folder, code, upstream, branch, is_code_only=start == code)


def _fill(made: Path, checkout: Path, code: str, start: str | None) -> None:
    """Make the repository, its files and its first commit."""
    made.mkdir()
    git(made, "init", "--quiet", f"--initial-branch={BRANCH}")
    if start is not None:
        git(made, "-c", "protocol.version=2", "fetch", "--quiet", "--no-tags", str(checkout), start)
        git(made, "update-ref", f"refs/heads/{BRANCH}", start)
    archive = made.with_name("code.tar")
    git(checkout, "archive", "--format=tar", f"--output={archive}", code)
    with tarfile.open(archive) as files:
        wanted = [member for member in files if member.name.split("/", 1)[0] not in MADE]
        files.extractall(made, wanted, filter="data")
    write_file(made / PARAMS_FILE, (made / SHIPPED_PARAMS).read_text())
    write_file(made / ".dvc" / "config", DVC_CONFIG)
    git(made, "add", "--all", "--force")
    message = f"A new workspace\n\nCode: {code}"
    git(made, "-c", "commit.gpgSign=false", "commit", "--quiet", "--no-verify", "--allow-empty", "--message", message)


def _is_shallow(checkout: Path) -> bool:
    """Whether the checkout lacks a part of its history, which could not be fetched from it."""
    return git(checkout, "rev-parse", "--is-shallow-repository").strip() == "true"


def _last_without_data(checkout: Path, code: str) -> str | None:
    """The newest commit in the history of `code` that, like all before it, has nothing that runs make; None: no one."""
    touching = set(git(checkout, "rev-list", "--full-history", code, "--", *MADE).split())
    if not touching:
        return code
    last = None
    for line in git(checkout, "rev-list", "--topo-order", "--reverse", "--parents", code).splitlines():
        commit, *parents = line.split()
        if commit in touching or not touching.isdisjoint(parents):
            touching.add(commit)
        else:
            last = commit
    return last


def _upstream(checkout: Path) -> str:
    """The address of the checkout's origin, else its path."""
    try:
        address = git(checkout, "remote", "get-url", "origin").strip()
    except GitError:
        return str(checkout)
    is_relative = "://" not in address and ":" not in address.partition("/")[0] and (checkout / address).exists()
    return str((checkout / address).resolve()) if is_relative else address


def _branch(checkout: Path) -> str:
    """The branch that updates come from: origin's default one, else the one that is checked out."""
    for reference in ("refs/remotes/origin/HEAD", "HEAD"):
        try:
            name = git(checkout, "symbolic-ref", "--quiet", "--short", reference).strip()
        except GitError:
            continue
        return name.removeprefix("origin/")
    return BRANCH
