"""A pipeline on a cluster of Ray, Dask or Slurm on this machine: hashes, a killed worker, overhead a stage.

    python -m benchmarks.engines dask          # or ray, slurm; what has to be installed: docs/machines.md
    python -m benchmarks.engines dask --kill   # a worker, in the middle of a training
    python -m benchmarks.engines dask ray slurm --workers 3 --checkout PATH   # the demo's; `make demo` has run in PATH
    python -m benchmarks.engines dask --chain 10    # the overhead of ten stages that do nothing
    python -m benchmarks.engines dask --branches 4  # what four chains of stages move, with and without data locality

It starts the cluster with workers of two cores each, which share no disk but the git and the DVC remote. Slurm's nodes
share the workspace, too. The toy pipeline runs on this machine and on the cluster, and the hashes of all outputs are
compared; again after a change of the first stage. The demo's pipeline runs once on this machine, and on each cluster
twice, the second time with nothing changed.

--chain runs stages that follow each other instead, and prints the overhead per stage with warm workers.

--branches runs several such chains side by side, whose stages read and make 5 MB, on new workers. It counts what these
fetch if a stage goes where its inputs are, and if the engine alone chooses.
"""

import argparse
import itertools
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.chain import branches_workspace, chain_workspace, measure_chain
from benchmarks.scale_out import MODELS, hashes
from benchmarks.scale_out_machines import digits_workspace, set_value, toy_workspace
from flows.data.stores import add_default_remote
from tests.flows.executors.clusters import Cluster, dask_cluster, ray_cluster, slurm_cluster
from tests.flows.toy_home import own_settings, shell
from tests.project import ROOT

CLUSTERS = {"dask": dask_cluster, "ray": ray_cluster, "slurm": slurm_cluster}
LEVELS = 3  # of the toy pipeline: stages that wait for each other
STEPS, SIZE_BYTES = 5, 5_000_000  # of each of several chains
FETCHED = re.compile(r"^fetched (\d+) objects, ([\d.]+) MB", re.MULTILINE)
CLI = ("-m", "flows.cli")
_NOWHERE = "from flows.executors.locality import Locality; Locality.near = lambda *_: ()"
WITHOUT_LOCALITY = ("-c", f"{_NOWHERE}; from flows.cli import main; main()")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engines", nargs="+", choices=sorted(CLUSTERS), help="several with --checkout only")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each of four trainings")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--checkout", type=Path, help="run the demo's pipeline with the images that are there")
    parser.add_argument("--kill", action="store_true", help="one run, in which a worker is killed")
    parser.add_argument("--chain", type=int, help="measure the overhead in a chain of so many stages")
    parser.add_argument("--repeats", type=int, default=3, help="of this measurement")
    parser.add_argument("--branches", type=int, help="count what so many chains of stages move")
    arguments = parser.parse_args()
    if arguments.checkout and (arguments.kill or arguments.chain or arguments.branches):
        parser.error("--checkout is a whole run: without --kill, --chain and --branches")
    if len(arguments.engines) > 1 and not arguments.checkout:
        parser.error("several engines need --checkout")
    if arguments.kill and arguments.workers > len(MODELS):
        parser.error(f"--kill: a worker is killed when each of them trains, and there are {len(MODELS)} trainings")
    with tempfile.TemporaryDirectory(prefix="genai-engines-") as name:
        folder = Path(name)
        os.environ.update(own_settings(folder))
        os.environ.update(PYTHONPATH=str(ROOT), TOY_DIARY=str(folder / "diary"), HOME=str(folder))
        os.environ["TOY"] = json.dumps({f"train@{name}": {"seconds": arguments.seconds} for name in MODELS})
        if arguments.branches:
            locality(folder, arguments)
        elif arguments.chain:
            overhead(folder, arguments)
        elif arguments.checkout:
            demo(folder, arguments)
        else:
            measure(folder, arguments)


def overhead(folder: Path, arguments: argparse.Namespace) -> None:
    (engine,), length = arguments.engines, arguments.chain
    workspace = chain_workspace(folder / "chain", length)
    connect(folder, workspace)
    shares = (0.1 + number / 1000 for number in itertools.count())

    def run_changed(executor: str) -> float:
        set_value(workspace, "data", "test_share", next(shares))  # so that all stages run
        return run(workspace, executor)

    with CLUSTERS[engine](folder, arguments.workers) as cluster:
        os.environ.update(cluster.variables)
        measure_chain(run_changed, engine, folder / "diary", length, arguments.repeats)


def locality(folder: Path, arguments: argparse.Namespace) -> None:
    """Each chain on new workers, whose caches are empty. The stages' seconds differ, so that the chains drift apart."""
    (engine,), branches = arguments.engines, arguments.branches
    names = [f"train@branch{branch}step{step}" for branch in range(branches) for step in range(STEPS)]
    seconds = random.Random(31)
    os.environ["TOY"] = json.dumps({name: {"seconds": round(seconds.uniform(0.2, 1.5), 1)} for name in names})
    for what, entry in (("data locality", CLI), ("the engine alone", WITHOUT_LOCALITY)):
        own = folder / what.replace(" ", "-")
        own.mkdir()
        workspace = branches_workspace(own / "branches", branches, STEPS, SIZE_BYTES)
        connect(own, workspace)
        with CLUSTERS[engine](own, arguments.workers) as cluster:
            os.environ.update(cluster.variables)
            took = run(workspace, engine, entry)
        (folder_of_run,) = (workspace / ".genai/runs").glob("*-*")
        logs = [log.read_text() for log in (folder_of_run / "logs").glob("*.log")]
        fetched = [(int(found[1]), float(found[2])) for log in logs for found in FETCHED.finditer(log)]
        objects, megabytes = sum(count for count, _ in fetched), sum(size for _, size in fetched)
        nothing = sum(count == 0 for count, _ in fetched)
        print(f"{what}: {len(logs)} stages, {took:.1f} s; fetched {objects} objects, {megabytes:.1f} MB; ", end="")
        print(f"{nothing} stages fetched nothing", flush=True)


def connect(folder: Path, workspace: Path) -> None:
    """Give the workspace a git and a DVC remote in the folder."""
    shell(folder, f"git init -q --bare {folder / 'origin.git'}")
    add_default_remote(workspace, str(folder / "store"))
    set_value(workspace, "compute", "accelerator", "cpu")
    shell(workspace, f"git remote remove origin; git remote add origin {folder / 'origin.git'}")
    shell(workspace, "git add -A && git commit -q -m connected")
    shell(workspace, "git push -q origin HEAD:main")


def measure(folder: Path, arguments: argparse.Namespace) -> None:
    (engine,) = arguments.engines
    workspace = toy_workspace(folder / "one", MODELS)
    connect(folder, workspace)
    several = shutil.copytree(workspace, folder / "several", symlinks=True)
    alone_s = run(workspace, "local")
    print(f"one machine: {alone_s:.1f} s", flush=True)
    with CLUSTERS[engine](folder, arguments.workers) as cluster:
        os.environ.update(cluster.variables)
        if arguments.kill:
            killer = threading.Thread(target=kill_one, args=(cluster,), daemon=True)
            killer.start()
            print(f"{engine}, with a killed worker: {run(several, engine):.1f} s", flush=True)
            compare(workspace, several)
            return
        for what in ("cold workers", "a changed parameter, warm workers"):
            seconds = run(several, engine)
            print(f"{engine}, {what}: {seconds:.1f} s; {(seconds - alone_s) / LEVELS:.1f} s more a level of the graph")
            compare(workspace, several)
            change_all(workspace, several, 8)


def demo(folder: Path, arguments: argparse.Namespace) -> None:
    """The demo's pipeline on this machine, then on each engine with remotes and homes of its own."""
    new = digits_workspace(arguments.checkout, folder / "new")
    places = {}
    for name in ("one", *arguments.engines):
        places[name] = shutil.copytree(new, folder / name / "workspace", symlinks=True)
        connect(folder / name, places[name])
    print(f"one machine: {run(places['one'], 'local'):.1f} s", flush=True)
    for engine in arguments.engines:
        with CLUSTERS[engine](folder / engine, arguments.workers) as cluster:
            os.environ.update(cluster.variables)
            print(f"{engine}, {arguments.workers} workers: {run(places[engine], engine):.1f} s", flush=True)
            compare(places["one"], places[engine])
            print(f"  again, nothing changed: {run(places[engine], engine):.1f} s", flush=True)


def change_all(workspace: Path, several: Path, image_size: int) -> None:
    """Change what the first stage depends on, and run on one machine."""
    for place in (workspace, several):
        set_value(place, "data", "image_size", image_size)
    run(workspace, "local")


def run(workspace: Path, executor: str, entry: Sequence[str] = CLI) -> float:
    """Run the pipeline, and return its seconds."""
    command = [sys.executable, *entry, "--workspace", str(workspace), "run", "--executor", executor]
    began = time.monotonic()
    answer = subprocess.run(command, cwd=workspace, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        sys.exit(f"genai run --executor {executor} failed:\n{answer.stdout[-3000:]}{answer.stderr[-3000:]}")
    for line in answer.stdout.splitlines():
        if "lost:" in line:
            print(f"  {line.strip()}", flush=True)
    return time.monotonic() - began


def compare(workspace: Path, several: Path) -> None:
    one, other = hashes(workspace), hashes(several)
    if one != other:
        sys.exit(f"DIFFERENT: {sorted(path for path in one.keys() | other.keys() if one.get(path) != other.get(path))}")
    refs = shell(several.parent / "origin.git", "git for-each-ref refs/genai")
    print(f"  the same hashes ({len(one)}); left at the git remote: {refs or 'nothing'}", flush=True)


def kill_one(cluster: Cluster) -> None:
    """Kill a worker as soon as each has a job: then trainings run."""
    while len(busy := cluster.busy()) < len(cluster.workers):
        time.sleep(0.1)
    cluster.kill(busy[0])
    print(f"  killed worker {busy[0]}", flush=True)


if __name__ == "__main__":
    main()
