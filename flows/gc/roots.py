"""The outputs that DVC's cache must keep: those that git references, checkouts and runs name."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from flows.dvc_lock import LOCK_FILE, SOURCE_FILES, Item, outputs_in
from flows.git import contents, git, prefix_of
from genai_core import GenaiError
from genai_core.counted import counted

Kind = Literal["tag", "branch", "remote branch", "run", "other reference", "checkout"]

# A version in the registry is a tag, a retraining's result a branch, a run a reference of its own.
_KINDS: dict[str, Kind] = {
    "refs/tags/": "tag",
    "refs/heads/": "branch",
    "refs/remotes/": "remote branch",
    "refs/genai/runs/": "run",
}
_OWN = ".genai"  # worktrees below it are on the workspace's disk: a missing one was removed
_RUNS = Path(_OWN) / "runs"
_STASH = "refs/stash"


class CollectError(GenaiError):
    """The files in use are unknown, so nothing may be deleted; the message says why and what to do."""


@dataclass(frozen=True)
class Root:
    """Something whose outputs must be kept: DVC's hashes of files, and of folders (their listings)."""

    kind: Kind
    name: str
    outputs: tuple[Item, ...]


def checkouts(workspace: Path) -> tuple[Path, ...]:
    """The workspace, every other git worktree of its repository, and the checkouts of runs.

    Raises GitError, or CollectError for a worktree that is not there: its disk may be unmounted.
    """
    prefix = prefix_of(workspace)  # if the project is a folder of the repository
    trees = [Path(line.removeprefix("worktree ")) for line in _worktree_lines(workspace, "worktree ")]
    for tree in trees:
        if not tree.is_dir() and _OWN not in tree.parts:
            raise CollectError(
                f"{tree}: git knows a worktree there, but the folder is missing, so the files that it needs are "
                "unknown; nothing was freed. Mount its disk; if it is gone, run `git worktree prune`"
            )
    places = [tree / prefix for tree in trees]
    found = [workspace, *places]
    found += [run / "checkout" for place in places for run in _folders(place / _RUNS)]
    return tuple(dict.fromkeys(folder.resolve() for folder in found if folder.is_dir()))


def roots(workspace: Path, folders: tuple[Path, ...]) -> list[Root]:
    """All that names outputs: every reference, every checkout with the commit that it is at, and the runs' results.

    folders: the checkouts. Raises GitError, also for a dvc.lock or .dvc file that cannot be read.
    """
    return [
        *_references(workspace),
        *(Root("checkout", str(folder), _in_checkout(folder)) for folder in folders if folder.is_dir()),
    ]


def _references(workspace: Path) -> Iterator[Root]:
    named = _commits(workspace)
    files = {commit: _tracked(workspace, commit) for commit in set(named.values())}
    blobs = contents(workspace, {sha for found in files.values() for sha in found.values()})
    parsed: dict[tuple[str, str], tuple[Item, ...]] = {}
    for name, commit in named.items():
        outputs: list[Item] = []
        for path, sha in files[commit].items():
            if sha not in blobs:
                raise CollectError(f"{path} at {name}: git cannot read it ({sha[:7]}); `git fsck` lists the damage")
            if (path, sha) not in parsed:
                parsed[path, sha] = outputs_in(blobs[sha], path, name)
            outputs += parsed[path, sha]
        yield Root(_kind(name), name, tuple(outputs))


def _commits(workspace: Path) -> dict[str, str]:
    """The commit of each reference that leads to one, of each stash, and of each worktree's HEAD."""
    # Not splitlines(): a reference's name may contain U+2028 or U+0085, which do not end a line here.
    lines = git(workspace, "for-each-ref", "--format=%(refname) %(symref)").split("\n")
    names = [line.removesuffix(" ") for line in lines if line.endswith(" ")]  # origin/HEAD is another name of a branch
    revisions = "".join(f"{name}^{{commit}}\n" for name in names)
    answers = git(workspace, "cat-file", "--batch-check=%(objectname) %(objecttype)", text=revisions).split("\n")[:-1]
    pairs = ((name, answer.split()) for name, answer in zip(names, answers, strict=True))
    found = {name: words[0] for name, words in pairs if words[1:] == ["commit"]}
    if _STASH in found:
        stashed = git(workspace, "log", "--walk-reflogs", "--format=%H", _STASH).split()
        found.update({f"{_STASH}@{{{number}}}": commit for number, commit in enumerate(stashed)})
    heads = (line.removeprefix("HEAD ") for line in _worktree_lines(workspace, "HEAD "))
    return {**found, **{f"HEAD at {head[:7]}": head for head in heads if set(head) != {"0"}}}  # zeros: no commit yet


def _tracked(workspace: Path, commit: str) -> dict[str, str]:
    """The files of a commit that name outputs: path -> hash of its content."""
    entries = git(workspace, "ls-tree", "-r", "-z", commit).split("\0")
    pairs = (entry.split("\t", 1) for entry in entries if entry)
    return {path: words.split()[2] for words, path in pairs if names_outputs(path)}


def names_outputs(path: str) -> bool:
    return PurePosixPath(path).name == LOCK_FILE or path.endswith(".dvc")


def _in_checkout(folder: Path) -> tuple[Item, ...]:
    """What a checkout's files name now, committed or not, and what its run has accepted so far."""
    listed = git(folder, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", f"*{LOCK_FILE}", "*.dvc")
    paths = {path for path in listed.split("\0") if names_outputs(path)} | {LOCK_FILE, *SOURCE_FILES}
    files = [folder / path for path in sorted(paths)]
    own = {folder / path for path in SOURCE_FILES}
    files += [run / LOCK_FILE for run in _folders(folder / _RUNS)]
    found: list[Item] = []
    for file in files:
        if file.is_file():
            content = file.read_bytes()
            if not content.strip():
                how = "`genai run`" if file.name == LOCK_FILE or file in own else "git or `dvc add`"
                raise CollectError(
                    f"{file} is empty (an interrupted write), so the files that it needs are unknown. "
                    f"Restore it with {how} there, then run `genai gc` again"
                )
            found += outputs_in(content, file.relative_to(folder).as_posix(), str(folder))
    return tuple(found)


def _worktree_lines(workspace: Path, start: str) -> list[str]:
    lines = git(workspace, "worktree", "list", "--porcelain", "-z").split("\0")
    return [line for line in lines if line.startswith(start)]


def _folders(place: Path) -> list[Path]:
    return sorted(path for path in place.iterdir() if path.is_dir()) if place.is_dir() else []


def _kind(name: str) -> Kind:
    if name.startswith("HEAD at "):
        return "checkout"
    return next((kind for start, kind in _KINDS.items() if name.startswith(start)), "other reference")


def describe_roots(found: list[Root]) -> str:
    """Describe how many roots of each kind there are."""
    names: defaultdict[Kind, set[str]] = defaultdict(set)
    for root in found:
        if not root.name.startswith("HEAD at "):
            names[root.kind].add(root.name)
    parts = [counted(len(some), kind) for kind, some in names.items()]
    return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))
