"""DVC's graph as plain values. Only this file asks DVC for the stages and their dependencies."""

import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from genai_core import GenaiError
from genai_core.config import doubled_key

if TYPE_CHECKING:
    from dvc.output import Output
    from dvc.repo import Repo
    from dvc.stage import Stage


# Said of a file of DVC that a merge has left in conflict.
CONFLICT = (
    "it has the conflict markers of a merge; keep one side (git checkout --ours FILE, or --theirs), then check it out: "
    "dvc checkout, or genai data pull"
)


class GraphError(GenaiError):
    """dvc.yaml is invalid, or has no such stage; the message is one line."""


class Needs(BaseModel):
    """A stage's `meta:`: retries, time limit and resources.

    restorable: its outputs depend only on its inputs, although they persist between runs (flows/hashes.py).
    nodes: machines that run the stage's command together, each with these resources. The first one runs the stage.
    place: runs only in work pools with this label. reads: outputs of upstream stages that it reads besides its
    dependencies, for executors that fetch only what a stage reads.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    retries: int = Field(default=0, ge=0, le=100)
    timeout_s: float | None = Field(default=None, gt=0)
    cores: int = Field(default=1, ge=1)
    gpus: int = Field(default=0, ge=0)
    memory_gb: float = Field(default=0.0, ge=0)
    nodes: int = Field(default=1, ge=1)
    restorable: bool = False
    place: str | None = None
    reads: tuple[str, ...] = ()


@dataclass(frozen=True)
class StageNode:
    """One stage. `name` is DVC's address (train@gan). A data source (data/raw.dvc) has no command."""

    name: str
    description: str
    command: str | None
    needs: Needs
    upstream: tuple[str, ...]


@dataclass(frozen=True)
class Graph:
    """The stages, each after those that it depends on."""

    stages: tuple[StageNode, ...]

    def up_to(self, targets: Iterable[str]) -> "Graph":
        """The targets and everything that they depend on; without targets, the whole graph.

        A foreach name (train) stands for all its stages (train@gan ...). Raises GraphError for an unknown name.
        """
        wanted = {name for target in targets for name in self._matching(target)}
        if not wanted:
            return self
        for stage in reversed(self.stages):
            if stage.name in wanted:
                wanted.update(stage.upstream)
        return Graph(tuple(stage for stage in self.stages if stage.name in wanted))

    def _matching(self, target: str) -> list[str]:
        names = [stage.name for stage in self.stages if target in (stage.name, stage.name.partition("@")[0])]
        if not names:
            known = ", ".join(stage.name for stage in self.stages)
            raise GraphError(f"dvc.yaml: unknown stage {target!r}; available: {known}")
        return names


@contextmanager
def open_repo(workspace: Path, *, wait_for_lock: bool = False, leaves_no_trace: bool = False) -> Iterator["Repo"]:
    """DVC's view of a workspace; it is not safe in two threads at once. Raises GraphError.

    wait_for_lock: if another command holds DVC's lock, wait for it instead of failing.
    leaves_no_trace: write nothing, not even the hashes that DVC caches in .dvc/tmp and its site cache.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    # At other log levels, DVC draws a progress bar per hashed folder over the terminal's content.
    logging.getLogger("dvc").setLevel(logging.CRITICAL)
    with ExitStack() as stack:
        try:
            if leaves_no_trace:
                notes = stack.enter_context(TemporaryDirectory(prefix="genai-"))
                repo = _traceless(workspace, notes)
            else:
                repo = Repo(str(workspace), _wait_for_lock=wait_for_lock)
        except DvcException as error:
            raise GraphError(f"{workspace}: {one_line(error)}") from None
        stack.callback(repo.close)
        try:
            yield repo
        except DvcException as error:
            raise GraphError(one_line(error)) from None


def _traceless(workspace: Path, notes: str) -> "Repo":
    """DVC's view with its locks, hash cache and indexes in the folder `notes`.

    So it does not read an index that is incomplete, or that another user could write to, either.
    """
    from dvc.repo import Repo

    class Traceless(Repo):  # type: ignore[misc]
        tmp_dir = notes
        site_cache_dir = notes
        _btime = None  # otherwise DVC uses a file in .dvc/tmp, whose time names the site cache

        def _ignore(self) -> None:
            """Add nothing to .dvc/.gitignore."""

    return Traceless(str(workspace))


def read_graph(repo: "Repo") -> Graph:
    """The stages of dvc.yaml and their data sources, in order. Raises GraphError for an invalid `meta:`."""
    return Graph(tuple(_node(stage, edges) for stage, edges in dvc_stages(repo)))


def dvc_stages(repo: "Repo") -> list[tuple["Stage", list["Stage"]]]:
    """DVC's own stages in dependency order, each with those that it depends on directly.

    The order is deterministic: by depth, then as in dvc.yaml.
    """
    import networkx as nx

    graph = repo.index.graph
    position = {stage: number for number, stage in enumerate(repo.index.stages)}
    layers = nx.topological_generations(graph.reverse(copy=True))
    ordered = [stage for layer in layers for stage in sorted(layer, key=position.__getitem__)]
    rank = {stage: number for number, stage in enumerate(ordered)}
    return [(stage, sorted(graph.successors(stage), key=rank.__getitem__)) for stage in ordered]


def stage_name(stage: "Stage") -> str:
    """DVC's address of a stage from the repo's root. DVC's own `addressing` depends on the current folder."""
    path: str = stage.path_in_repo
    name: str | None = getattr(stage, "name", None)
    if name is None:
        return path
    return name if path == "dvc.yaml" else f"{path}:{name}"


def path_of(item: "Output") -> str:
    """The path of an input or output from the repo's root. DVC prints it from the current folder."""
    return Path(os.path.relpath(item.fs_path, item.repo.root_dir)).as_posix()


def _node(stage: "Stage", upstream: list["Stage"]) -> StageNode:
    return StageNode(
        name=stage_name(stage),
        description=stage.desc or "",
        command=_command(stage),
        needs=_needs(stage_name(stage), stage.meta or {}),
        upstream=tuple(stage_name(other) for other in upstream),
    )


def _command(stage: "Stage") -> str | None:
    command = stage.cmd
    return " && ".join(command) if isinstance(command, list) else command


def _needs(name: str, meta: dict[str, Any]) -> Needs:
    try:
        return Needs.model_validate(meta)
    except ValidationError as error:
        fault = error.errors()[0]
        key = ".".join(str(part) for part in ("meta", *fault["loc"]))
        raise GraphError(f"dvc.yaml: {name}: {key}: got {fault['input']!r}; {fault['msg']}") from None


def one_line(error: Exception) -> str:
    """DVC's message, with details that DVC only prints itself: schema errors, the line of a syntax error."""
    cause = error.__cause__
    faults = [str(fault) for fault in getattr(cause, "errors", [])]
    if mark := getattr(cause, "problem_mark", None):
        faults.append(doubled_key(cause) or f"line {mark.line + 1}: {getattr(cause, 'problem', '')}")
    message = "; ".join([str(error), *faults])
    path = getattr(error, "path", None)
    if "dvc.lock'" in message:
        message += (
            "; restore the committed one (git checkout dvc.lock) or remove it; finished stages come from the cache"
        )
    elif path and has_conflict(_content(Path(path))):
        message += f": {CONFLICT}"
    return " ".join(message.split())


def has_conflict(content: bytes) -> bool:
    """Whether a file has the markers of a merge that is not resolved."""
    return content.startswith(b"<<<<<<< ") or b"\n<<<<<<< " in content


def _content(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""
