"""The only wrapper of git: one child process per command. That takes 5 ms and imports no library."""

import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from flows.redact import redacted
from genai_core import GenaiError

# For queries, including those to a server. A local one takes milliseconds.
ANSWER_TIMEOUT_S = 60.0
# For commands that transfer or write files, which may be large. Ends one that hangs.
TRANSFER_TIMEOUT_S = 3600.0
_TRANSFERS = ("push", "fetch", "worktree", "checkout", "merge", "add", "commit")
_ASKS_A_SERVER = ("push", "fetch", "ls-remote")

# Git exports these to hooks, so genai has them if a hook calls it. They would direct every command to the hook's
# repository and index. From `git rev-parse --local-env-vars`, without GIT_CONFIG_COUNT and GIT_CONFIG_PARAMETERS:
# like git itself for submodules, keep the settings that the user passed.
HOOK_VARIABLES = (
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_CONFIG",
    "GIT_DIR",
    "GIT_GRAFT_FILE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_INTERNAL_SUPER_PREFIX",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
)
# The remote from which a workspace takes newer code (flows/new.py). Its tags belong to somebody else's registry.
UPDATES_REMOTE = "upstream"
# Settings of the user that change the output that this code parses: a signature check above each commit, another
# meaning of --grep, other commits for a path, another encoding.
_PARSEABLE = {
    "log.showSignature": "false",
    "log.follow": "false",
    "grep.patternType": "default",
    "i18n.logOutputEncoding": "UTF-8",
}


class GitError(GenaiError):
    """git failed; the message contains the command and git's message."""


def git(
    workspace: Path,
    *arguments: str,
    text: str | None = None,
    timeout_s: float | None = None,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Run `git ARGUMENTS` and return its output. Raises GitError.

    text: standard input; environment: additional variables; timeout_s: by default, depends on the command.
    """
    data = None if text is None else text.encode(errors="surrogateescape")
    if timeout_s is None:
        timeout_s = TRANSFER_TIMEOUT_S if _subcommand(arguments) in _TRANSFERS else ANSWER_TIMEOUT_S
    return _bytes(workspace, arguments, data, timeout_s, environment).decode(errors="surrogateescape")


def commit_of(workspace: Path, revision: str = "HEAD") -> str:
    """The full hash of the commit that a revision names. Raises GitError if there is none."""
    try:
        return git(workspace, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}").strip()
    except GitError:
        if not _is_repository(workspace):
            raise GitError(f"{workspace}: no git repository here, and the registry is stored in git tags") from None
        what = "there is no commit yet" if revision == "HEAD" else f"git knows no commit {revision!r}"
        raise GitError(f"{workspace}: {what}") from None


def prefix_of(workspace: Path) -> str:
    """The workspace's folder in its repository, such as "projects/faces/"; "" at the top. Raises GitError."""
    return git(workspace, "rev-parse", "--show-prefix").removesuffix("\n")


def changed_files(workspace: Path, *paths: str) -> list[str]:
    """The tracked files, below `paths` or anywhere, that differ from the last commit, relative to the workspace.

    Raises GitError.
    """
    # -z: unquoted names. Otherwise git quotes non-ASCII names, or, with core.quotePath off, keeps line separators.
    answer = git(workspace, "status", "--porcelain", "-z", "--no-renames", "--untracked-files=no", "--", *paths)
    prefix = prefix_of(workspace)  # git's paths begin at the top of the repository
    return [os.path.relpath(entry[3:], prefix or ".") for entry in answer.split("\0") if entry]


def files_at(workspace: Path, commit: str, paths: Iterable[str]) -> dict[str, bytes]:
    """The contents of those `paths` that are files in the commit. Starts one process."""
    return {path: content for (_, path), content in blobs(workspace, [(commit, path) for path in paths]).items()}


def blobs(workspace: Path, wanted: Iterable[tuple[str, str]]) -> Mapping[tuple[str, str], bytes]:
    """The contents of (commit, path) for those that exist and are files."""
    names = {f"{commit}:./{path}": (commit, path) for commit, path in wanted}  # ./: relative to the workspace
    return {names[name]: content for name, content in contents(workspace, names).items()}


def contents(workspace: Path, names: Iterable[str]) -> dict[str, bytes]:
    """The contents of those objects that exist and are files, by name: a hash, or COMMIT:PATH."""
    wanted = list(names)
    lines = "".join(f"{name}\n" for name in wanted)
    answer = _bytes(workspace, ("cat-file", "--batch"), lines.encode(errors="surrogateescape"), ANSWER_TIMEOUT_S)
    found: dict[str, bytes] = {}
    at = 0
    for name in wanted:
        end = answer.index(b"\n", at)
        words = answer[at:end].rsplit(b" ", 2)
        at = end + 1
        if len(words) == 3 and words[2].isdigit():
            size = int(words[2])
            if words[1] == b"blob":
                found[name] = answer[at : at + size]
            at += size + 1
    return found


def printable(path: str) -> str:
    """A path on one line, with unprintable characters escaped."""
    return path if path.isprintable() else repr(path)[1:-1]


def remote_of(workspace: Path) -> str | None:
    """The git remote that shares the registry: origin, else the only one. Raises GitError if several qualify.

    Never `upstream`, which only brings newer code.
    """
    names = [name for name in git(workspace, "remote").split() if name != UPDATES_REMOTE]
    if not names or "origin" in names:
        return "origin" if names else None
    if len(names) > 1:
        raise GitError(f"which git remote holds the registry: {', '.join(names)}? Name it origin (git remote rename)")
    return names[0]


def _is_repository(workspace: Path) -> bool:
    try:
        git(workspace, "rev-parse", "--git-dir")
    except GitError:
        return False
    return True


def _bytes(
    workspace: Path,
    arguments: Sequence[str],
    data: bytes | None,
    timeout_s: float,
    variables: Mapping[str, str] | None = None,
) -> bytes:
    name = _subcommand(arguments)
    settings = [word for key, value in _PARSEABLE.items() for word in ("-c", f"{key}={value}")]
    environment = {**_environment(), **(variables or {})}
    if name in _ASKS_A_SERVER:
        environment |= _without_ssh_prompts(workspace, environment)
    done = _run(workspace, [*settings, *arguments], name, data, timeout_s, environment)
    if done.returncode != 0:
        lines = [line.strip() for line in done.stderr.decode(errors="replace").splitlines() if line.strip()]
        raise GitError(f"`git {name}`: {redacted('; '.join(lines[:6])) or f'status {done.returncode}'}")
    return done.stdout


def _run(
    workspace: Path,
    arguments: Sequence[str],
    name: str,
    data: bytes | None,
    timeout_s: float,
    environment: Mapping[str, str],
) -> "subprocess.CompletedProcess[bytes]":
    command = ["git", *arguments]
    try:
        return subprocess.run(
            command, cwd=workspace, input=data, capture_output=True, timeout=timeout_s, env=environment, check=False
        )
    except subprocess.TimeoutExpired:
        raise GitError(f"`git {name}` did not finish within {timeout_s:g} s") from None
    except OSError as error:
        raise GitError(f"git could not be started: {error}") from None


def _environment() -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if name not in HOOK_VARIABLES}
    # No prompts: a missing password is an error. No optional locks: a query must not write the index or block others.
    return {**own, "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}


def _without_ssh_prompts(workspace: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """The variable that keeps ssh from asking for a passphrase or about a host; none if the user chose a command."""
    if "GIT_SSH_COMMAND" in environment or "GIT_SSH" in environment:
        return {}
    query = ["config", "--get", "core.sshCommand"]
    chosen = _run(workspace, query, "config", None, ANSWER_TIMEOUT_S, environment)
    return {} if chosen.stdout.strip() else {"GIT_SSH_COMMAND": "ssh -o BatchMode=yes"}


def _subcommand(arguments: Sequence[str]) -> str:
    """`worktree` in `-c core.hooksPath=/dev/null worktree add`."""
    at = 0
    while arguments[at] == "-c":
        at += 2
    return arguments[at]
