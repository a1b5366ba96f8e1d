"""The models of the command line, with the names under which clients find them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flows.registry.model_names import ModelFiles, open_model
from flows.registry.read import MODEL, STAGE, read_registry
from flows.serving.real_data import RealData, find_real_data
from genai_core import GenaiError


class SourceError(GenaiError):
    """The models cannot be served together; the message says why."""


@dataclass(frozen=True)
class Source:
    """A model on disk.

    name: what clients call it; sha256: of its weights; real_data: None if it is not here. is_named: whether commands,
    such as `genai generate --model`, find it by this name or its version; a folder outside of models/ only by its path.
    """

    name: str
    folder: Path
    version: str | None
    sha256: str
    real_data: RealData | None
    is_named: bool = True


def find_sources(workspace: Path, names: Sequence[str]) -> list[Source]:
    """Return the models of `names`; production if there are none. Raises SourceError and the errors of open_model."""
    found: dict[str, Source] = {}
    for name in names or [STAGE]:
        source = find_source(workspace, name)
        if found.setdefault(source.name, source) != source:
            raise SourceError(f"{name}: two models would be called {source.name}; rename one of the folders")
    return list(found.values())


def find_source(workspace: Path, name: str) -> Source:
    """Return the model of a name (flows/registry/model_names.py). Raises as open_model does."""
    files = open_model(workspace, name)
    real_data, place = find_real_data(workspace, files), _place_in_models(workspace, files)
    is_named = files.commit is not None or place is not None
    sha256 = _registered(workspace, files)
    return Source(_public_name(files, place), files.folder, files.version, sha256, real_data, is_named)


def production_version(workspace: Path) -> str | None:
    """Return the version in production; None if there is none. Raises GitError."""
    standing = read_registry(workspace).production()
    return standing.version if standing else None


def _public_name(files: ModelFiles, place: str | None) -> str:
    """A folder's name without its path, which which clients must not see; below models/, the path from there."""
    if files.commit is not None:
        return files.name
    return files.folder.resolve().name if place is None else place


def _place_in_models(workspace: Path, files: ModelFiles) -> str | None:
    """The path of a folder from the workspace's models/; None if it is not there."""
    models = (workspace / MODEL).parent.resolve()
    folder = files.folder.resolve()
    return folder.relative_to(models).as_posix() if folder.is_relative_to(models) else None


def _registered(workspace: Path, files: ModelFiles) -> str:
    """The weights' hash: of a version as its tag says, else as config.json says."""
    if files.version is None:
        return files.sha256
    versions = {version.name: version for version in read_registry(workspace).versions}
    facts = versions[files.version].facts if files.version in versions else None
    return facts.weights if facts else files.sha256
