"""A job for another machine, and its outcome, as JSON text. A database may reorder the keys of a JSON value, and the
order in a lock entry shows in dvc.lock."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from flows.data.outputs import StoredOutput
from flows.executors.executor import CommandFailed, JobFailed
from flows.executors.software import Software
from flows.runs.job import Job, LockEntry


@dataclass(frozen=True)
class Node:
    """Which of several machines that train one model together an order is for.

    rank: 0 is the first, which runs the stage; the others run its command beside it. count: of all. secret: of the
    attempt; who has it may join. addresses, port: where the first one waits for the others; its own order has none.
    """

    rank: int
    count: int
    secret: str = field(repr=False)
    addresses: tuple[str, ...] = ()
    port: int = 0


@dataclass(frozen=True)
class Order:
    """A job, and what another machine needs to execute it.

    repository: the git remote's address. ref: names the snapshot there. project: the folder of the project in the
    repository, "" at its top. reads: the inputs to fetch from the DVC remote. variables: for the command. software:
    what the machine must have. node: of a stage on several machines (`meta: nodes`).
    """

    job: Job
    repository: str
    ref: str
    project: str
    reads: tuple[StoredOutput, ...]
    variables: Mapping[str, str]
    software: Software
    node: Node | None = None

    def text(self) -> str:
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Outcome:
    """What became of a job on another machine.

    key, attempt: of the job. entry: its lock entry; all objects that this names are at the DVC remote then. None: it
    failed, and `failure` says why. ran: whether the command ran there. is_command_fault: the command failed, not the
    machine. machine: facts, for people. is_lost: another machine of the same training was lost, so that the attempt has
    to be repeated.
    """

    key: str
    attempt: int
    entry: LockEntry | None = None
    ran: bool = False
    seconds: float = 0.0
    failure: str = ""
    retryable: bool = True
    is_command_fault: bool = False
    is_lost: bool = False
    machine: Mapping[str, str] = field(default_factory=dict)

    def text(self) -> str:
        return json.dumps(asdict(self))

    def failed(self, where: str = "") -> JobFailed:
        """What to raise if there is no entry. where: before what it says."""
        kind = CommandFailed if self.is_command_fault else JobFailed
        return kind(f"{where}{self.failure}", retryable=self.retryable)


def order_from(text: str) -> Order:
    """Read an order. Raises ValueError if another version of this code wrote it."""
    try:
        values: dict[str, Any] = json.loads(text)
        reads = tuple(
            StoredOutput(**{**read, "parts": None if read["parts"] is None else tuple(read["parts"])})
            for read in values.pop("reads")
        )
        job, software = Job(**values.pop("job")), Software(**values.pop("software"))
        node = values.pop("node")
        if node is not None:
            node = Node(**{**node, "addresses": tuple(node["addresses"])})
        return Order(job=job, software=software, reads=reads, node=node, **values)
    except (TypeError, KeyError) as error:
        raise ValueError(f"the job was written by another version of this code: {error}") from None


def outcome_from(text: str) -> Outcome:
    return Outcome(**json.loads(text))
