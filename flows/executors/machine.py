"""Which machine this is, for the coordinator of a run: its name, and the home of its user's workers.

The home has the clones and caches, which outlive jobs and workers. So host and home stand for what a machine has,
whichever worker of whichever engine the next job comes to.
"""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

HOME = "GENAI_WORKER_HOME"


@dataclass(frozen=True)
class Machine:
    """A machine with its caches. host: its name. home: the folder of its clones and caches, "" if unknown."""

    host: str
    home: str


def worker_home() -> Path:
    """The folder of all clones, caches and places of this user's workers on this machine."""
    return Path(os.environ.get(HOME) or "~/.cache/genai-worker").expanduser()


def this_machine() -> Machine:
    return Machine(socket.gethostname(), str(worker_home()))


def machine_of(facts: Mapping[str, str]) -> Machine:
    """The machine that facts with `host` and `home` are about."""
    return Machine(facts.get("host", ""), facts.get("home", ""))
