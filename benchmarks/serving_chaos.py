"""Many requests, clients that leave, moves of production and kills of the model process: is an answer wrong or lost?

A repository of its own with two versions, each a real model of the workspace. Each answer says its version, seed and
class, and is compared, pixel for pixel, with what the library draws from them.
"""

import asyncio
import base64
import io
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
from PIL import Image

from benchmarks.serving_load import Measured, percentile
from benchmarks.serving_server import ROOT, Served, served
from genai_core.model import SELECTION_FILE, load_model

CLIENTS, MOVES, KILLS = 50, 5, 2
SEEDS = 40
LEAVING_SHARE = 0.1
WARM_UP = 300

PIPELINE = """
artifacts:
  candidate: {path: models/candidate, type: model}
stages:
  candidate:
    cmd: mkdir -p models && cp -r data/raw models/candidate
    deps: [data/raw]
    outs: [models/candidate]
"""

Key = tuple[str, int, str]  # version, seed, class


@dataclass
class Tally:
    """What became of the requests."""

    statuses: Counter[int] = field(default_factory=Counter)
    left: int = 0  # clients that closed the connection on purpose
    lost: int = 0  # no answer, though the client waited
    wrong: int = 0
    versions: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)


def chaos(models: tuple[Path, Path], requests: int, seed: int) -> list[Measured]:
    """models: folders of two models with the same classes."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        expected = _two_versions(home, models)
        with served(home, ["prod"], "--queue=4096") as server:
            asyncio.run(_requests(server, expected, WARM_UP, random.Random(seed), {}, Tally()))
            before = server.memory_mb()
            acts = _acts(home, server, requests)
            tally = Tally()
            begun = time.perf_counter()
            asyncio.run(_requests(server, expected, requests, random.Random(seed), acts, tally))
            seconds = time.perf_counter() - begun
            time.sleep(2.0)
            after = server.memory_mb()
    condition = f"{requests} requests of {CLIENTS} clients, {MOVES} moves of production, {KILLS} kills, {seconds:.0f} s"
    return [
        Measured("answered with 200", tally.statuses[200], "", condition),
        Measured("wrong pixels", tally.wrong, "", f"of {tally.statuses[200]}; versions {dict(tally.versions)}"),
        Measured("lost without an answer", tally.lost, "", f"{tally.left} clients left on purpose"),
        Measured("other statuses", sum(tally.statuses.values()) - tally.statuses[200], "", f"{dict(tally.statuses)}"),
        Measured("p99 of an answer", 1000 * percentile(tally.seconds, 99), "ms", condition),
        Measured("memory at the end, of that at the start", after / before, "", f"{before:.0f} and {after:.0f} MB"),
    ]


def _two_versions(home: Path, models: tuple[Path, Path]) -> dict[Key, bytes]:
    """Make the repository, and return what each version draws from each seed and class."""
    home.mkdir()
    (home / "dvc.yaml").write_text(PIPELINE)
    (home / ".gitignore").write_text(".genai/\n/data/raw\n/models/\n/votes/\n")
    shutil.copy(ROOT / "params.yaml", home)
    _shell(home, "git init -q -b main && dvc init -q && dvc config core.autostage false && mkdir data")
    expected: dict[Key, bytes] = {}
    for number, folder in enumerate(models, start=1):
        shutil.rmtree(home / "data/raw", ignore_errors=True)
        shutil.copytree(folder, home / "data/raw")
        if not (home / "data/raw" / SELECTION_FILE).exists():
            _select(home / "data/raw")
        _shell(home, f"dvc add -q data/raw && dvc repro -q && git add -A && git commit -q -m 'model {number}'")
        _genai(home, "promote")
        model = load_model(home / "models/candidate")
        for name in model.classes or ("",):
            drawn = model.draw(SEEDS, classes=name or None)
            expected |= {(f"v0.0.{number}", seed, name): drawn.pixels[seed].tobytes() for seed in range(SEEDS)}
    return expected


def _select(folder: Path) -> None:
    """Write what makes a trained model a candidate: the options with which it draws, and a figure."""
    model = load_model(folder)
    chosen = {"family": model.family, "metric": "fd", "figures": {"fd": 1.0}, "reason": "for a benchmark"}
    sampling = model.sampling.model_dump(mode="json")
    (folder / SELECTION_FILE).write_text(json.dumps({**chosen, "sampling": sampling}))


def _acts(home: Path, server: Served, requests: int) -> dict[int, Callable[[], None]]:
    """What happens when so many requests have been sent."""
    moves = [int(requests * (number + 1) / (MOVES + 1)) for number in range(MOVES)]
    kills = [int(requests * (number + 1) / (KILLS + 1)) + 7 for number in range(KILLS)]

    alone, targets = threading.Lock(), itertools.cycle(("v0.0.1", "v0.0.2"))

    def move() -> None:
        with alone:  # production is v0.0.2 at first
            _genai(home, "rollback", "--to", next(targets))

    def kill() -> None:
        for process in server.model_processes():
            os.kill(process.pid, signal.SIGKILL)

    return {**dict.fromkeys(kills, kill), **dict.fromkeys(moves, move)}


async def _requests(
    server: Served,
    expected: dict[Key, bytes],
    requests: int,
    chance: random.Random,
    acts: dict[int, Callable[[], None]],
    tally: Tally,
) -> None:
    classes = sorted({name for _, _, name in expected})
    sent = iter(range(requests))
    begun: list[asyncio.Future[None]] = []
    limits = httpx.Limits(max_connections=CLIENTS)
    async with httpx.AsyncClient(base_url=server.address, timeout=120.0, trust_env=False, limits=limits) as client:

        async def one() -> None:
            for number in sent:
                if number in acts:
                    begun.append(asyncio.ensure_future(asyncio.to_thread(acts[number])))
                body = {"seed": chance.randrange(SEEDS), "class": chance.choice(classes) or None}
                leaves = chance.uniform(0.0, 0.05) if chance.random() < LEAVING_SHARE else None
                await _ask(client, body, leaves, expected, tally)

        await asyncio.gather(*(one() for _ in range(CLIENTS)))
        await asyncio.gather(*begun)


async def _ask(
    client: httpx.AsyncClient, body: dict[str, object], leaves: float | None, expected: dict[Key, bytes], tally: Tally
) -> None:
    begun = time.perf_counter()
    try:
        async with asyncio.timeout(leaves):
            answer = await client.post("/v1/draw", json=body)
    except TimeoutError:
        tally.left += 1
        return
    except httpx.HTTPError:
        tally.lost += 1
        return
    tally.statuses[answer.status_code] += 1
    tally.seconds.append(time.perf_counter() - begun)
    if answer.status_code != 200:
        return
    (image,) = answer.json()["images"]
    version = image["provenance"]["version"]
    tally.versions[version] += 1
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(image["b64"]))))
    pixels = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    if pixels.tobytes() != expected.get((version, body["seed"], body["class"] or "")):  # type: ignore[arg-type]
        tally.wrong += 1


def _genai(home: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "flows.cli", "--workspace", str(home), *arguments]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)


def _shell(folder: Path, command: str) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(command, shell=True, cwd=folder, check=True, env={**os.environ, "PATH": path})
