"""Processes of jobs that are forked: at once, never with old code, each with its own environment and end."""

import errno
import importlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from flows.executors import fork_server, forked_job
from flows.executors.fork_server import MARGIN_NS, ForkServer, LoadedCode
from flows.executors.forked_job import JobProcess, start_job
from tests.project import ROOT

pytestmark = pytest.mark.skipif(not forked_job.CAN_FORK, reason="this system has no handles of processes")


@pytest.fixture(autouse=True)
def _own_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(forked_job, "_server", None)
    monkeypatch.setattr(forked_job, "_not_before", 0.0)
    yield
    if forked_job._server is not None:
        forked_job._server.close()


def servers() -> set[int]:
    found = set()
    for one in psutil.Process().children():
        with suppress(psutil.ZombieProcess):
            if "flows.executors.fork_server" in one.cmdline():
                found.add(one.pid)
    return found


def ended(job: JobProcess) -> list[str]:
    """Give a job an order that cannot be read, and return what it says."""
    assert job.stdin is not None
    assert job.stdout is not None
    with job.stdin, job.stdout:
        job.stdin.write(b"{}\n")
        job.stdin.flush()
        event: list[str] = json.loads(job.stdout.readline())
    assert job.wait() == 0
    return event


def status_of(job: JobProcess) -> int:
    assert job.stdin is not None
    assert job.stdout is not None
    job.stdin.close()
    job.stdout.close()
    return job.wait()


def test_jobs_come_from_one_server_as_long_as_the_environment_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = start_job(), start_job()
    (server,) = servers()
    process = psutil.Process(server)
    assert len(process.children()) == 2
    second.kill()
    assert status_of(second) == -9
    with pytest.raises(subprocess.TimeoutExpired):
        first.wait(0.01)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")  # of each task another one
    third = start_job()
    assert servers() == {server}
    monkeypatch.setenv("GENAI_GIT_URL", "elsewhere")
    fourth = start_job()
    assert servers() > {server}  # the old one has jobs
    assert [ended(job)[0] for job in (first, third, fourth)] == ["broken"] * 3
    process.wait(timeout=20.0)  # now it has none


def test_a_server_that_died_is_replaced() -> None:
    job = start_job()
    (server,) = servers()
    psutil.Process(server).kill()
    assert status_of(job) == -9  # nobody knows
    assert ended(start_job())[0] == "broken"


def test_code_that_has_changed_on_disk_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a_module_of_this_test.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    module = importlib.import_module("a_module_of_this_test")
    # Without those of other tests in this process, whose files may be gone.
    monkeypatch.setattr(fork_server, "sys", SimpleNamespace(modules={module.__name__: module}))
    fresh = LoadedCode()
    fresh.note()
    assert not fresh.is_on_disk()  # it was written just before: it may have been loaded before that
    later = LoadedCode()
    later._began_ns = time.time_ns() + 2 * MARGIN_NS
    later.note()
    assert later.is_on_disk()
    (tmp_path / "new.py").write_text("")
    (tmp_path / "new.py").replace(tmp_path / "a_module_of_this_test.py")
    assert not later.is_on_disk()
    del sys.modules["a_module_of_this_test"]


def test_a_system_without_handles_of_processes_loads_the_code_for_each_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """An old kernel, which Python does not know when it is built."""

    def missing(_process: int) -> int:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("os.pidfd_open", missing)
    assert not forked_job._has_handles()


def test_a_server_whose_worker_died_before_it_read_an_answer_waits_for_its_job() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.send(b"[]")
    ours.close()  # with something that nobody has read
    with theirs:
        ForkServer(theirs, LoadedCode()).serve()


def test_a_job_that_nobody_waits_for_ends_no_server() -> None:
    """As when a worker has given up waiting for the server's answer."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    reader, status = os.pipe()
    os.close(reader)
    with ours, theirs:
        server = ForkServer(theirs, LoadedCode())
        server._statuses[os.posix_spawn(sys.executable, [sys.executable, "-c", ""], {})] = status
        while server._statuses:
            server._tell_ends()
            time.sleep(0.01)
