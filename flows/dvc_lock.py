"""Read dvc.lock and the data sources' .dvc files, at a commit or here: what each stage was made from."""

import hashlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from flows.git import GitError, blobs, files_at, git
from flows.graph import CONFLICT, has_conflict
from flows.hashes import folder_hash
from genai_core.config import PARAMS_FILE, yaml_fault

LOCK_FILE = "dvc.lock"
RAW_FILE = "data/raw.dvc"
BASE_FILE = "models/base.dvc"  # the model that a fine-tuning continued from, if `genai base` or a retraining set it
# The last is what earlier versions of this project called it: lineage reads old commits too.
SOURCE_FILES = (RAW_FILE, BASE_FILE, "models/champion.dvc")


@dataclass(frozen=True)
class Item:
    """A file or a folder with DVC's hash, which ends in .dir for a folder."""

    path: str
    md5: str
    size_bytes: int = field(default=0, compare=False)


@dataclass(frozen=True)
class LockedStage:
    """One stage's entry in dvc.lock."""

    name: str
    command: str
    deps: tuple[Item, ...]
    outs: tuple[Item, ...]
    params: dict[str, Any]  # of params.yaml, by dotted key


@dataclass(frozen=True)
class Lock:
    """The stages of a dvc.lock, in its order, and the data sources of *.dvc files."""

    stages: dict[str, LockedStage]
    sources: tuple[Item, ...] = ()

    @property
    def raw_data(self) -> Item | None:
        return next((item for item in self.sources if f"{item.path}.dvc" == RAW_FILE), None)

    def of_stages(self, names: Collection[str]) -> "Lock":
        """The lock without other stages. DVC keeps the entries of stages that are no longer in dvc.yaml."""
        return replace(self, stages={name: stage for name, stage in self.stages.items() if name in names})

    def output(self, path: str) -> Item | None:
        """The output at `path`."""
        return next((item for stage in self.stages.values() for item in stage.outs if item.path == path), None)

    def find(self, path: str) -> Item | None:
        """The output or the data source at `path`."""
        return self.output(path) or next((item for item in self.sources if item.path == path), None)

    def maker(self, path: str) -> LockedStage | None:
        """The stage that has an output at `path`, above it or below it."""
        makers = self.makers(path)
        return makers[0] if makers else None

    def makers(self, path: str) -> list[LockedStage]:
        """The stages whose outputs are at `path`, above it or below it: a dependency may be a folder of outputs."""
        return [stage for stage in self.stages.values() if any(overlap(item.path, path) for item in stage.outs)]

    def code(self, stage: LockedStage) -> list[Item]:
        """The dependencies that neither a stage nor a data source makes: the files in git."""
        return [item for item in stage.deps if not self._is_made(item.path)]

    def data(self, stage: LockedStage) -> list[Item]:
        """The dependencies that other stages make, or that are data sources."""
        return [item for item in stage.deps if self._is_made(item.path)]

    def _is_made(self, path: str) -> bool:
        return bool(self.makers(path)) or any(overlap(item.path, path) for item in self.sources)

    def ancestry(self, path: str) -> list[LockedStage]:
        """The stages that `path` depends on, nearest first, each once."""
        found: dict[str, LockedStage] = {}
        waiting = [path]
        while waiting:
            for stage in self.makers(waiting.pop(0)):
                if stage.name not in found:
                    found[stage.name] = stage
                    waiting += [item.path for item in self.data(stage)]
        return list(found.values())


def overlap(one: str, other: str) -> bool:
    """Whether two paths are equal, or one contains the other."""
    return one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/")


def lock_at(workspace: Path, commit: str) -> Lock:
    """dvc.lock and the data sources' files at a commit; empty if there are none. Raises GitError."""
    return locks_at(workspace, [commit])[commit]


def locks_at(workspace: Path, commits: list[str]) -> dict[str, Lock]:
    """`lock_at` for many commits. Parses each file's contents once; equal contents give the same objects."""
    contents = blobs(workspace, [(c, path) for c in commits for path in (LOCK_FILE, *SOURCE_FILES)])
    stages: dict[bytes, dict[str, LockedStage]] = {}
    parsed: dict[tuple[bytes, ...], Lock] = {}
    locks = {}
    for commit in commits:
        found = tuple(contents.get((commit, path), b"") for path in (LOCK_FILE, *SOURCE_FILES))
        if found not in parsed:
            where = f"at {commit[:7]}"
            if found[0] not in stages:  # a large file, in fewer versions than the data
                stages[found[0]] = _locked_stages(found[0], where)
            parsed[found] = Lock(stages[found[0]], _data_sources(found[1:], where))
        locks[commit] = parsed[found]
    return locks


def lock_here(workspace: Path) -> Lock:
    """The workspace's dvc.lock and data sources' files, committed or not. Raises GitError."""
    files = [workspace / path for path in (LOCK_FILE, *SOURCE_FILES)]
    lock, *sources = (file.read_bytes() if file.is_file() else b"" for file in files)
    where = f"in {workspace}"
    return Lock(_locked_stages(lock, where), _data_sources(sources, where))


def _locked_stages(content: bytes, where: str) -> dict[str, LockedStage]:
    return _stages(parsed_yaml(content, f"{LOCK_FILE} {where}"))


def _data_sources(contents: Sequence[bytes], where: str) -> tuple[Item, ...]:
    """contents: of each of SOURCE_FILES."""
    return tuple(
        item
        for path, content in zip(SOURCE_FILES, contents, strict=True)
        for item in _sources(parsed_yaml(content, f"{path} {where}"), path)
    )


def outputs_in(content: bytes, path: str, where: str) -> tuple[Item, ...]:
    """The outputs that a dvc.lock or a .dvc file at `path` names. where: the commit or the checkout, for messages.

    Raises GitError for invalid YAML.
    """
    values = parsed_yaml(content, f"{path} at {where}")
    if PurePosixPath(path).name == LOCK_FILE:
        return tuple(item for stage in _stages(values).values() for item in stage.outs)
    return tuple(_sources(values, path))


def outputs_of_run(content: bytes, name: str) -> tuple[Item, ...]:
    """The outputs that an entry of DVC's run-cache names. Raises GitError for invalid YAML."""
    return tuple(_items((parsed_yaml(content, name) or {}).get("outs")))


def _stages(values: Any) -> dict[str, LockedStage]:
    entries = (values or {}).get("stages") or {}
    return {
        name: LockedStage(
            name=name,
            command=str(entry.get("cmd", "")),
            deps=tuple(_items(entry.get("deps"))),
            outs=tuple(_items(entry.get("outs"))),
            params=dict((entry.get("params") or {}).get(PARAMS_FILE) or {}),
        )
        for name, entry in entries.items()
    }


def _items(entries: Any) -> Iterator[Item]:
    for entry in entries or []:
        yield Item(str(entry["path"]), str(entry.get("md5", "")), int(entry.get("size") or 0))


def _sources(values: Any, file: str) -> Iterator[Item]:
    for entry in (values or {}).get("outs") or []:
        path = (PurePosixPath(file).parent / str(entry["path"])).as_posix()
        yield Item(path, str(entry.get("md5", "")), int(entry.get("size") or 0))


def parsed_yaml(content: bytes, name: str) -> Any:
    """Parse a mapping; None for an empty file. name: for messages. Raises GitError."""
    try:
        values = YAML(typ="safe").load(content) if content else None
    except (YAMLError, UnicodeDecodeError, ValueError) as error:
        why = CONFLICT if has_conflict(content) else yaml_fault(error)
        raise GitError(f"{name}: not valid YAML: {why}") from None
    if not (values is None or isinstance(values, dict)):
        raise GitError(f"{name}: expected a mapping, as DVC writes it; it begins with {str(values)[:20]!r}")
    return values


def is_at(params: Any, key: str, value: Any) -> bool:
    """Whether the parsed parameters have that value at a dotted key."""
    for part in key.split("."):
        if not isinstance(params, dict) or part not in params:
            return False
        params = params[part]
    return bool(params == value)


def folder_md5(workspace: Path, commit: str, path: str) -> str | None:
    """DVC's hash of a folder at a commit; None if there is no such folder."""
    files = folder_files(workspace, commit, path)
    return folder_hash(files) if files else None


def folder_files(workspace: Path, commit: str, path: str) -> dict[str, str]:
    """DVC's hashes of the files below a folder at a commit, by their path in it; empty if there is no such folder."""
    names = git(workspace, "ls-tree", "-r", "-z", "--name-only", commit, f"{path}/").split("\0")
    contents = files_at(workspace, commit, filter(None, names))
    return {name[len(path) + 1 :]: file_md5(content) for name, content in contents.items()}


def file_md5(content: bytes) -> str:
    """DVC's hash of a file."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
