"""Promote and roll back. Each is one transaction: production is the new version afterwards, or unchanged."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flows.data.stores import Stores
from flows.dvc_lock import Item, Lock, lock_at
from flows.git import changed_files, commit_of, remote_of
from flows.graph import open_repo, stage_name
from flows.made_from import differences
from flows.registry.read import (
    ARTIFACT,
    MODEL,
    STAGE,
    VERSION_PATTERN,
    ModelFacts,
    Move,
    Registry,
    RegistryError,
    Version,
    fact_fields,
    read_registry,
    tag_message,
)
from flows.registry.write import NewTag, add_tags, newer_tags

if TYPE_CHECKING:
    from dvc.repo import Repo

# Pushes what a commit needs to the DVC remote and verifies it there; raises an error if that fails.
PushData = Callable[[Path, str], object]

# The files of a version. The commit that a tag names lacks uncommitted changes.
_PARTS = ("dvc.lock", "dvc.yaml", "params.yaml", "data", "models", "genai_core", "tasks", "metrics")
MAX_LISTED = 5


@dataclass(frozen=True)
class Moved:
    """A move of production, done or (dry run) only checked.

    data_remote: where the model's data was verified, or would be; None: it is complete in this machine's cache.
    git_remote: where the tags were pushed, or would be; None: only this clone has them.
    """

    version: str
    before: str | None
    commit: str
    data_remote: str | None
    git_remote: str | None
    tags: tuple[str, ...]


def promote(
    workspace: Path,
    push_data: PushData,
    *,
    version: str | None = None,
    why: str = "",
    by: str = "",
    dry_run: bool = False,
) -> Moved:
    """Make the candidate in HEAD's dvc.lock the production model.

    If DVC has a remote, the data is pushed there and verified first. Otherwise it must be complete in the cache. Then
    both tags, version and stage, are added in one transaction.

    Args:
        workspace: The checkout.
        push_data: Pushes the data and verifies it.
        version: The version's name. None: the next one.
        why: The reason, kept in the tags.
        by: The command that promotes, in addition to git's user.
        dry_run: Check all that can be checked without a push. Pushes no data and adds no tag.

    Raises:
        RegistryError or GitError, or what `push_data` raises: production is unchanged.
    """
    if version is not None and not VERSION_PATTERN.fullmatch(version):
        raise RegistryError(f"version {version!r}: expected three numbers after a v, such as v1.2.0")
    commit = commit_of(workspace)
    with open_repo(workspace) as repo:
        stores = Stores(repo)
        lock = _committed(repo, workspace, commit, stores)
        git_remote = remote_of(workspace)
        if git_remote:
            newer_tags(workspace, git_remote)
        registry = read_registry(workspace)
        facts, data_remote = _facts_of(stores, lock), stores.remote_name
        name = _name_for(registry, commit, facts, version)
        if data_remote is None and not stores.in_cache(facts.model):
            raise RegistryError(
                f"the model ({facts.model}) is incomplete in DVC's cache; make it again with `dvc repro`"
            )
    if data_remote and not dry_run:
        push_data(workspace, commit)
        with open_repo(workspace) as repo:  # reopened, because answers from before the push are cached
            if not Stores(repo).at_remote(facts.model):
                raise RegistryError(
                    f"the model ({facts.model}) was pushed, but is incomplete at the DVC remote {data_remote}; "
                    f"check its storage, then promote again{_unchanged(registry)}"
                )
    before = registry.production()
    figure = f", {facts.metric} {facts.figures[facts.metric]:.4g}" if facts.metric in facts.figures else ""
    why = why or facts.choice
    tags = []
    if registry.of_commit(commit) is None:
        fields = {"Why": why, "By": by, **fact_fields(facts)}
        tags.append(NewTag(f"{ARTIFACT}@{name}", commit, tag_message(f"{ARTIFACT} {name}{figure}", fields)))
    tags.append(_move(registry, "promote", name, commit, why, by))
    if not dry_run:
        add_tags(workspace, registry, tags, git_remote)
    return _moved(name, before, commit, data_remote, git_remote, tags)


def rollback(workspace: Path, *, to: str | None = None, why: str = "", by: str = "") -> Moved:
    """Make an earlier version the production model again: `to`, or the version before the current one.

    Trains and pushes nothing. The version's data must be complete in the cache or at the DVC remote.
    Raises RegistryError or GitError; production is unchanged then.
    """
    git_remote = remote_of(workspace)
    if git_remote:
        newer_tags(workspace, git_remote)
    registry = read_registry(workspace)
    before = registry.production()
    if before is None:
        raise RegistryError("nothing is in production yet, so there is nothing to roll back; run `genai promote`")
    name = to or registry.before()
    if name is None:
        raise RegistryError(f"nothing was in production before {before.version}; name a version with --to")
    target = registry.version(name)
    if target.name == before.version:
        raise RegistryError(f"{target.name} is already in production")
    if target.withdrawn:
        raise RegistryError(
            f"{target.name} was withdrawn (gto deregister); choose another version (genai registry show)"
        )
    data_remote = _checked_data(workspace, target, registry)
    why = why or f"back from {before.version}"
    tags = [_move(registry, "rollback", target.name, target.commit, why, by)]
    add_tags(workspace, registry, tags, git_remote)
    return _moved(target.name, before, target.commit, data_remote, git_remote, tags)


def _committed(repo: "Repo", workspace: Path, commit: str, stores: Stores) -> Lock:
    """HEAD's dvc.lock. Raises RegistryError if the workspace differs from HEAD, or HEAD did not make the model."""

    def files_of(item: Item) -> Mapping[str, str]:
        files = stores.files(item.md5)
        if files is None:
            raise RegistryError(
                f"the listing of {item.path} ({item.md5}) is neither in DVC's cache nor at the remote, so it is "
                f"unknown whether {MODEL} was made from it; run `genai data pull`, or `genai run` to make it again"
            )
        return files

    changed = changed_files(workspace, *_PARTS)
    if changed:
        raise RegistryError(
            f"not committed: {_some(changed)}. A version is a commit, so commit the run's results first, then promote"
        )
    lock = lock_at(workspace, commit).of_stages({stage_name(stage) for stage in repo.index.stages})
    if lock.output(MODEL) is None:
        raise RegistryError(
            f"dvc.lock at {commit[:7]} has no {MODEL}; run genai run, then git add -A and git commit, then promote"
        )
    if lock.raw_data is None:
        raise RegistryError("data/raw.dvc is not committed; git add data/raw.dvc, git commit, then promote")
    stale = differences(workspace, commit, lock, MODEL, files_of)
    if stale:
        raise RegistryError(
            f"{MODEL} was not made from commit {commit[:7]}; these differ: {_some(stale)}. "
            "Run `genai run`, commit, then promote"
        )
    return lock


def _facts_of(stores: Stores, lock: Lock) -> ModelFacts:
    model = lock.output(MODEL)
    assert model is not None
    files = stores.files(model.md5) or {}
    config, selection = (stores.read(files[n]) if n in files else None for n in ("config.json", "selection.json"))
    if config is None or selection is None:
        raise RegistryError(
            f"{MODEL} ({model.md5}) is neither in DVC's cache nor at the remote; run `genai run` to restore it"
        )
    described, chosen = json.loads(config), json.loads(selection)
    return ModelFacts(
        model=model.md5,
        weights=described["sha256"]["model.safetensors"],
        family=chosen["family"],
        dataset=described["dataset"],
        raw_data=lock.raw_data.md5 if lock.raw_data else "",
        metric=chosen["metric"],
        figures=chosen["figures"],
        choice=chosen["reason"],
    )


def _name_for(registry: Registry, commit: str, facts: ModelFacts, wanted: str | None) -> str:
    """The version's name. Raises RegistryError if there is nothing to promote, or the name is already in use."""
    standing, own = registry.production(), registry.of_commit(commit)
    if standing is not None:
        there = next((version for version in registry.versions if version.commit == standing.commit), None)
        if standing.commit == commit or (there and there.facts and there.facts.model == facts.model):
            raise RegistryError(f"nothing to promote: {standing.version}, which is in production, has the same model")
    if own is not None:
        if own.withdrawn:
            raise RegistryError(
                f"this commit is {own.name}, which was withdrawn (gto deregister); promote another commit"
            )
        if wanted not in (None, own.name):
            raise RegistryError(f"this commit is already registered as {own.name}; omit --as {wanted}")
        return own.name
    taken = next((version for version in registry.versions if version.name == wanted), None)
    if taken is not None:
        raise RegistryError(
            f"{wanted} is already the version of commit {taken.commit[:7]}; choose another name, or omit --as"
        )
    return wanted or registry.next_version()


def _checked_data(workspace: Path, target: Version, registry: Registry) -> str | None:
    """The DVC remote where the version's model is complete; None: it is in the cache. Raises RegistryError."""
    model = lock_at(workspace, target.commit).output(MODEL)
    if model is None:
        raise RegistryError(f"{target.name}: its commit has no {MODEL}{_unchanged(registry)}")
    with open_repo(workspace) as repo:
        stores = Stores(repo)
        if stores.in_cache(model.md5):
            return None  # a rollback must not depend on a remote that it does not need
        if stores.remote_name and stores.at_remote(model.md5):
            return stores.remote_name
    place = f" nor at the DVC remote {stores.remote_name}" if stores.remote_name else ", and there is no DVC remote"
    raise RegistryError(
        f"{target.name}: its model ({model.md5}) is not complete in DVC's cache{place}; choose another version "
        f"(genai registry show){_unchanged(registry)}"
    )


def _moved(
    version: str,
    before: Move | None,
    commit: str,
    data_remote: str | None,
    git_remote: str | None,
    tags: Sequence[NewTag],
) -> Moved:
    names = tuple(tag.name for tag in tags)
    return Moved(version, before.version if before else None, commit, data_remote, git_remote, names)


def _move(registry: Registry, action: str, name: str, commit: str, why: str, by: str) -> NewTag:
    standing = registry.production()
    title = f"{'Promote' if action == 'promote' else 'Roll back to'} {ARTIFACT} {name}"
    fields = {"Action": action, "From": standing.version if standing else "", "Why": why, "By": by}
    return NewTag(f"{ARTIFACT}#{STAGE}#{registry.next_number()}", commit, tag_message(title, fields))


def _unchanged(registry: Registry) -> str:
    standing = registry.production()
    return f". Production is unchanged: {standing.version if standing else 'none'}"


def _some(items: list[str]) -> str:
    more = len(items) - MAX_LISTED
    return ", ".join(items[:MAX_LISTED]) + (f" and {more} more" if more > 0 else "")
