"""Whether a commit made a path: its code, parameters and data compared with the hashes in its dvc.lock."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from flows.dvc_lock import Item, Lock, LockedStage, file_md5, folder_files, folder_md5, is_at, overlap, parsed_yaml
from flows.git import files_at
from flows.hashes import folder_hash
from genai_core.config import PARAMS_FILE

# The files of an output, relative path -> hash; a single file has the path "". Raises an error if they are unknown.
FilesOf = Callable[[Item], Mapping[str, str]]


def differences(workspace: Path, commit: str, lock: Lock, path: str, files_of: FilesOf) -> list[str]:
    """The inputs from which `path` was made and that differ at the commit, one line each; empty if none differ.

    Compares code and parameters with the commit's own, and data with what the other stages and the data sources made.

    lock: the commit's, without stages that are no longer in dvc.yaml. files_of: called for outputs of which a stage
    reads only a part, and for those in a folder that a stage reads as one. Raises GitError, and what `files_of` raises.
    """
    stages = lock.ancestry(path)
    code = _hashes_in_git(workspace, commit, {item.path for stage in stages for item in lock.code(stage)})
    params = parsed_yaml(files_at(workspace, commit, [PARAMS_FILE]).get(PARAMS_FILE, b""), PARAMS_FILE) or {}
    made = _Made(workspace, commit, lock, files_of)
    return [line for stage in reversed(stages) for line in _differing(stage, lock, code, params, made)]


def _differing(stage: LockedStage, lock: Lock, code: Mapping[str, str], params: object, made: "_Made") -> Iterator[str]:
    yield from (f"{stage.name}: {item.path}" for item in lock.code(stage) if code.get(item.path) != item.md5)
    yield from (
        f"{stage.name}: {PARAMS_FILE} {key}" for key, value in stage.params.items() if not is_at(params, key, value)
    )
    yield from (f"{stage.name}: {item.path}" for item in lock.data(stage) if made.hash_of(item.path) != item.md5)


class _Made:
    """The hashes of what a lock's stages and data sources made. Lists each output once."""

    def __init__(self, workspace: Path, commit: str, lock: Lock, files_of: FilesOf) -> None:
        self._workspace, self._commit, self._files_of = workspace, commit, files_of
        self._items = [item for stage in lock.stages.values() for item in stage.outs] + list(lock.sources)
        self._found: dict[str, str | None] = {}

    def hash_of(self, path: str) -> str | None:
        """DVC's hash of an output, of a part of one, or of a folder that contains some; None if there is none."""
        if path not in self._found:
            self._found[path] = self._hash(path)
        return self._found[path]

    def _hash(self, path: str) -> str | None:
        items = [item for item in self._items if overlap(item.path, path)]
        for item in items:
            if item.path == path:
                return item.md5
            if path.startswith(f"{item.path}/"):
                return _part_of(self._files_of(item), path[len(item.path) + 1 :])
        # A folder that contains outputs. Files that git has there, such as metrics of a removed model, are part of it.
        listing = folder_files(self._workspace, self._commit, path)
        for item in items:
            prefix = item.path[len(path) + 1 :]
            files = self._files_of(item)
            listing.update({f"{prefix}/{name}" if name else prefix: md5 for name, md5 in files.items()})
        return folder_hash(listing)


def _part_of(files: Mapping[str, str], name: str) -> str | None:
    """The hash of a file or a folder in an output."""
    if name in files:
        return files[name]
    inside = {path[len(name) + 1 :]: md5 for path, md5 in files.items() if path.startswith(f"{name}/")}
    return folder_hash(inside) if inside else None


def _hashes_in_git(workspace: Path, commit: str, paths: set[str]) -> dict[str, str]:
    """DVC's hashes of the files and folders that the commit has."""
    hashes = {path: file_md5(content) for path, content in files_at(workspace, commit, paths).items()}
    folders = {path: folder_md5(workspace, commit, path) for path in paths - hashes.keys()}
    return {**hashes, **{path: md5 for path, md5 in folders.items() if md5}}
