"""Clusters on loopback, started as a user starts them: each worker is a machine with a home of its own."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest

from tests.flows.conftest import wait_for
from tests.project import ROOT

START_S = 60.0


class Cluster:
    """A started cluster. variables: lead the coordinator to it. homes: one of each worker."""

    def __init__(self, homes: list[Path]) -> None:
        self.homes = homes
        self.variables: dict[str, str] = {}
        self.workers: list[subprocess.Popen[bytes]] = []

    def busy(self) -> list[int]:
        """The workers that have a job."""
        return [number for number, home in enumerate(self.homes) if any(home.glob("*/jobs/*/checkout"))]

    def kill(self, number: int) -> None:
        """End all processes of a worker at once, as if its machine died."""
        _end_all(self.workers[number], [process for process in psutil.process_iter() if self._is_of(process, number)])

    def _is_of(self, process: psutil.Process, number: int) -> bool:
        """Whether a process works for the worker, or watches one that does: Slurm's are not children of its daemon."""
        with suppress(psutil.Error):
            watched = process.children() if process.name().startswith("slurmstepd") else [process]
            home = str(self.homes[number])
            return any(one.environ().get("GENAI_WORKER_HOME") == home for one in watched)
        return False


@contextmanager
def dask_cluster(folder: Path, workers: int = 2) -> Iterator[Cluster]:
    """A scheduler and workers of two cores each; the first one has the label `cellar`."""
    _need("distributed")
    cluster, file = Cluster(_homes(folder, workers)), folder / "scheduler.json"
    with ExitStack() as stack:
        scheduler = ["dask", "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
        _started(stack, folder, "scheduler", [*scheduler, "--scheduler-file", str(file)])
        wait_for(lambda: file.is_file() and file.stat().st_size > 0, START_S)
        for number, home in enumerate(cluster.homes):
            offer = "cores=2 memory_gb=8 gpus=0" + (" cellar=2" if number == 0 else "")
            command = [
                "dask",
                "worker",
                "--scheduler-file",
                str(file),
                "--no-nanny",
                "--nthreads",
                "2",
                "--no-dashboard",
            ]
            more = ["--host", "127.0.0.1", "--resources", offer, "--local-directory", str(folder / f"scratch-{number}")]
            own = {"GENAI_WORKER_HOME": str(home)}
            cluster.workers.append(_started(stack, folder, f"worker-{number}", [*command, *more], own))
        cluster.variables = {"DASK_SCHEDULER_ADDRESS": json.loads(file.read_text())["address"]}
        yield cluster


@contextmanager
def ray_cluster(folder: Path, workers: int = 2) -> Iterator[Cluster]:
    """A head without cores, where the test is, and nodes of two cores; the first one has the place `cellar`."""
    _need("ray")
    cluster = Cluster(_homes(folder, workers))
    with ExitStack() as stack:
        # Its sockets have long names, and a socket's name may have 107 bytes.
        scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp"))
        port = _free_port()
        ray = ["ray.scripts.scripts", "start", "--block", "--node-ip-address", "127.0.0.1", "--disable-usage-stats"]
        small = ["--object-store-memory", str(80 * 2**20), "--include-dashboard", "false"]
        head = [*ray, *small, "--head", "--port", str(port), "--num-cpus", "0", "--temp-dir", scratch]
        _started(stack, folder, "head", head)
        wait_for(lambda: _has_started(folder / "head.log"), START_S)
        cluster.variables = {"RAY_ADDRESS": f"127.0.0.1:{port}"}
        for number, home in enumerate(cluster.homes):
            offer = ["--address", f"127.0.0.1:{port}", "--num-cpus", "2", "--num-gpus", "0", *small[:2]]
            place = ["--labels", "place=cellar"] if number == 0 else []
            own = {"GENAI_WORKER_HOME": str(home)}
            cluster.workers.append(_started(stack, folder, f"worker-{number}", [*ray, *offer, *place], own))
            # One after another: two that start at once on a machine may take the same name.
            wait_for(lambda log=folder / f"worker-{number}.log": _has_started(log), START_S)
        yield cluster


def _homes(folder: Path, workers: int) -> list[Path]:
    return [folder / f"home-{number}" for number in range(workers)]


def _has_started(log: Path) -> bool:
    return "Ray runtime started" in log.read_text()


# Daemons of one machine: authentication, controller, and one slurmd for each node.
_SLURM = """
ClusterName=toy
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthInfo=socket={folder}/socket
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/controller.pid
SlurmdPidFile={folder}/%n.pid
SlurmdSpoolDir={folder}/%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
SlurmdTimeout=10
KillWait=5
ReturnToService=2
{nodes}
PartitionName=all Nodes=ALL Default=YES State=UP
"""


@contextmanager
def slurm_cluster(folder: Path, workers: int = 2) -> Iterator[Cluster]:
    """A controller and nodes of two cores each; the first one has the feature `cellar`."""
    if shutil.which("slurmctld") is None or shutil.which("munged") is None or os.getuid() != 0:
        pytest.skip("needs Slurm and munge (apt-get install slurm-wlm munge), and root to start them")
    names = [f"node-{number}" for number in range(workers)]
    cluster = Cluster([folder / "home" / name for name in names])
    with ExitStack() as stack:
        # Its sockets have long names; and munge refuses a folder that others may write to.
        own = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="slurm-", dir="/tmp")))
        own.chmod(0o755)
        for name in ("state", *names):
            (own / name).mkdir()
        host = socket.gethostname().partition(".")[0]
        nodes = [
            f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={_free_port()} CPUs=2 RealMemory=6000"
            for name in names
        ]
        nodes[0] += " Feature=cellar"
        text = _SLURM.format(host=host, port=_free_port(), folder=own, nodes="\n".join(nodes))
        (own / "slurm.conf").write_text(text)
        (own / "key-file").write_bytes(os.urandom(1024))
        (own / "key-file").chmod(0o400)
        at = {"SLURM_CONF": str(own / "slurm.conf")}
        stack.callback(_end_steps_in, folder)
        munge = [f"--{option}={own / option}" for option in ("key-file", "socket", "pid-file", "log-file", "seed-file")]
        _command(stack, folder, "munged", ["munged", "-F", "--force", *munge])
        wait_for(lambda: (own / "socket").exists(), START_S)
        _command(stack, folder, "controller", ["slurmctld", "-D"], at)
        for node in names:
            cluster.workers.append(_command(stack, folder, node, ["slurmd", "-D", "-N", node], at))
        cluster.variables = {**at, "GENAI_WORKER_HOME": str(folder / "home"), "PYTHONPATH": str(ROOT)}
        yield cluster


def _need(library: str) -> None:
    if find_spec(library) is None:
        pytest.skip(f"{library} is not installed; its extra is not part of the test environment")


def _started(
    stack: ExitStack, folder: Path, name: str, module: list[str], own: dict[str, str] | None = None
) -> "subprocess.Popen[bytes]":
    """Start a module of Python, as a program of the environment does."""
    own = {"PYTHONPATH": str(ROOT), **(own or {})}
    return _command(stack, folder, name, [sys.executable, "-m", *module], own)


def _command(
    stack: ExitStack, folder: Path, name: str, command: list[str], own: dict[str, str] | None = None
) -> "subprocess.Popen[bytes]":
    """Start a program, which is ended with its descendants at the end. name: of its log."""
    log = stack.enter_context((folder / f"{name}.log").open("w"))
    environment = {**os.environ, **(own or {})}
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    stack.callback(_end_all, process)
    return process


def _end_all(process: "subprocess.Popen[bytes]", others: Sequence[psutil.Process] = ()) -> None:
    members = list(others)
    with suppress(psutil.NoSuchProcess):
        members += [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    for act in (psutil.Process.suspend, psutil.Process.kill):
        for member in members:
            with suppress(psutil.NoSuchProcess):
                act(member)
    process.wait()


def _end_steps_in(folder: Path) -> None:
    """End what watches jobs of Slurm: it is no child of a daemon, and works in the folder where that was started."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.name().startswith("slurmstepd") and Path(process.cwd()) == folder:
                process.kill()


def _free_port() -> int:
    with socket.socket() as own:
        own.bind(("127.0.0.1", 0))
        return int(own.getsockname()[1])
