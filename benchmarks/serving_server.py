"""A `genai serve` for benchmarks: started, asked and ended, with the memory of its processes."""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

ROOT = Path(__file__).parents[1]
START_TIMEOUT_S = 120.0


@dataclass
class Served:
    """A running server. began: when the command was started."""

    process: "subprocess.Popen[str]"
    address: str
    began: float

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.address, timeout=120.0, trust_env=False)

    def model_processes(self) -> list[psutil.Process]:
        """The processes that hold models."""
        family = psutil.Process(self.process.pid).children(recursive=True)
        return [child for child in family if "tasks.serve" in " ".join(_command(child))]

    def memory_mb(self) -> float:
        """Resident memory of the server and its children."""
        family = [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]
        return sum(member.memory_info().rss for member in family if member.is_running()) / 1e6


@contextmanager
def served(workspace: Path, models: list[str], *options: str) -> Iterator[Served]:
    """Start `genai serve MODELS` on a free port; end it with SIGTERM."""
    command = [sys.executable, "-m", "flows.cli", "--workspace", str(workspace), "serve", "--port=0", *options, *models]
    log = Path(workspace) / ".genai/logs/benchmark-serve.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    with log.open("w") as errors:
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True)
    try:
        assert process.stdout is not None
        found = next((match for line in process.stdout if (match := re.match(r"http://\S+", line))), None)
        if found is None:
            raise RuntimeError(f"genai serve did not start: {log.read_text()[-2000:]}")
        yield Served(process, found[0], began)
        process.send_signal(signal.SIGTERM)
        process.wait(30.0)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        assert process.stdout is not None
        process.stdout.close()


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
