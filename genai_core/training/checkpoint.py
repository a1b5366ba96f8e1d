"""Checkpoints that survive a crash at any moment: written atomically, and verified when they are read."""

import hashlib
import io
import json
import os
import re
import shutil
import time
from pathlib import Path
from typing import Any

import torch

FORMAT = 3
_KEPT = 2
_ABANDONED_S = 14 * 24 * 3600.0
_NAME = re.compile(r"step-\d{12}-save-(?P<save>\d{9})-(?P<sha256>[0-9a-f]{64})\.pt")


class Checkpoints:
    """Checkpoints of one run, in their own folder, named after everything that affects the run.

    root: folder for all runs' checkpoints. name: readable, such as the stage. identity: JSON values; a run with another
    identity has another folder, so that a changed config or dataset never resumes a wrong checkpoint.
    """

    def __init__(self, root: Path, name: str, identity: dict[str, Any]) -> None:
        text = json.dumps({"format": FORMAT, "torch": torch.__version__, **identity}, sort_keys=True)
        self._root, self._name = root, name
        self.folder = root / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"

    def save(self, step: int, state: dict[str, Any]) -> None:
        """Save a state of tensors, numbers, strings, lists and dicts; keep only the last two checkpoints.

        step: for the reader of the file name. A rollback lowers it, so files are ordered by the number of their save.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        newest = next(iter(self._newest_first()), None)
        number = 1 if newest is None else _number(newest) + 1
        buffer = io.BytesIO()
        torch.save(state, buffer)
        content = buffer.getvalue()
        new = self.folder / f".new-{os.getpid()}"
        with new.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # The name contains the hash, so one rename publishes file and hash together.
        sha256 = hashlib.sha256(content).hexdigest()
        os.replace(new, self.folder / f"step-{step:012}-save-{number:09}-{sha256}.pt")
        _fsync_folder(self.folder)
        for path in self._newest_first()[_KEPT:]:
            path.unlink(missing_ok=True)

    def load(self) -> dict[str, Any] | None:
        """Load the newest intact state to the CPU; None if there is none."""
        for path in self._newest_first():
            content = path.read_bytes()
            match = _NAME.fullmatch(path.name)
            if match and hashlib.sha256(content).hexdigest() == match["sha256"]:
                state: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
                return state
            print(f"{path} is damaged; trying the previous checkpoint", flush=True)
        return None

    def delete(self) -> None:
        """Delete this run's checkpoints after it has succeeded, and abandoned ones with its name.

        Recent ones stay: a run with the same name but other config, data or code may be running, or be resumed later.
        """
        shutil.rmtree(self.folder, ignore_errors=True)
        same_name = re.compile(re.escape(self._name) + "-[0-9a-f]{16}")
        for folder in self._root.glob("*"):
            if same_name.fullmatch(folder.name) and time.time() - folder.stat().st_mtime > _ABANDONED_S:
                shutil.rmtree(folder, ignore_errors=True)

    def _newest_first(self) -> list[Path]:
        named = (path for path in self.folder.glob("step-*.pt") if _NAME.fullmatch(path.name))
        return sorted(named, key=_number, reverse=True)


def _number(path: Path) -> int:
    """Return the number of the save that wrote `path`, from 1 on."""
    match = _NAME.fullmatch(path.name)
    assert match is not None, path
    return int(match["save"])


def _fsync_folder(folder: Path) -> None:
    """Make a rename in `folder` durable: without this, a power failure may undo it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
