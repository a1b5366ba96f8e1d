"""What a model's name stands for: the one rule of `genai compare`, `generate` and `serve`.

In this order: a model's folder; a model of this workspace (`candidate`, `finetuned`, `gan`, `trained/gan`); `prod`; a
registered version; a git revision, whose models/candidate comes from DVC's cache or remote.
"""

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from flows.data.stores import Stores
from flows.dvc_lock import lock_at
from flows.git import GitError, commit_of
from flows.graph import open_repo
from flows.registry.production import PLACE, lay_out
from flows.registry.read import MODEL, STAGE, RegistryError, read_registry
from genai_core import GenaiError

CONFIG_FILE, WEIGHTS_FILE = "config.json", "model.safetensors"  # as in genai_core/models/artifact.py


class ModelNameError(GenaiError):
    """No model has this name, or its data is missing; the message says where it was searched for."""


@dataclass(frozen=True)
class NamedModel:
    """A model that a name stands for. Exactly one of `folder` and `commit` is set.

    folder: an absolute path, for a model on this disk. commit: the one whose dvc.lock names the model.
    """

    name: str
    folder: Path | None = None
    commit: str | None = None
    version: str | None = None  # of `commit`, if it is registered

    @property
    def title(self) -> str:
        """The name for people: the version behind `prod`."""
        return self.version or self.name


@dataclass(frozen=True)
class ModelFiles:
    """A model's files, ready to load.

    name, commit, version: as in NamedModel. sha256: of the weights, as config.json says; loading checks it.
    """

    name: str
    folder: Path
    commit: str | None
    version: str | None
    sha256: str
    family: str
    classes: tuple[str, ...]

    @property
    def title(self) -> str:
        return self.version or self.name


def name_model(workspace: Path, name: str) -> NamedModel:
    """Find what `name` stands for, without reading its data. Raises ModelNameError, which lists what there is.

    A relative folder is looked for in the current folder, then in the workspace.
    """
    if not name:
        raise ModelNameError(f"expected the name of a model; {_available(workspace)}")
    folders = [Path(name).expanduser(), workspace / name]
    if name not in (".", "..") and not Path(name).is_absolute():
        folders += [workspace / "models" / "trained" / name, workspace / "models" / name]
    for folder in folders:
        if (folder / CONFIG_FILE).is_file():
            return NamedModel(name, folder=folder.resolve())
    return name_commit(workspace, name)


def name_commit(workspace: Path, name: str) -> NamedModel:
    """The model of `prod`, a registered version or a git revision. Raises ModelNameError."""
    try:
        registry = read_registry(workspace)
        if name == STAGE:
            standing = registry.production()
            if standing is None:
                raise ModelNameError("nothing is in production yet; run `genai promote`")
            return NamedModel(name, commit=standing.commit, version=standing.version)
        version = next((version for version in registry.versions if version.name == name), None)
        if version is not None:
            return NamedModel(name, commit=version.commit, version=version.name)
        commit = commit_of(workspace, name)
    except (GitError, RegistryError) as error:
        raise ModelNameError(
            f"{name}: not a model folder, a model in models/, a version (genai registry show) or a git revision; "
            f"{_available(workspace)} ({error})"
        ) from None
    registered = registry.of_commit(commit)
    return NamedModel(name, commit=commit, version=registered.name if registered else None)


def open_model(workspace: Path, name: str) -> ModelFiles:
    """Find a model by name, with its files on this disk, and read its config.json.

    A registered version is laid out in .genai/production/VERSION, as for `sample-production`; files that are there
    unchanged are kept. `genai gc` removes versions that are not in production after a day, so open it again before
    each load. Raises ModelNameError; RemoteError, ProductionError if its data is missing or damaged.
    """
    named = name_model(workspace, name)
    folder = named.folder
    if folder is None:
        assert named.commit is not None
        folder = (lay_out_commit(workspace, named.commit, named.version, [MODEL]) / MODEL).resolve()
    try:
        config = json.loads((folder / CONFIG_FILE).read_text())
        return ModelFiles(
            name=named.name,
            folder=folder,
            commit=named.commit,
            version=named.version,
            sha256=str(config["sha256"][WEIGHTS_FILE]),
            family=str(config["family"]),
            classes=tuple(str(label) for label in config["shape"]["classes"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelNameError(
            f"{name}: {folder / CONFIG_FILE} does not describe a generative model ({error!r})"
        ) from None


def models_here(workspace: Path) -> list[str]:
    """The names of this workspace's models: candidate, finetuned, trained/gan ..."""
    place = workspace / "models"
    folders: Iterable[Path] = (path.parent for path in sorted(place.glob("**/" + CONFIG_FILE)))
    return [folder.relative_to(place).as_posix() for folder in folders if _draws(folder)]


def _draws(folder: Path) -> bool:
    """Whether a folder in models/ has a generative model; the extractor does not draw."""
    try:
        return "family" in json.loads((folder / CONFIG_FILE).read_text())
    except (OSError, ValueError, TypeError):
        return False


def lay_out_commit(workspace: Path, commit: str, version: str | None, outputs: Iterable[str]) -> Path:
    """Lay out outputs of a commit, as its dvc.lock and .dvc files name them, and return their common folder.

    Raises ModelNameError if they lack one, and without permission to write there; RemoteError, ProductionError if its
    data is missing or damaged.
    """
    lock, title = lock_at(workspace, commit), version or commit[:7]
    items = {path: lock.find(path) for path in outputs}
    place = workspace / PLACE / (version or commit[:12])
    for path, item in items.items():
        if item is None:
            raise ModelNameError(f"{title}: dvc.lock at {commit[:7]} has no {path}; commit after `genai run`")
    try:
        place.mkdir(parents=True, exist_ok=True)
        with FileLock(place.parent / ".lock"), open_repo(workspace) as repo:
            for path, item in items.items():
                assert item is not None
                lay_out(Stores(repo), item.md5, place / path, f"{title}'s {path}")
        os.utime(place)  # `genai gc` goes by the last use
    except PermissionError as error:
        raise ModelNameError(f"{title} cannot be laid out: {_forbidden(error, place)}") from None
    return place


def _forbidden(error: PermissionError, place: Path) -> str:
    """Whose files a command may not read or write, and what to do."""
    path = Path(error.filename or place)
    with suppress(OSError, KeyError):  # KeyError: a user id without a name
        existing = next(folder for folder in (path, *path.parents) if folder.exists())
        owner = existing.owner()
        return f"no permission for {path}: {existing} belongs to {owner}; run genai as {owner}, or give access to it"
    return f"no permission for {path}; run genai as its owner, or give access to it"


def _available(workspace: Path) -> str:
    try:
        registry = read_registry(workspace)
    except GitError:
        names: list[str] = []
    else:
        names = [STAGE] if registry.production() else []
        names += [version.name for version in registry.versions][-5:]
    names += models_here(workspace)
    return f"available here: {', '.join(names)}" if names else "this workspace has no model yet; run `genai run`"
