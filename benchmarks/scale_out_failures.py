"""What strikes a run on several machines, at random: which failure, when, and in which way."""

import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from benchmarks.outages import Forwarder, PrefectServer

AWAY_S = 20.0
# Between two outages of one server. The worker tries a remote for a minute in all.
CALM_S = 45.0
MOST_GAP_S = 12.0
PER_RUN = (4, 8)  # failures, at least and at most

# Each kind, and the ways in which it can strike. The order is that of the table.
WAYS = {
    "worker": ("its machine starts again", "another machine takes its place"),
    "all workers": ("their machines start again", "other machines take their place"),
    "coordinator": (
        "the command; resumed in its checkout",
        "the command; resumed in a clone",
        "its machine; resumed in its checkout",
        "its machine; resumed in a clone",
    ),
    "S3 server": ("refuses connections", "does not answer"),
    "Prefect server": ("killed and started again", "does not answer"),
}
KINDS = tuple(WAYS)
WORKER, ALL_WORKERS, COORDINATOR, S3, PREFECT = KINDS


@dataclass
class Failure:
    """One failure, as it was drawn, and what became of it.

    gap_s: until the next one. reached: the stages that were running. equal: whether the run's outputs had the
    hashes of one machine in the end; left: what the run left behind; twice: results that it accepted twice.
    """

    run: int
    kind: str
    way: str
    gap_s: float
    reached: str = ""
    equal: bool | None = None
    left: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)


def draw(seed: int, run: int, wanted: Mapping[str, int]) -> tuple[list[Failure], random.Random]:
    """The failures of a run, and the dice for what follows. wanted: how many of each kind are still to come."""
    choose = random.Random(f"{seed} {run}")
    still, failures = dict(wanted), []
    for _ in range(choose.randint(*PER_RUN)):
        kinds = [kind for kind, count in still.items() if count > 0]
        if not kinds:
            break
        kind = choose.choice(kinds)
        still[kind] -= 1
        failures.append(Failure(run, kind, choose.choice(WAYS[kind]), choose.uniform(0.0, MOST_GAP_S)))
    return failures, choose


class Outages:
    """The outages of the two servers: begun here, ended by `end_due` when their time is over."""

    def __init__(self, s3: Forwarder, prefect: PrefectServer) -> None:
        self._s3, self._prefect = s3, prefect
        self._until: dict[str, tuple[float, str]] = {}
        self._calm_at = {S3: 0.0, PREFECT: 0.0}

    def may_begin(self, kind: str) -> bool:
        return kind not in self._until and time.monotonic() >= self._calm_at[kind]

    def begin(self, failure: Failure) -> None:
        does_not_answer = failure.way == WAYS[failure.kind][1]
        if failure.kind == S3:
            (self._s3.hang if does_not_answer else self._s3.refuse)()
        else:
            (self._prefect.suspend if does_not_answer else self._prefect.kill)()
        self._until[failure.kind] = time.monotonic() + AWAY_S, failure.way

    def end_due(self, *, at_once: bool = False) -> None:
        """End the outages whose time is over; or all of them."""
        for kind, (until, way) in list(self._until.items()):
            if time.monotonic() < until and not at_once:
                continue
            del self._until[kind]
            self._calm_at[kind] = time.monotonic() + CALM_S
            if kind == S3:
                self._s3.restore()
            elif way == WAYS[PREFECT][1]:
                self._prefect.resume()
            else:
                self._prefect.start()

    def wait_for_prefect(self) -> None:
        self._prefect.wait()

    @property
    def prefect_is_away(self) -> bool:
        """Whether nobody would start a command now: it needs the server."""
        return PREFECT in self._until or not self._prefect.answers()
