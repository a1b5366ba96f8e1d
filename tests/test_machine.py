"""Cores and memory of a container, from the files of /proc and cgroups: v1, v2 and both."""

from pathlib import Path

import psutil
import pytest

from genai_core.config.machine import usable_cores, usable_memory_bytes

CORES = len(psutil.Process().cpu_affinity())
MEMORY = psutil.virtual_memory().total
GIB = 2**30


class Tree:
    """A fake /proc/self and its mounts, below a folder."""

    def __init__(self, folder: Path) -> None:
        self.proc, self._top = folder / "proc", folder / "sys/fs/c group"  # mountinfo writes a space as \040
        self.proc.mkdir()
        self._mounts = ["22 1 0:21 / /proc rw,nosuid - proc proc rw"]

    def mount(self, kind: str, name: str, *, root: str = "/", controllers: str = "") -> Path:
        place = self._top / name
        place.mkdir(parents=True)
        written = str(place).replace(" ", "\\040")
        self._mounts.append(f"33 22 0:3 {root} {written} rw,relatime shared:9 - {kind} cgroup rw,{controllers}")
        (self.proc / "mountinfo").write_text("\n".join(self._mounts))
        return place

    def own(self, *lines: str) -> None:
        (self.proc / "cgroup").write_text("\n".join(lines))


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def put(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("_", ".", 1)).write_text(f"{text}\n")


def found(tree: Tree) -> tuple[int, int]:
    return usable_cores(tree.proc), usable_memory_bytes(tree.proc)


def test_a_container_of_version_2(tree: Tree) -> None:
    """In its own namespace: it sees its cgroup as the root."""
    top = tree.mount("cgroup2", "")
    tree.own("0::/")
    put(top, cpu_max="100000 100000", memory_max=f"{GIB}")
    assert found(tree) == (1, GIB)
    put(top, cpu_max="190000 100000", memory_max="max")
    assert found(tree) == (1, MEMORY), "a fraction of a core is not rounded up"
    put(top, cpu_max="5000 100000")
    assert found(tree)[0] == 1, "at least one"
    put(top, cpu_max="max 100000")
    assert found(tree) == (CORES, MEMORY)
    put(top, cpu_max=f"{(CORES + 7) * 100000} 100000", memory_max=f"{MEMORY * 2}")
    assert found(tree) == (CORES, MEMORY), "no more than there is"


def test_limits_of_parent_cgroups_count_too(tree: Tree) -> None:
    """Nested as by systemd and Kubernetes: the pod's limit applies to a container without its own."""
    top = tree.mount("cgroup2", "")
    tree.own("0::/kubepods/pod1/c1")
    put(top / "kubepods/pod1", cpu_max="100000 100000", memory_max=f"{2 * GIB}")
    put(top / "kubepods/pod1/c1", cpu_max="max 100000", memory_max=f"{3 * GIB}")
    put(top / "kubepods/other", memory_max=f"{GIB}")
    assert found(tree) == (1, 2 * GIB)


def test_a_container_of_version_1(tree: Tree) -> None:
    """Without a namespace: it reads the host's path, but sees only its own part of the tree."""
    tree.own("5:memory:/docker/abc", "3:cpu,cpuacct:/docker/abc", "1:name=systemd:/docker/abc", "0::/system.slice")
    memory = tree.mount("cgroup", "memory", root="/docker/abc", controllers="memory")
    cpu = tree.mount("cgroup", "cpu,cpuacct", root="/docker/abc", controllers="cpu,cpuacct")
    tree.mount("cgroup2", "unified")
    (cpu / "cpu.cfs_quota_us").write_text("100000\n")
    (cpu / "cpu.cfs_period_us").write_text("100000\n")
    (memory / "memory.limit_in_bytes").write_text(f"{GIB}\n")
    assert found(tree) == (1, GIB)
    (cpu / "cpu.cfs_quota_us").write_text("-1\n")
    (memory / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    assert found(tree) == (CORES, MEMORY), "v1's value for no limit"


def test_the_hosts_own_tree_of_version_1(tree: Tree) -> None:
    tree.own("5:memory:/user/1000", "3:cpu:/user/1000")
    memory = tree.mount("cgroup", "memory", controllers="memory")
    (memory / "user/1000").mkdir(parents=True)
    (memory / "user/memory.limit_in_bytes").write_text(f"{GIB}\n")
    assert found(tree) == (CORES, GIB)


def test_no_cgroups_at_all(tmp_path: Path, tree: Tree) -> None:
    assert found(tree) == (CORES, MEMORY)
    assert usable_cores(tmp_path / "none") == CORES
    tree.mount("cgroup2", "")
    tree.own("0::/gone")
    assert found(tree) == (CORES, MEMORY)


def test_this_machine() -> None:
    assert 1 <= usable_cores() <= CORES
    assert 0 < usable_memory_bytes() <= MEMORY
