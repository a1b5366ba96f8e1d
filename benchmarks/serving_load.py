"""Speed of `genai serve`: one person at the page, many clients, too many, and the bare loop beside it."""

import math
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.serving_locust import closed_load
from benchmarks.serving_rate import open_load
from benchmarks.serving_server import Served, served

CLIENTS = 32
PAGE_IMAGES = 16


@dataclass(frozen=True)
class Measured:
    """One row: what, its value with unit, and under which condition."""

    what: str
    value: float | int
    unit: str
    condition: str = ""

    def line(self) -> str:
        value = f"{self.value:,}" if isinstance(self.value, int) else f"{self.value:.4g}"
        return f"| {self.what} | {value} {self.unit} | {self.condition} |"


def percentile(values: list[float], percent: float) -> float:
    """The value that `percent` of the values do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def first_picture(workspace: Path, argument: str, model: str) -> list[Measured]:
    """Seconds from `genai serve ARGUMENT` to the first picture, torch's import included; the file cache is warm."""
    with served(workspace, [argument]) as server, server.client() as client:
        client.post("/v1/draw", json={"model": model, "count": 1, "seed": 0}).raise_for_status()
        seconds = time.perf_counter() - server.began
    return [Measured(f"{model}: first picture after the command", seconds, "s", "with torch's import, warm file cache")]


def from_change_to_picture(server: Served, model: str, requests: int) -> list[Measured]:
    """A slider that is dragged: one request after the other, each with another seed."""
    found = alone(server, model, requests, PAGE_IMAGES)
    condition = f"{requests} requests of {PAGE_IMAGES} images, one after the other"
    return [
        Measured(f"{model}: from change to picture, p95", percentile(found, 95), "ms", condition),
        Measured(f"{model}: from change to picture, median", statistics.median(found), "ms", condition),
    ]


def single_images(server: Served, model: str, requests: int, seconds: float) -> list[Measured]:
    """What serving_peer.py measures of Gradio, here of `genai serve`."""
    found, load = alone(server, model, requests, 1), closed_load(server.address, "genai", model, CLIENTS, 1, seconds)
    clients = f"{CLIENTS} clients of one image, statuses {load.statuses}"
    return [
        Measured(f"{model}: one image, median", statistics.median(found), "ms", f"{requests} requests"),
        Measured(f"{model}: one image, p95", percentile(found, 95), "ms", f"{requests} requests"),
        Measured(f"{model}: throughput", load.served_per_second, "images/s", clients),
    ]


def alone(server: Served, model: str, requests: int, images: int) -> list[float]:
    """Milliseconds of requests, one after the other."""
    seconds = []
    with server.client() as client:
        for number in range(requests + 5):
            begun = time.perf_counter()
            client.post("/v1/draw", json={"model": model, "count": images, "seed": number}).raise_for_status()
            seconds.append(time.perf_counter() - begun)
    return [1000 * value for value in seconds[5:]]  # the first ones warm up


def throughput(server: Served, model: str, seconds: float, bare_per_second: float) -> list[Measured]:
    """Images per second for 32 clients of four images each, beside the bare loop."""
    several = closed_load(server.address, "genai", model, CLIENTS, 4, seconds)
    single = closed_load(server.address, "genai", model, CLIENTS, 1, seconds)
    per_second = 4 * several.served_per_second
    overhead = 1000 / per_second - 1000 / bare_per_second
    condition = f"{CLIENTS} clients of 4 images, {seconds:g} s, statuses {several.statuses}"
    return [
        Measured(f"{model}: throughput", per_second, "images/s", condition),
        Measured(f"{model}: throughput", single.served_per_second, "images/s", f"{CLIENTS} clients of one image"),
        Measured(
            f"{model}: share of the bare loop's", per_second / bare_per_second, "", f"{bare_per_second:.0f} images/s"
        ),
        Measured(f"{model}: overhead an image", overhead, "ms", "of wall time, all processes on the same cores"),
    ]


def capacity(server: Served, model: str, images: int, seconds: float) -> float:
    """Requests for so many images that are served per second, none of them refused."""
    return closed_load(server.address, "genai", model, CLIENTS, images, seconds).served_per_second


def overloaded(server: Served, model: str, seconds: float, images: int, capacity_per_second: float) -> list[Measured]:
    """Requests for so many images arrive at twice the capacity, whether or not earlier ones are answered.

    capacity_per_second: requests of this size that are served when none is refused.
    """
    load = open_load(server.address, model, 2 * capacity_per_second, images, seconds)
    served_s, refused_s = load.durations("200"), load.durations("429")
    others = {status: count for status, count in load.statuses.items() if status not in ("200", "429")}
    condition = (
        f"{len(load.ended)} requests of {images} images in {seconds:g} s, of which {capacity_per_second:.0f}/s can be "
        f"served: {len(served_s)} served, {len(refused_s)} got 429"
    )
    share = load.served_per_second / capacity_per_second
    return [
        Measured(f"{model}: served at double load, of the capacity", share, "", condition),
        Measured(
            f"{model}: p99 at double load", 1000 * percentile(served_s or [math.nan], 99), "ms", "of those served"
        ),
        Measured(f"{model}: p99 of a 429", 1000 * percentile(refused_s or [math.nan], 99), "ms", ""),
        Measured(f"{model}: other answers at double load", sum(others.values()), "", f"{others}"),
    ]
