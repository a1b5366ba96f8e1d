"""Speed of `genai serve`: one person at the page, many clients, too many, and the bare loop beside it."""

import asyncio
import math
import statistics
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import httpx

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


def first_picture(workspace: Path, model: str) -> list[Measured]:
    """Seconds from the command to the first picture, torch's import included; the file cache is warm."""
    with served(workspace, [model]) as server, server.client() as client:
        client.post("/v1/draw", json={"model": model, "count": 1, "seed": 0}).raise_for_status()
        seconds = time.perf_counter() - server.began
    return [Measured(f"{model}: first picture after the command", seconds, "s", "with torch's import, warm file cache")]


def from_change_to_picture(server: Served, model: str, requests: int) -> list[Measured]:
    """A slider that is dragged: one request after the other, each with another seed."""
    seconds = []
    with server.client() as client:
        for number in range(requests + 5):
            begun = time.perf_counter()
            client.post("/v1/draw", json={"model": model, "count": PAGE_IMAGES, "seed": number}).raise_for_status()
            seconds.append(time.perf_counter() - begun)
    found = [1000 * value for value in seconds[5:]]  # the first ones warm up
    condition = f"{requests} requests of {PAGE_IMAGES} images, one after the other"
    return [
        Measured(f"{model}: from change to picture, p95", percentile(found, 95), "ms", condition),
        Measured(f"{model}: from change to picture, median", statistics.median(found), "ms", condition),
    ]


def throughput(server: Served, model: str, seconds: float, bare_per_second: float) -> list[Measured]:
    """Images per second for 32 clients of four images each, beside the bare loop."""
    done, statuses = asyncio.run(_load(server.address, model, seconds, CLIENTS, 4))
    per_second = 4 * len(done) / seconds
    single, _ = asyncio.run(_load(server.address, model, seconds, CLIENTS, 1))
    overhead = 1000 / per_second - 1000 / bare_per_second
    condition = f"{CLIENTS} clients of 4 images, {seconds:g} s, statuses {statuses}"
    return [
        Measured(f"{model}: throughput", per_second, "images/s", condition),
        Measured(f"{model}: throughput", len(single) / seconds, "images/s", f"{CLIENTS} clients of one image"),
        Measured(
            f"{model}: share of the bare loop's", per_second / bare_per_second, "", f"{bare_per_second:.0f} images/s"
        ),
        Measured(f"{model}: overhead an image", overhead, "ms", "of wall time, all processes on the same cores"),
    ]


def overloaded(server: Served, model: str, seconds: float, capacity_per_second: float) -> list[Measured]:
    """Requests arrive at twice the capacity, whether or not earlier ones are answered."""
    answers = asyncio.run(_open_load(server.address, model, seconds, 2 * capacity_per_second))
    served_s = [duration for status, duration in answers if status == 200]
    refused = [duration for status, duration in answers if status == 429]
    others = [status for status, _ in answers if status not in (200, 429)]
    condition = (
        f"{len(answers)} requests at {2 * capacity_per_second:.0f}/s: {len(served_s)} served, {len(refused)} 429"
    )
    return [
        Measured(f"{model}: p99 at double load", 1000 * percentile(served_s or [float("nan")], 99), "ms", condition),
        Measured(f"{model}: p99 of a 429", 1000 * percentile(refused or [float("nan")], 99), "ms", condition),
        Measured(f"{model}: other answers at double load", len(others), "", f"{Counter(others)}"),
    ]


async def _load(
    address: str, model: str, seconds: float, clients: int, count: int
) -> tuple[list[float], dict[int, int]]:
    """Durations of the requests that ended in time, of clients that ask again at once; and the statuses."""
    done: list[float] = []
    statuses: dict[int, int] = {}
    limits = httpx.Limits(max_connections=clients)
    async with httpx.AsyncClient(base_url=address, timeout=120.0, trust_env=False, limits=limits) as client:
        deadline = time.perf_counter() + seconds

        async def one(number: int) -> None:
            seed = number * 1_000_000
            while (begun := time.perf_counter()) < deadline:
                answer = await client.post("/v1/draw", json={"model": model, "count": count, "seed": seed})
                statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1
                if answer.status_code == 200 and time.perf_counter() <= deadline:
                    done.append(time.perf_counter() - begun)
                seed += count

        await asyncio.gather(*(one(number) for number in range(clients)))
    return done, statuses


async def _open_load(address: str, model: str, seconds: float, per_second: float) -> list[tuple[int | str, float]]:
    """Status (an error's name: no answer) and duration of requests for one image, at a fixed rate."""
    answers: list[tuple[int | str, float]] = []
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=address, timeout=120.0, trust_env=False, limits=limits) as client:

        async def one(seed: int) -> None:
            begun = time.perf_counter()
            try:
                answer = await client.post("/v1/draw", json={"model": model, "count": 1, "seed": seed})
                answers.append((answer.status_code, time.perf_counter() - begun))
            except httpx.HTTPError as error:
                answers.append((type(error).__name__, time.perf_counter() - begun))

        await at_rate(one, per_second, seconds)
    return answers


async def at_rate(start: Callable[[int], Awaitable[None]], per_second: float, seconds: float) -> None:
    """Start tasks at a fixed rate for some seconds, then wait for all."""
    begun, tasks = time.perf_counter(), []
    for number in range(int(per_second * seconds)):
        await asyncio.sleep(max(0.0, begun + number / per_second - time.perf_counter()))
        tasks.append(asyncio.ensure_future(start(number)))
    await asyncio.gather(*tasks)
