"""Parts shared by every task: the config, one-line errors, atomic outputs, and the run's cost."""

import errno
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

from genai_core.config import MACHINE_FAULT, NEEDS_MANUAL_ACTION, PARAMS_FILE, Config, ConfigError, load_config
from genai_core.progress import Progress

PROGRESS_DIR = Path(".genai/progress")
CHECKPOINTS_DIR = Path(".genai/checkpoints")
FOLLOW_DIR = Path(".genai/follow")
COST_DIR = Path("metrics/cost")

# New outputs are written here, not next to their final place: the remains of a killed stage must not be in a folder
# that is another stage's input. The folder is on the same file system, so the final rename is atomic.
NEW_DIR = Path(".genai/new")

# Errors that the user caused or can fix: their message says everything, and a traceback would hide it. A ValueError
# counts only if this project raises it. From inside a library it is a bug of ours, and the traceback is needed.
EXPECTED_ERRORS = (ConfigError, ValueError, FileNotFoundError, NotADirectoryError, PermissionError)
# A full or broken disk, or a limit of the system: neither config nor input is at fault.
MACHINE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE)
# Set by torchrun, by Lightning Fabric for the processes it starts, and by users who start a node themselves.
_RANKS = ("RANK", "LOCAL_RANK", "NODE_RANK")
_OWN_ROOMS = tuple(str(Path(__file__).parents[1] / room) + os.sep for room in ("genai_core", "tasks"))


class Context:
    """A run of a task: its stage's name, the config and its progress."""

    def __init__(self, stage: str, config: Config) -> None:
        self.stage = stage
        self.config = config
        # If several processes train a model, only the first prints and writes; the others run the same task.
        self.is_first = all(os.environ.get(name, "0") == "0" for name in _RANKS)
        self.progress = Progress(PROGRESS_DIR / f"{stage}.json") if self.is_first else Progress(silent=True)
        self.cost: dict[str, Any] = {}

    def tell(self, *lines: str) -> None:
        """Print the lines that are not empty, once, whatever the number of processes."""
        if self.is_first:
            for line in filter(None, lines):
                print(line, flush=True)


@contextmanager
def running(task: str, *, writes_cost: bool = True) -> Iterator[Context]:
    """Run a task's body in the workspace (the current folder), as the stage in DVC_STAGE, else as `task`.

    A fault that needs manual action ends the process with one line and status NEEDS_MANUAL_ACTION, a full disk with
    MACHINE_FAULT. SIGINT and SIGTERM raise SystemExit, so that `finally` clauses run. On success the cost is written to
    metrics/cost/<stage>.json, unless that file is an input of the stage.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _on_stop_signal)
    began = psutil.Process().create_time()  # include the import of torch in the stage's cost
    try:
        # DVC sets DVC_STAGE to the stage's address, for example train@gan.
        context = Context(os.environ.get("DVC_STAGE", task), load_config(Path(PARAMS_FILE)))
        # By default BLAS uses all cores of the machine and spins while waiting, so that concurrent stages would slow
        # each other down, regardless of the cores assigned to them.
        threadpool_limits(context.config.compute.cpu_threads, user_api="blas")
        yield context
        if context.is_first and writes_cost:
            _write_cost(context, time.time() - began)
    except EXPECTED_ERRORS as error:
        if isinstance(error, ValueError) and not _raised_by_this_project(error):
            raise
        print(f"{task}: {error}", file=sys.stderr, flush=True)
        sys.exit(NEEDS_MANUAL_ACTION)
    except Exception as error:
        if not _is_of_the_machine(error):
            raise
        print(f"{task}: {error}", file=sys.stderr, flush=True)
        sys.exit(MACHINE_FAULT)


@contextmanager
def stop_deferred() -> Iterator[Callable[[], bool]]:
    """Defer SIGINT and SIGTERM in the body; yields a function that returns whether one has arrived.

    For work that must finish its step and save its state first. After the body, however it ended, the process exits as
    the signal requested.
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
    """Yield an empty folder that replaces `path` if the body succeeds, and is deleted if it fails."""
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
    """Write JSON atomically; keys keep their order, so that equal values give equal files."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    new = _new_place(path)
    new.write_text(text)
    os.replace(new, path)


def _is_of_the_machine(error: Exception) -> bool:
    """Whether this machine is at fault. safetensors has no number of an error, only its text."""
    number = error.errno if isinstance(error, OSError) else None
    return number in MACHINE_ERRORS or any(f"(os error {number})" in str(error) for number in MACHINE_ERRORS)


def _raised_by_this_project(error: BaseException) -> bool:
    """Whether the line that raised `error` belongs to this project, not to a library it calls."""
    frames = traceback.extract_tb(error.__traceback__)
    return frames[-1].filename.startswith(_OWN_ROOMS)


def _new_place(path: Path) -> Path:
    """Return the temporary location for a new `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    NEW_DIR.mkdir(parents=True, exist_ok=True)
    return NEW_DIR / "-".join(path.parts)


def _write_cost(context: Context, seconds: float) -> None:
    # The only output that contains times: otherwise two runs of a stage are equal in every byte.
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    cost = {"seconds": round(seconds, 2), "peak_memory_mb": round(peak_kib / 1024), **context.cost}
    write_json(COST_DIR / f"{context.stage}.json", cost)


def _on_stop_signal(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)
