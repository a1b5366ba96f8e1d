"""Load on the same model behind Gradio: latency of one client, and images per second of 32."""

import os
import socket
import statistics
import subprocess
import time
from pathlib import Path

import httpx

from benchmarks.serving_load import CLIENTS, Measured, percentile
from benchmarks.serving_locust import closed_load
from benchmarks.serving_server import ROOT, START_TIMEOUT_S

REQUESTS = 30


def gradio_beside(python: str, model: Path, name: str, seconds: float) -> list[Measured]:
    """python: an interpreter with gradio and what the library needs."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1"}
    command = [python, str(ROOT / "benchmarks/serving_gradio.py"), str(model), str(port)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        _wait(process, address)
        return _measure(address, name, seconds)
    finally:
        process.kill()
        process.wait()


def _wait(process: "subprocess.Popen[bytes]", address: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            httpx.get(address, trust_env=False)
        except httpx.HTTPError:
            time.sleep(0.2)
        else:
            return
    raise RuntimeError("Gradio did not start")


def _measure(address: str, name: str, seconds: float) -> list[Measured]:
    with httpx.Client(base_url=address, timeout=120.0, trust_env=False) as client:
        for seed in range(5):
            _draw(client, seed)
        alone = [1000 * _draw(client, seed) for seed in range(REQUESTS)]
    load = closed_load(address, "gradio", "", CLIENTS, 1, seconds)
    clients = f"{CLIENTS} clients of one image, statuses {load.statuses}"
    return [
        Measured(f"{name} behind Gradio: one image, median", statistics.median(alone), "ms", f"{REQUESTS} requests"),
        Measured(f"{name} behind Gradio: one image, p95", percentile(alone, 95), "ms", f"{REQUESTS} requests"),
        Measured(f"{name} behind Gradio: throughput", load.served_per_second, "images/s", clients),
    ]


def _draw(client: httpx.Client, seed: int) -> float:
    """Ask for one image by Gradio's two-step API, and return the seconds to the picture."""
    begun = time.perf_counter()
    event = client.post("/gradio_api/call/draw", json={"data": [seed]}).raise_for_status().json()["event_id"]
    with client.stream("GET", f"/gradio_api/call/draw/{event}") as stream:
        for line in stream.iter_lines():
            if line.startswith("event: error"):
                raise RuntimeError("Gradio answered with an error")
            if line.startswith("data:") and len(line) > 50:
                break
    return time.perf_counter() - begun
