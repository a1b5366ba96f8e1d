"""What every task has in common: the config, one error line, whole outputs or none, and what the run cost."""

import json
import os
import resource
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import psutil
from threadpoolctl import threadpool_limits

from genai_core.config import NEEDS_A_PERSON, PARAMS_FILE, Config, ConfigError, load_config
from genai_core.progress import Progress

PROGRESS_DIR = Path(".genai/progress")
CHECKPOINTS_DIR = Path(".genai/checkpoints")
FOLLOW_DIR = Path(".genai/follow")
COST_DIR = Path("metrics/cost")

# New outputs are filled here, not beside their place: what a killed stage leaves must not lie in a folder that is
# some other stage's input. It is on the same file system, so that the rename at the end is one step.
NEW_DIR = Path(".genai/new")

# Errors that a person caused or can mend: their message is the whole answer, a traceback would bury it. A ValueError
# is one only where this project raises it; one from inside a library is a fault of ours, and its traceback is wanted.
EXPECTED_ERRORS = (ConfigError, ValueError, FileNotFoundError, NotADirectoryError, PermissionError)
# Set by torchrun, by Lightning Fabric for the processes that it starts, and by people who start a node themselves.
_RANKS = ("RANK", "LOCAL_RANK", "NODE_RANK")
_OWN_ROOMS = tuple(str(Path(__file__).parents[1] / room) + os.sep for room in ("genai_core", "tasks"))


class Context:
    """One run of one task: its stage's name, the config and its progress."""

    def __init__(self, stage: str, config: Config) -> None:
        self.stage = stage
        self.config = config
        # Of several processes that train one model, the first speaks and writes; the others run the same task.
        self.is_first = all(os.environ.get(name, "0") == "0" for name in _RANKS)
        self.progress = Progress(PROGRESS_DIR / f"{stage}.json") if self.is_first else Progress(silent=True)
        self.cost: dict[str, Any] = {}


@contextmanager
def running(task: str, *, writes_cost: bool = True) -> Iterator[Context]:
    """Run a task's body in the workspace (the current folder), as the DVC stage that DVC names, else as `task`.

    A fault that a person can mend ends the process with one line and status NEEDS_A_PERSON. SIGINT and SIGTERM raise
    SystemExit, so that `finally` clauses run. On success the cost goes to metrics/cost/<stage>.json, unless that is an
    input of the stage.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _on_stop_signal)
    began = psutil.Process().create_time()  # importing torch is a part of what a stage costs
    try:
        # DVC sets DVC_STAGE to the stage's address, for example train@gan.
        context = Context(os.environ.get("DVC_STAGE", task), load_config(Path(PARAMS_FILE)))
        # NumPy's matrix products take every core of the machine, and spin while they wait: two stages side by side
        # would hinder each other, whatever cores they were given.
        threadpool_limits(context.config.compute.cpu_threads, user_api="blas")
        yield context
    except EXPECTED_ERRORS as error:
        if isinstance(error, ValueError) and not _raised_by_us(error):
            raise
        print(f"{task}: {error}", file=sys.stderr, flush=True)
        sys.exit(NEEDS_A_PERSON)
    if context.is_first and writes_cost:
        _write_cost(context, time.time() - began)


@contextmanager
def stop_deferred() -> Iterator[Callable[[], bool]]:
    """Within the body SIGINT and SIGTERM end nothing: the function that it yields tells whether one came.

    For work that must finish its step and save its state before it ends. When the body is over, however it ended, the
    process ends as the signal wanted.
    """
    received: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _frame: received.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if received:
            raise SystemExit(128 + received[0])


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """An empty folder to fill, which becomes `path` when the body ends well and vanishes when it does not."""
    new = _new_place(path)
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    try:
        yield new
        if path.exists():
            shutil.rmtree(path)
        os.rename(new, path)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def write_json(path: Path, value: Any) -> None:
    """Write JSON whole or not at all; keys keep their order, so that equal values make equal files."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    new = _new_place(path)
    new.write_text(text)
    os.replace(new, path)


def _raised_by_us(error: BaseException) -> bool:
    """Whether the line that raised `error` is one of this project, and not of a library that it calls."""
    frames = traceback.extract_tb(error.__traceback__)
    return frames[-1].filename.startswith(_OWN_ROOMS)


def _new_place(path: Path) -> Path:
    """Where the new `path` grows until it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    NEW_DIR.mkdir(parents=True, exist_ok=True)
    return NEW_DIR / "-".join(path.parts)


def _write_cost(context: Context, seconds: float) -> None:
    # The only output that measures time: two runs of one stage agree in every byte but these.
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    cost = {"seconds": round(seconds, 2), "peak_memory_mb": round(peak_kib / 1024), **context.cost}
    write_json(COST_DIR / f"{context.stage}.json", cost)


def _on_stop_signal(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)
