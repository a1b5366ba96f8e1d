"""Write to the registry: add all tags or none, and push them to the git remote if there is one."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from flows.git import GitError, git
from flows.registry.read import TAG_PATTERN, TAG_REFS, Registry, RegistryError, read_registry

CREATE_ATTEMPTS = 3  # git itself waits for a reference that another process is writing


@dataclass(frozen=True)
class NewTag:
    """A tag to add."""

    name: str
    commit: str
    message: str


def newer_tags(workspace: Path, remote: str) -> None:
    """Fetch the git remote's tags that this clone lacks. Raises GitError, RegistryError on conflict."""
    theirs = tags_at(workspace, remote)
    ours = read_registry(workspace).tags
    other = sorted(name for name in theirs.keys() & ours.keys() if theirs[name] != ours[name])
    if other:
        raise RegistryError(
            f"the tag {other[0]} differs between this clone and {remote}: two clones moved production independently. "
            f"To use {remote}'s tag: git tag -d '{other[0]}', then genai registry show"
        )
    missing = sorted(theirs.keys() - ours.keys())
    if missing:
        git(workspace, "fetch", "--quiet", "--no-tags", remote, *(f"refs/tags/{n}:refs/tags/{n}" for n in missing))


def tags_at(workspace: Path, remote: str) -> dict[str, str]:
    """The registry's tags at a git remote: name -> hash of the tag. Raises GitError."""
    # Not splitlines(): a reference's name may contain U+2028 or U+0085, which do not end a line here.
    lines = git(workspace, "ls-remote", "--quiet", "--tags", "--refs", remote, *TAG_REFS).split("\n")
    pairs = [line.split("\t", 1) for line in lines if line]
    found = {name.removeprefix("refs/tags/"): sha for sha, name in pairs}
    return {name: sha for name, sha in found.items() if TAG_PATTERN.fullmatch(name)}


def add_tags(workspace: Path, registry: Registry, new: Iterable[NewTag], remote: str | None) -> None:
    """Add all tags or none: first at the git remote if there is one, then here.

    The remote decides: if two clones move production at the same time, one is refused. A kill in between leaves this
    clone behind the remote, and the next command fetches the tags. Raises GitError, RegistryError.
    """
    # For DVC and GTO, the tag with the latest time counts, in whole seconds.
    seconds = int(datetime.now(UTC).timestamp())
    if registry.newest_at is not None:
        seconds = max(seconds, int(registry.newest_at.timestamp()) + 1)
    who = git(workspace, "var", "GIT_COMMITTER_IDENT").strip().rsplit(" ", 2)[0]
    made = {}
    for tag in new:
        text = f"object {tag.commit}\ntype commit\ntag {tag.name}\ntagger {who} {seconds} +0000\n\n{tag.message}"
        made[tag.name] = git(workspace, "mktag", text=text).strip()
    if remote is not None:
        _push(workspace, remote, {**registry.tags, **made}, made)
    _create(workspace, made, remote)


def _create(workspace: Path, made: dict[str, str], remote: str | None) -> None:
    """Create the tags here, all or none.

    Once the remote has them, a command that fetches the registry, such as `genai history`, may create them meanwhile:
    all, or one after the other.
    """
    missing = made
    for attempt in range(1, CREATE_ATTEMPTS + 1):
        steps = [f"create refs/tags/{name} {sha}" for name, sha in missing.items()]
        try:
            git(workspace, "update-ref", "--stdin", text="\n".join(["start", *steps, "prepare", "commit"]) + "\n")
            return
        except GitError as error:
            here = read_registry(workspace).tags
            missing = {name: sha for name, sha in made.items() if here.get(name) != sha}
            if not missing:
                return
            if remote is None:
                raise
            if attempt == CREATE_ATTEMPTS:
                raise RegistryError(
                    f"{remote} has the tags, so production has moved, but this clone could not add them ({error}); "
                    "genai registry show fetches them"
                ) from None


def _push(workspace: Path, remote: str, tags: dict[str, str], made: dict[str, str]) -> None:
    # Includes tags from before there was a remote. Without --force, git refuses to move an existing tag.
    specs = [f"{sha}:refs/tags/{name}" for name, sha in tags.items()]
    try:
        git(workspace, "push", "--quiet", "--atomic", "--no-verify", remote, *specs)
    except GitError as error:
        try:
            theirs = tags_at(workspace, remote)
        except GitError:
            raise RegistryError(
                f"{remote} did not confirm the tags ({error}); check them with genai registry show"
            ) from None
        if any(theirs.get(name) != sha for name, sha in made.items()):
            taken = next((name for name in made if name in theirs), None)
            if taken:
                raise RegistryError(f"another clone moved production meanwhile ({taken}); see genai history") from None
            raise RegistryError(f"{remote} refused the tags: {error}") from None
