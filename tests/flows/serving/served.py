"""A real server on loopback, with tiny models: started, asked over HTTP, and ended."""

import base64
import io
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from genai_core.models.artifact import build_model, save_model
from tests.models.tiny import RECIPES, SHAPE

START_TIMEOUT_S = 90.0
END_TIMEOUT_S = 20.0


def save_tiny_model(
    folder: Path,
    family: str,
    *,
    classes: tuple[str, ...] = SHAPE.classes,
    channels: int = SHAPE.channels,
    seed: int = 0,
) -> Path:
    """Save a model of random weights."""
    torch.manual_seed(seed)
    folder.mkdir(parents=True)
    shape, recipe = replace(SHAPE, classes=classes, channels=channels), RECIPES[family]()
    save_model(folder, build_model(recipe, shape), recipe, dataset="d" * 64, training_summary={})
    return folder


@dataclass
class Server:
    """A running `genai serve`."""

    process: "subprocess.Popen[str]"
    address: str
    errors: list[str] = field(default_factory=list)

    def client(self, **options: Any) -> httpx.Client:
        return httpx.Client(base_url=self.address, timeout=60.0, trust_env=False, **options)

    def draw(self, **values: Any) -> httpx.Response:
        with self.client() as client:
            return client.post("/v1/draw", json=values)

    def model_pids(self) -> list[int]:
        """The processes that hold models."""
        children = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        pids = [int(number) for path in children for number in path.read_text().split()]
        return [pid for pid in pids if b"tasks.serve" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@contextmanager
def serving(*models: str, workspace: Path, options: tuple[str, ...] = ()) -> Iterator[Server]:
    """Start `genai serve MODELS` on a free port; at the end, it must end by itself after SIGTERM."""
    command = [sys.executable, "-m", "flows.cli", "--workspace", str(workspace), "serve", "--port=0", *options, *models]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=workspace
    )
    errors: list[str] = []
    assert process.stderr is not None
    thread = threading.Thread(target=lambda: errors.extend(process.stderr or ()), daemon=True)
    thread.start()
    try:
        yield Server(process, _address(process, errors), errors)
        process.send_signal(signal.SIGTERM)
        assert process.wait(END_TIMEOUT_S) == 0, "".join(errors)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        assert process.stdout is not None
        process.stdout.close()
        thread.join()
        process.stderr.close()


def _address(process: "subprocess.Popen[str]", errors: list[str]) -> str:
    timer = threading.Timer(START_TIMEOUT_S, process.kill)
    timer.start()
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if found := re.match(r"http://\S+", line):
                return found[0]
    finally:
        timer.cancel()
    process.wait()
    raise AssertionError(f"the server did not start: {''.join(errors)}")


def pixels(b64: str) -> npt.NDArray[np.uint8]:
    """The pixels of an image in an answer, (H, W) or (H, W, C)."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(b64))))
