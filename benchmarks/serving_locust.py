"""Load by locust, in a process of its own: clients that ask again at once, or requests at a fixed rate."""

import json
import math
import os
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from benchmarks.serving_server import ROOT

# Of a client at a fixed rate, which falls behind when an answer takes longer: so where answers are slow, there are more
# clients. Not many more than that: with 1,500, locust itself stops for a second now and then.
SECONDS_PER_REQUEST = (1.0, 20.0)
CLIENTS = 100
# For requests that are on their way at the end.
END_TIMEOUT_S = 30


@dataclass(frozen=True)
class Load:
    """What the clients saw in a time of so many seconds. ended: status and seconds of each request."""

    seconds: float
    ended: tuple[tuple[str, float], ...]

    @property
    def statuses(self) -> dict[str, int]:
        return dict(Counter(status for status, _ in self.ended))

    def durations(self, status: str) -> list[float]:
        """Seconds of each request that was answered with this status."""
        return [seconds for found, seconds in self.ended if found == status]

    @property
    def served_per_second(self) -> float:
        return len(self.durations("200")) / self.seconds


def closed_load(address: str, kind: str, model: str, clients: int, images: int, seconds: float) -> Load:
    """Clients that ask again as soon as they have their answer: what ended in this time. kind: genai or gradio."""
    values = {"kind": kind, "model": model, "images": images, "per_client": None}
    begun, done = _run(address, clients, seconds, values)
    return Load(seconds, tuple((status, took) for status, took, at in done if begun <= at <= begun + seconds))


def open_load(address: str, model: str, per_second: float, images: int, seconds: float) -> Load:
    """Requests at a fixed rate, whether or not earlier ones are answered: what began in this time."""
    least, most = (per_second * pause for pause in SECONDS_PER_REQUEST)
    clients = max(1, round(max(least, min(most, CLIENTS))))
    pause = clients / per_second
    values = {"kind": "genai", "model": model, "images": images, "per_client": 1 / pause}
    spawned, done = _run(address, clients, pause + seconds, values)
    begun = spawned + pause  # each client begins at a moment of its own
    return Load(seconds, tuple((status, took) for status, took, at in done if begun <= at - took <= begun + seconds))


def _run(
    address: str, clients: int, seconds: float, values: dict[str, object]
) -> tuple[float, list[tuple[str, float, float]]]:
    """Return when all clients had started, and of each request the status, its seconds, and when it was answered."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "load.json"
        command = [sys.executable, "-m", "locust", "-f", str(ROOT / "benchmarks/serving_locustfile.py"), "--headless"]
        command += [
            f"--host={address}",
            f"--users={clients}",
            f"--spawn-rate={clients}",
            f"--run-time={math.ceil(seconds) + 1}s",
        ]
        command += ["--only-summary", "--exit-code-on-error=0", f"--stop-timeout={END_TIMEOUT_S}", "--loglevel=WARNING"]
        environment = {**os.environ, "GENAI_LOAD": json.dumps({**values, "out": str(out)})}
        answer = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        if not out.exists():
            raise RuntimeError(f"locust did not run: {answer.stderr[-2000:]}")
        found = json.loads(out.read_text())
    return found["begun"], found["done"]
