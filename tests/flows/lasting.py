"""Processes that serve all workers of a test session, until the session ends."""

import os
import sys
import time
from pathlib import Path

import psutil

from tests.project import ROOT

START_S, MOST_S = 150.0, 7_200.0


def start_lasting(module: str, folder: Path, ready: str) -> None:
    """Start `python -m MODULE FOLDER PID` in the background; returns when it has made FOLDER/`ready`.

    The process PID started the workers: a lasting process ends after it, not after the worker that needed it first.
    """
    owner = os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()
    log = folder / "log"
    pid = os.posix_spawn(
        sys.executable,
        [sys.executable, "-m", module, str(folder), str(owner)],
        {**os.environ, "PYTHONPATH": str(ROOT)},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )
    deadline = time.monotonic() + START_S
    while not (folder / ready).exists():
        assert os.waitpid(pid, os.WNOHANG) == (0, 0), log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)


class Owner:
    """The process whose end a lasting one waits for."""

    def __init__(self, pid: int) -> None:
        self._process, self._deadline = psutil.Process(pid), time.monotonic() + MOST_S

    def lives(self) -> bool:
        process = self._process
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE and time.monotonic() < self._deadline
