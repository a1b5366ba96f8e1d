"""Share the machine: cores and memory within a run, GPUs between all runs of this user."""

import math
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from filelock import FileLock, Timeout

from flows.graph import Needs
from genai_core import GenaiError
from genai_core.config.machine import usable_cores, usable_memory_bytes

POLL_S = 0.2
SHORT_WAIT_S = 2.0  # shorter waits are nobody's concern
ANSWER_TIMEOUT_S = 30.0  # of nvidia-smi, which takes seconds when the driver has to be loaded


class MachineError(GenaiError):
    """The machine's resources cannot be found out; the message says what to do."""


@dataclass(frozen=True)
class Machine:
    """The resources to share: cores, memory and the indices of GPUs."""

    cores: int
    memory_gb: float
    gpus: tuple[str, ...]


@dataclass(frozen=True)
class Lease:
    """The resources that a stage got."""

    cores: int
    gpus: tuple[str, ...]

    def environment(self) -> dict[str, str]:
        """The stage's variables. Without GPUs, CUDA_VISIBLE_DEVICES is empty, not unset, so the stage sees none."""
        return {"CUDA_VISIBLE_DEVICES": ",".join(self.gpus)}


def this_machine(accelerator: str) -> Machine:
    """The cores and memory that this process may use, and the GPUs unless `accelerator` is cpu. Raises MachineError."""
    gpus = () if accelerator == "cpu" else _gpu_indices()
    return Machine(cores=usable_cores(), memory_gb=usable_memory_bytes() / 2**30, gpus=gpus)


class Resources:
    """Grants leases. A stage that needs more than the machine has gets all of it, so that it can start."""

    def __init__(self, machine: Machine, stages_per_gpu: int = 1, lock_folder: Path | None = None) -> None:
        self._machine = machine
        self._free_cores = machine.cores
        self._free_memory_gb = machine.memory_gb
        self._changed = threading.Condition()
        folder = lock_folder or Path(tempfile.gettempdir()) / f"genai-gpus-{os.getuid()}"
        if machine.gpus:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # One lock file per GPU and place on it. A lock ends with its process, so no lease outlives a killed run.
        self._places = [
            (gpu, folder / f"{gpu}-{place}.lock") for place in range(stages_per_gpu) for gpu in machine.gpus
        ]

    @contextmanager
    def lease(
        self, needs: Needs, cancelled: Callable[[], bool], waits_for: Callable[[str], None] = lambda _: None
    ) -> Iterator[Lease | None]:
        """Wait for the resources and hold them for the body. Yields None if `cancelled()` becomes true first.

        waits_for: receives what is missing, once, if the wait takes longer than SHORT_WAIT_S.
        """
        cores = min(needs.cores, self._machine.cores)
        memory_gb = min(needs.memory_gb, self._machine.memory_gb)
        wanted_gpus = min(needs.gpus, len(self._machine.gpus))
        taken: list[tuple[str, FileLock]] = []
        silent_until = time.monotonic() + SHORT_WAIT_S
        while not cancelled():
            with self._changed:
                if self._free_cores < cores:
                    missing = f"{cores} free cores" if cores > 1 else "a free core"
                elif self._free_memory_gb < memory_gb:
                    missing = f"{memory_gb:g} GB of free memory"
                else:
                    taken = self._take_gpus(wanted_gpus)
                    if len(taken) == wanted_gpus:
                        self._free_cores -= cores
                        self._free_memory_gb -= memory_gb
                        break
                    missing = f"{wanted_gpus} free GPUs" if wanted_gpus > 1 else "a free GPU"
                self._changed.wait(POLL_S)
            if time.monotonic() > silent_until:
                waits_for(missing)
                silent_until = math.inf
        else:
            yield None
            return
        try:
            yield Lease(cores=cores, gpus=tuple(gpu for gpu, _ in taken))
        finally:
            with self._changed:
                self._free_cores += cores
                self._free_memory_gb += memory_gb
                for _, lock in taken:
                    lock.release()
                self._changed.notify_all()

    def _take_gpus(self, wanted: int) -> list[tuple[str, FileLock]]:
        """Locks on `wanted` different GPUs, or none of them."""
        taken: list[tuple[str, FileLock]] = []
        for gpu, path in self._places:
            if len(taken) == wanted:
                break
            if gpu in (held for held, _ in taken):
                continue
            lock = FileLock(path, thread_local=False, is_singleton=False)
            try:
                lock.acquire(blocking=False)
            except Timeout:
                continue
            taken.append((gpu, lock))
        if len(taken) < wanted:
            for _, lock in taken:
                lock.release()
            return []
        return taken


def _gpu_indices() -> tuple[str, ...]:
    """The GPUs that this process may use, from CUDA_VISIBLE_DEVICES if it is set, else from nvidia-smi."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        # CUDA ignores all entries after the first invalid one.
        return tuple(takewhile(lambda name: name not in ("", "-1"), map(str.strip, visible.split(","))))
    if shutil.which("nvidia-smi") is None:
        return ()
    command = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        raise MachineError(
            f"nvidia-smi did not answer within {ANSWER_TIMEOUT_S:g} s, so the GPUs are unknown: the driver may hang. "
            "Restart the machine, or name the GPUs to use: CUDA_VISIBLE_DEVICES=0 (empty: none)"
        ) from None
    return tuple(answer.stdout.split()) if answer.returncode == 0 else ()
