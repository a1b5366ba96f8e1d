"""Leases: never double, within a process or between processes, and always released."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from flows import resources as resources_module
from flows.graph import Needs
from flows.resources import Lease, Machine, MachineError, Resources, this_machine
from tests.flows.conftest import ROOT, wait_for

NO_GPU = Machine(cores=4, memory_gb=8.0, gpus=())


def never() -> bool:
    return False


class Peak:
    """The peak use."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.now: dict[str, float] = {}
        self.most: dict[str, float] = {}

    def add(self, **amounts: float) -> None:
        with self._lock:
            for name, amount in amounts.items():
                self.now[name] = self.now.get(name, 0.0) + amount
                self.most[name] = max(self.most.get(name, 0.0), self.now[name])


def hold(resources: Resources, needs: Needs, peak: Peak, seconds: float) -> None:
    with resources.lease(needs, cancelled=never) as lease:
        assert lease is not None
        used = {f"gpu {gpu}": 1.0 for gpu in lease.gpus} | {
            "cores": lease.cores,
            "memory": needs.memory_gb,
            "stages": 1.0,
        }
        peak.add(**used)
        time.sleep(seconds)
        peak.add(**{name: -amount for name, amount in used.items()})


def hold_all(resources: list[Resources], needs: list[Needs], seconds: float = 0.01) -> Peak:
    """Lease each need in its own thread."""
    peak = Peak()
    threads = [
        threading.Thread(target=hold, args=(resources[number % len(resources)], need, peak, seconds))
        for number, need in enumerate(needs)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30.0)
        assert not thread.is_alive(), "a thread never got its lease"
    assert not any(peak.now.values())
    return peak


def test_cores_and_memory_are_never_leased_twice() -> None:
    needs = [Needs(cores=1 + number % 3, memory_gb=number % 4) for number in range(60)]
    peak = hold_all([Resources(NO_GPU)], needs)
    assert 3 <= peak.most["cores"] <= 4
    assert peak.most["memory"] <= 8.0


def test_memory_alone_is_a_limit() -> None:
    peak = hold_all([Resources(NO_GPU)], [Needs(cores=1, memory_gb=5.0)] * 6)
    assert peak.most["stages"] == 1


@pytest.mark.parametrize(
    ("held", "wanted", "missing"),
    [
        (Needs(cores=3), Needs(cores=2), "2 free cores"),
        (Needs(cores=4), Needs(cores=1), "a free core"),
        (Needs(cores=1, memory_gb=6.0), Needs(cores=1, memory_gb=4.0), "4 GB of free memory"),
        (Needs(cores=1, gpus=1), Needs(cores=1, gpus=1), "a free GPU"),
    ],
)
def test_says_once_what_a_long_wait_is_for(
    held: Needs, wanted: Needs, missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.resources.SHORT_WAIT_S", 0.0)
    resources = Resources(Machine(cores=4, memory_gb=8.0, gpus=("0",)), lock_folder=tmp_path)
    said: list[str] = []
    looks = iter(range(3))
    with (
        resources.lease(held, never) as first,
        resources.lease(wanted, lambda: next(looks, None) is None, said.append) as second,
    ):
        assert (first is not None, second) == (True, None)
    assert said == [missing]


def test_stage_that_needs_more_than_the_machine_runs_alone() -> None:
    needs = [Needs(cores=64, memory_gb=1000.0, gpus=8), *[Needs(cores=1)] * 20, Needs(cores=64)]
    resources = Resources(NO_GPU)
    peak = hold_all([resources], needs)
    assert peak.most["cores"] == 4
    with resources.lease(needs[0], cancelled=never) as lease:
        assert lease == Lease(cores=4, gpus=())


def test_failing_body_releases_its_lease() -> None:
    resources = Resources(NO_GPU)
    for _ in range(3):
        with pytest.raises(RuntimeError), resources.lease(Needs(cores=4, memory_gb=8.0), cancelled=never):
            raise RuntimeError
    with resources.lease(Needs(cores=4, memory_gb=8.0), cancelled=never) as lease:
        assert lease is not None


def test_stop_ends_the_wait_for_a_lease() -> None:
    resources, stopping = Resources(NO_GPU), threading.Event()
    leases: list[Lease | None] = []

    def wait() -> None:
        with resources.lease(Needs(cores=4), cancelled=stopping.is_set) as lease:
            leases.append(lease)

    with resources.lease(Needs(cores=4), cancelled=never):
        thread = threading.Thread(target=wait)
        thread.start()
        time.sleep(0.1)
        stopping.set()
        thread.join(2.0)
        assert leases == [None]
    with resources.lease(Needs(cores=4), cancelled=never) as lease:
        assert lease is not None


@pytest.mark.parametrize("stages_per_gpu", [1, 2])
def test_gpus_are_exclusive_between_threads_and_runs(tmp_path: Path, stages_per_gpu: int) -> None:
    machine = Machine(cores=64, memory_gb=64.0, gpus=("0", "1"))
    runs = [Resources(machine, stages_per_gpu, tmp_path) for _ in range(2)]
    peak = hold_all(runs, [Needs(gpus=1 + number % 2) for number in range(16)], seconds=0.02)
    assert peak.most["gpu 0"] == peak.most["gpu 1"] == stages_per_gpu


def test_two_gpus_for_one_stage_are_two_different_ones(tmp_path: Path) -> None:
    machine = Machine(cores=4, memory_gb=8.0, gpus=("0", "1"))
    with Resources(machine, 3, tmp_path).lease(Needs(gpus=2), cancelled=never) as lease:
        assert lease is not None
        assert sorted(lease.gpus) == ["0", "1"]
        assert sorted(lease.environment()["CUDA_VISIBLE_DEVICES"].split(",")) == ["0", "1"]


def test_a_stage_without_a_lease_sees_no_gpu(tmp_path: Path) -> None:
    machine = Machine(cores=4, memory_gb=8.0, gpus=("3",))
    resources = Resources(machine, 1, tmp_path)
    with resources.lease(Needs(gpus=0), cancelled=never) as without, resources.lease(Needs(gpus=1), never) as having:
        assert without is not None
        assert having is not None
        assert without.environment() == {"CUDA_VISIBLE_DEVICES": ""}
        assert having.environment() == {"CUDA_VISIBLE_DEVICES": "3"}


def test_gpu_is_exclusive_between_processes_and_free_after_a_kill(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from flows.graph import Needs\n"
        "from flows.resources import Machine, Resources\n"
        "machine = Machine(cores=1, memory_gb=1.0, gpus=('0',))\n"
        "with Resources(machine, 1, Path(sys.argv[1])).lease(Needs(gpus=1), lambda: False):\n"
        "    print('held', flush=True); time.sleep(600)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, tmp_path], cwd=ROOT, stdout=subprocess.PIPE)
    got: list[Lease | None] = []

    def take() -> None:
        machine = Machine(cores=4, memory_gb=8.0, gpus=("0",))
        with Resources(machine, 1, tmp_path).lease(Needs(gpus=1), cancelled=never) as lease:
            got.append(lease)

    thread = threading.Thread(target=take)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        thread.start()
        time.sleep(0.6)
        assert got == []
    finally:
        holder.kill()
        holder.communicate()
    wait_for(lambda: got, 3.0)
    thread.join()


def test_this_machine_honours_cuda_visible_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    for visible, gpus in (("", ()), ("-1", ()), ("1, 3", ("1", "3")), ("GPU-5a,GPU-5b", ("GPU-5a", "GPU-5b"))):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert this_machine("auto").gpus == gpus
    assert this_machine("cpu").gpus == ()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,-1,1")  # CUDA takes none after the first that is not there
    assert this_machine("auto").gpus == ("0",)


def test_this_machine_asks_nvidia_smi(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert this_machine("auto").gpus == ()
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 0; echo 1\n")
    tool.chmod(0o755)
    assert this_machine("cuda").gpus == ("0", "1")
    tool.write_text("#!/bin/sh\necho 'no driver' >&2; exit 9\n")
    assert this_machine("cuda").gpus == ()


def test_this_machine_counts_what_the_process_may_use() -> None:
    machine = this_machine("cpu")
    assert 1 <= machine.cores <= len(psutil.Process().cpu_affinity())
    assert 0 < machine.memory_gb <= psutil.virtual_memory().total / 2**30


def test_a_mig_name_with_slashes_can_be_leased(tmp_path: Path) -> None:
    machine = Machine(cores=1, memory_gb=1.0, gpus=("MIG-GPU-5a/1/0",))
    with Resources(machine, 1, tmp_path / "locks").lease(Needs(gpus=1), cancelled=never) as lease:
        assert lease is not None
        assert lease.environment() == {"CUDA_VISIBLE_DEVICES": "MIG-GPU-5a/1/0"}


def test_nvidia_smi_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\nexec sleep 5\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(resources_module, "ANSWER_TIMEOUT_S", 0.1)
    with pytest.raises(MachineError, match=r"nvidia-smi did not answer within 0\.1 s"):
        this_machine("auto")
    assert this_machine("cpu").gpus == ()
