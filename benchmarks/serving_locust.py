"""Load by locust, in a process of its own: clients that ask again at once."""

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
    values = {"kind": kind, "model": model, "images": images}
    begun, done = _run(address, clients, seconds, values)
    return Load(seconds, tuple((status, took) for status, took, at in done if begun <= at <= begun + seconds))


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
