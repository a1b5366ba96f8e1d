"""Machines without a shared disk: a bare git repository, a folder as DVC remote, and homes of workers."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from flows.data.stores import add_default_remote
from flows.executors.dispatch import Dispatch
from flows.executors.order import Order, Outcome, order_from
from flows.executors.remote_place import execute_order
from flows.graph import Needs, StageNode, open_repo, read_graph
from flows.process import Processes
from flows.runs.place import Place
from tests.flows.conftest import shell
from tests.flows.runs.places import job_of


@dataclass
class Heard:
    """What a listener was told."""

    lines: list[str] = field(default_factory=list)
    gpus: list[tuple[str, ...]] = field(default_factory=list)
    places: list[Mapping[str, Any]] = field(default_factory=list)

    def waits(self, why: str) -> None:
        self.lines.append(f"waits {why}")

    def started(self, gpus: tuple[str, ...]) -> None:
        self.gpus.append(gpus)

    def line(self, text: str) -> None:
        self.lines.append(text)

    def progress(self, state: dict[str, Any]) -> None: ...

    def meets(self, where: Mapping[str, Any]) -> None:
        self.places.append(where)


def connect(workspace: Path) -> Path:
    """Give a workspace a bare git remote and a DVC remote in folders beside it; returns the git remote."""
    bare, store = workspace.parent / "origin.git", workspace.parent / "store"
    shell(workspace.parent, f"git init -q --bare -b main {bare}")
    add_default_remote(workspace, str(store))
    shell(
        workspace, f"git remote add origin {bare} && git add -A && git commit -q -m remotes && git push -q origin main"
    )
    return bare


def node_of(place: Place, stage: str) -> StageNode:
    with open_repo(place.folder) as repo:
        return next(node for node in read_graph(repo).stages if node.name == stage)


def ordered(dispatch: Dispatch, place: Place, stage: str, commit: str, ref: str, nodes: int = 1) -> Order:
    """The order of a stage, as it arrives at a worker."""
    job = replace(job_of(place, stage), run=ref.rpartition("/")[2], snapshot=commit)
    return order_from(dispatch.order(replace(node_of(place, stage), needs=Needs(nodes=nodes)), job, print).text())


def worked(order: Order, home: Path) -> tuple[Outcome, Heard]:
    """What a worker with that home makes of an order."""
    heard = Heard()
    return execute_order(order, home, heard, Processes()), heard
