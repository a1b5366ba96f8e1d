"""What a sweep of kills chooses: the kind, the moment, whom it hits, and what the next run has to do.

All choices come of a seed. The moments do not: how far a run is after a second depends on the machine.
"""

import os
import random
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from ruamel.yaml import YAML

from benchmarks.killed_runs import PHASES, STAGES, marked, role_of

KINDS = ("SIGKILL of the command", "SIGKILL of its session", "SIGTERM of the command", "SIGKILL of a descendant")
SESSION, TERM, DESCENDANT = KINDS[1:]
Values = tuple[int, int]


@dataclass
class Kill:
    """One kill, as it was drawn, and what became of it.

    moment: a phase that is waited for, or seconds after the run began or was killed last.
    """

    number: int
    kind: str
    moment: str | float
    jitter_s: float
    victim: str = ""
    reached: str = ""
    equal: bool | None = None
    left: list[str] = field(default_factory=list)


def draw(seed: int, number: int) -> tuple[Kill, random.Random]:
    """The kill of that number, and the dice for what follows it.

    Of its own: how often a run ended before its kill, or how many processes it had, shapes no later kill.
    """
    choose = random.Random(f"{seed} {number}")
    kind = choose.choice(KINDS)
    moment = choose.choice([*PHASES, *STAGES]) if choose.random() < 0.7 else choose.uniform(0.0, 7.0)
    return Kill(number, kind, moment, jitter_s=choose.choice([0.0, choose.uniform(0.0, 0.3)])), choose


def victims_of(kill: Kill, pid: int, mark: str, choose: random.Random) -> list[psutil.Process]:
    """Whom a kill hits, of the command `pid` and the processes that bear its mark; empty: nobody is there now."""
    own = psutil.Process(pid)
    if kill.kind == SESSION:
        alive = list(marked(mark))
        return [own, *(one for one in alive if one.pid != own.pid and _session(one) == own.pid)]
    if kill.kind != DESCENDANT:
        return [own]
    by_role: dict[str, list[psutil.Process]] = {}
    for process in marked(mark):
        with suppress(psutil.Error):
            if process.pid != own.pid:
                by_role.setdefault(role_of(process), []).append(process)
    if not by_role:
        return []
    kill.victim = choose.choice(sorted(by_role))
    return [choose.choice(by_role[kill.victim])]


def set_values(workspace: Path, values: Values) -> None:
    """The two parameters that the sweep changes back and forth: one of all stages, one of a single model."""
    yaml, path = YAML(), workspace / "params.yaml"
    parameters = yaml.load(path)
    parameters["data"]["max_megapixels"] = 25 + values[0]
    parameters["models"]["gan"]["training"]["seed"] = values[1]
    new = path.with_name("params.yaml.edited")
    yaml.dump(parameters, new)
    os.replace(new, path)


def _session(process: psutil.Process) -> int:
    with suppress(ProcessLookupError):
        return os.getsid(process.pid)
    return -1
