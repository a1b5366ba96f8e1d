"""One pipeline on several machines, simulated on one: separate homes, clones and caches, a git remote, an S3 server.

    python -m benchmarks.scale_out                                       # the toy pipeline
    python -m benchmarks.scale_out --pipeline digits --checkout PATH     # the demo's own pipeline
    python -m benchmarks.scale_out --parts worker coordinator            # only these
    python -m benchmarks.scale_out --parts training --checkout PATH
    python -m benchmarks.scale_out --parts nodes --checkout PATH --workers 2

It starts a Prefect server, an S3 server, and workers, each with its own home and no shared disk. Parts:

same         one machine (`--executor local`) and the workers (`--executor pool`) make the same hashes; a second run
             and a fresh clone move nothing
overhead     seconds per stage beyond those of one machine, in a chain of stages that do nothing
sleep        the rate of stages that sleep, on all workers and on one
worker       a busy worker is killed, again and again; the same hashes
coordinator  `genai run` is killed, and a clone takes the run over; the same hashes
nodes        a diffusion model of the digits on one worker and on two together, of a core each: images/s, and losses;
             then two at once, one on each
training     the worker of a small VAE on the digits is killed after its first checkpoint has been sent; the same bytes

Metrics of time (metrics/cost) and the report, which shows them, differ between any two runs and are not compared.
"""

import argparse
import csv
import itertools
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from benchmarks.chain import chain_workspace, measure_chain
from benchmarks.scale_out_machines import (
    POOL,
    QUERY_S,
    Site,
    Worker,
    connect,
    digits_workspace,
    keep_only,
    pool_worker,
    run,
    set_value,
    started_run,
    started_site,
    toy_workspace,
    wait_until_online,
)
from tests.flows.toy_home import own_settings, shell

PARTS = ("same", "overhead", "worker", "coordinator", "sleep", "nodes", "training")
MODELS = [f"model{number}" for number in range(4)]
TIMED = ("metrics/cost/", "reports")  # outputs that show how long something took
MOVED = re.compile(r"^(fetched|sent) ([\d,]+) objects", re.MULTILINE)


def hashes(workspace: Path) -> dict[str, str]:
    """The hash of each output in dvc.lock, but for those that show how long something took."""
    stages = YAML(typ="safe").load(workspace / "dvc.lock")["stages"]
    outs = {out["path"]: out["md5"] for stage in stages.values() for out in stage["outs"]}
    return {path: md5 for path, md5 in outs.items() if not path.startswith(TIMED)}


def left_behind(site: Site, workers: list[Worker]) -> list[str]:
    """Checkouts of jobs, references of runs, and files at the DVC remote that are no objects: all should be gone.

    workers: those that live; a machine that died cannot remove anything.
    """
    places = [str(path) for worker in workers for path in worker.checkouts()]
    return places + shell(site.folder / "origin.git", "git for-each-ref refs/genai").splitlines() + site.own_files()


def kill_at_random(workers: list[Worker], start: Callable[[str], Worker], choices: random.Random, kills: int) -> None:
    """Kill a worker that is busy, and start another one in its place, so many times."""
    for number in range(kills):
        time.sleep(choices.uniform(2.0, 8.0))
        busy = [worker for worker in workers if worker.is_busy()]
        if not busy:
            continue
        victim = choices.choice(busy)
        victim.kill()
        workers.remove(victim)
        workers.append(start(f"replacement-{number}"))
        print(f"  killed {victim.folder.name}", flush=True)


def moved(workspace: Path) -> dict[str, int]:
    """How many objects the workers fetched and sent in the last run, by the logs of its stages."""
    (*_, last) = sorted((workspace / ".genai/runs").glob("*-*"))
    found = [line for log in (last / "logs").glob("*.log") for line in MOVED.findall(log.read_text())]
    return {
        what: sum(int(count.replace(",", "")) for word, count in found if word == what) for what in ("fetched", "sent")
    }


class Measurement:
    """The parts. Each has workspaces of its own, in which nothing has run."""

    def __init__(self, site: Site, arguments: argparse.Namespace, stack: ExitStack) -> None:
        self._site, self._arguments, self._stack = site, arguments, stack
        sleepers = {f"train@s{n}": {"seconds": arguments.sleep_s} for n in range(arguments.sleeps * arguments.workers)}
        self._toy: dict[str, Any] = {f"train@{name}": {"seconds": arguments.seconds} for name in MODELS} | sleepers
        self._is_toy = arguments.pipeline == "toy"
        self._workers: list[Worker] = []
        self._origin = site.folder / "origin.git"
        self._numbers = itertools.count()

    def start_workers(self) -> None:
        self._workers = [self._start(f"worker-{number}") for number in range(self._arguments.workers)]
        wait_until_online(self._site, self._arguments.workers)

    def same(self) -> None:
        one, several = self._pair("same", test_share=0.21)
        seconds = self._run(one, "--executor", "local")
        print(
            f"one machine: {seconds:.1f} s; {self._arguments.workers} workers: {self._pool(several):.1f} s", flush=True
        )
        self._compare(one, several)
        print(f"  objects moved by the workers: {moved(several)}")
        print(f"  again, nothing changed: {self._pool(several):.1f} s", flush=True)
        clone = self._site.folder / "same-clone"
        shell(self._site.folder, f"git clone -q {self._origin} -b {one.name} {clone}")
        shutil.copytree(several / "data/raw", clone / "data/raw", dirs_exist_ok=True)
        print(f"  a fresh clone: {self._pool(clone):.1f} s, objects moved by the workers: {moved(clone)}", flush=True)
        self._compare(one, clone)

    def overhead(self) -> None:
        length = self._arguments.chain
        workspace = chain_workspace(self._site.folder / "chain", length)
        connect(workspace, self._origin)
        shares = (0.1 + number / 1000 for number in itertools.count())

        def run_changed(executor: str) -> float:
            set_value(workspace, "data", "test_share", next(shares))  # so that all stages run
            return self._run(workspace, "--executor", executor)

        measure_chain(run_changed, "pool", self._site.folder / "diary", length, self._arguments.repeats)

    def sleep(self) -> None:
        """The rate of stages that only sleep: one worker of a pool of its own, then all others."""
        each, count = self._arguments.sleeps, self._arguments.workers
        alone = self._start("alone", "alone")
        wait_until_online(self._site, 1, "alone")
        one = self._sleeping("alone", each)
        alone.kill()
        several = self._sleeping(POOL, each * count)
        print(f"stages that sleep {self._arguments.sleep_s:g} s, from the first to the last:")
        print(f"  {each} on one worker {one:.1f} s; {each * count} on {count} workers {several:.1f} s")
        print(f"  rate of {count} workers: {one / several:.3f} of {count} times one", flush=True)

    def _sleeping(self, pool: str, count: int) -> float:
        """Run so many sleeping stages side by side, and return the seconds from the end of the stage before them."""
        names = [f"s{number}" for number in range(count)]
        workspace = toy_workspace(self._site.folder / f"sleep-{pool}", names)
        connect(workspace, self._origin, pool)
        began = time.time()
        self._run(workspace, "--executor", "pool")
        diary = self._site.folder / "diary"
        ends = [noted(diary / stage, "end", began) for stage in ("prepare", *(f"train@{name}" for name in names))]
        return max(ends) - ends[0]

    def worker(self) -> None:
        one, several = self._pair("worker", test_share=0.22)
        self._run(one, "--executor", "local")
        choices = random.Random(self._arguments.seed)
        killer = threading.Thread(
            target=kill_at_random, args=(self._workers, self._start, choices, self._arguments.kills), daemon=True
        )
        killer.start()
        print(f"with {self._arguments.kills} killed workers: {self._pool(several):.1f} s", flush=True)
        killer.join()
        self._compare(one, several)

    def coordinator(self) -> None:
        one, several = self._pair("coordinator", test_share=0.23)
        self._run(one, "--executor", "local")
        choices = random.Random(self._arguments.seed)
        with started_run(self._site, several, "--executor", "pool", toy=self._toy) as process:
            while not any(worker.is_busy() for worker in self._workers):
                time.sleep(0.2)
            time.sleep(choices.uniform(0.0, 2 * self._arguments.seconds))
            process.kill()
        (*_, last) = sorted((several / ".genai/runs").glob("*-*"))
        clone = self._site.folder / "coordinator-clone"
        shell(self._site.folder, f"git clone -q {self._origin} -b {one.name} {clone}")
        seconds = self._run(clone, "--resume", last.name)
        print(f"`genai run` killed; taken over by a clone: {seconds:.1f} s, up to 60 s of it to be certain", flush=True)
        self._compare(one, clone)

    def training(self) -> None:
        one, several = (self._site.folder / name for name in ("training-one", "training"))
        digits_workspace(self._arguments.checkout, one)
        keep_only(one, "vae", total_images=12_000)
        connect(one, self._origin)
        shutil.copytree(one, several, symlinks=True)
        self._run(one, "train@vae", "--executor", "local")
        with started_run(self._site, several, "train@vae", "--executor", "pool", toy={}) as process:
            while process.poll() is None and not any("/checkpoints/" in name for name in self._site.own_files()):
                time.sleep(0.2)
            busy = [worker for worker in self._workers if worker.is_busy()]
            for victim in busy:
                victim.kill()
                self._workers.remove(victim)
            output, _ = process.communicate()
        if process.returncode != 0:
            sys.exit(f"genai run failed:\n{output[-6000:]}")
        (*_, last) = sorted((several / ".genai/runs").glob("*-*"))
        said = [line for line in (last / "logs/train@vae.log").read_text().splitlines() if "checkpoint" in line]
        print(f"a training whose worker was killed ({len(busy)}): {'; '.join(said)}", flush=True)
        self._compare(one, several)

    def nodes(self) -> None:
        """Large batches, so that a core computes for a while before the machines exchange gradients.

        Then two trainings at once, one on each: no training on both can be quicker than their rates together.
        """
        found = []
        for count in (1, 2):
            found.append(self._train(self._training(f"nodes-{count}", count)))
            print(f"{count} x 1 core: {found[-1][0]:,.0f} images/s", flush=True)
        (one, alone), (two, together) = found
        apart = [self._training(f"apart-{number}", 1) for number in range(2)]
        with ThreadPoolExecutor(2) as threads:
            limit = sum(rate for rate, _ in threads.map(self._train, apart))
        print(f"  {two / one:.2f} times as fast; two trainings at once: {limit / one:.2f} times as many images/s")
        print("  losses of one machine, of two:")
        for mine, others in zip(alone, together, strict=True):
            print(f"  {mine['images']:>8} images: {mine['loss']}, {others['loss']}")

    def _training(self, name: str, machines: int) -> Path:
        """A workspace with a diffusion model to be trained on so many machines."""
        workspace = digits_workspace(self._arguments.checkout, self._site.folder / name)
        # Of no effect, but without it, a worker that has trained another one would restore that from its cache.
        watch = {"max_rollbacks": 3 + next(self._numbers), "rollback_rate_factor": 0.5}
        images, batch = self._arguments.images, self._arguments.batch
        width = self._arguments.width
        keep_only(workspace, "diffusion", width, total_images=images, batch_images=batch, watch=watch)
        set_value(workspace, "compute", "checkpoint_every_s", 1e6)
        set_value(workspace, "compute", "num_nodes", machines)
        connect(workspace, self._origin)
        return workspace

    def _train(self, workspace: Path) -> tuple[float, list[dict[str, str]]]:
        """Images per second, and the losses."""
        self._run(workspace, "train@diffusion", "--executor", "pool")
        cost = json.loads((workspace / "metrics/cost/train@diffusion.json").read_text())
        with (workspace / "plots/trained/diffusion/curves.csv").open() as file:
            return cost["images_per_second"], list(csv.DictReader(file))

    def _pair(self, name: str, test_share: float) -> tuple[Path, Path]:
        """Two equal workspaces, connected to the remotes. test_share: of each part another one, so that all runs."""
        first, second = self._site.folder / f"{name}-one", self._site.folder / name
        if self._is_toy:
            toy_workspace(first, MODELS)
        else:
            digits_workspace(self._arguments.checkout, first)
        set_value(first, "data", "test_share", test_share)
        connect(first, self._origin)
        shutil.copytree(first, second, symlinks=True)
        return first, second

    def _run(self, workspace: Path, *arguments: str) -> float:
        return run(self._site, workspace, *arguments, toy=self._toy)

    def _pool(self, workspace: Path) -> float:
        return self._run(workspace, "--executor", "pool")

    def _start(self, name: str, pool: str = POOL) -> Worker:
        worker = Worker(self._site, name, self._toy, pool_worker(name, pool))
        self._stack.callback(_ended, worker)
        return worker

    def _compare(self, one: Path, other: Path) -> None:
        mine, others = hashes(one), hashes(other)
        differing = sorted(path for path in mine.keys() | others.keys() if mine.get(path) != others.get(path))
        print(f"  hashes of all outputs: {f'DIFFERENT: {differing}' if differing else f'the same ({len(mine)})'}")
        print(f"  left behind: {left_behind(self._site, self._workers) or 'nothing'}", flush=True)
        if differing:
            sys.exit(1)


def noted(diary: Path, what: str, after: float) -> float:
    """When a stage noted its start or end, since a moment."""
    entries = [json.loads(line) for line in diary.read_text().splitlines()]
    return next(float(entry["at"]) for entry in entries if entry["what"] == what and entry["at"] > after)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS[:-3])
    parser.add_argument("--pipeline", choices=["toy", "digits"], default="toy")
    parser.add_argument("--checkout", type=Path, help="where the demo has run: for the digits")
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--kills", type=int, default=1, help="workers that are killed while they work")
    parser.add_argument("--repeats", type=int, default=3, help="of the measurement of the overhead")
    parser.add_argument("--chain", type=int, default=10, help="its stages that follow each other")
    parser.add_argument("--sleeps", type=int, default=2, help="sleeping stages per worker")
    parser.add_argument("--sleep-s", type=float, default=60.0, help="seconds that each of them takes")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each training of the toy pipeline")
    parser.add_argument("--images", type=int, default=120_000, help="of each training of the part nodes")
    parser.add_argument("--batch", type=int, default=2_048, help="images of each of its steps")
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite", help="of the Prefect server")
    parser.add_argument("--query-s", type=float, default=QUERY_S, help="how often a worker looks for new jobs")
    parser.add_argument("--width", type=int, help="of its network")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="genai-scale-out-") as name:
        folder = Path(name)
        os.environ.update(own_settings(folder))
        with started_site(folder, arguments.database, arguments.query_s) as site, ExitStack() as stack:
            measurement = Measurement(site, arguments, stack)
            measurement.start_workers()
            for part in arguments.parts:
                getattr(measurement, part)()


def _ended(worker: Worker) -> None:
    with suppress(OSError, ValueError):
        worker.kill()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    main()
