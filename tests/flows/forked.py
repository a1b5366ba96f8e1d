"""Run `genai` and `dvc` in processes forked from one that has loaded most of their libraries.

Loading them takes most of the time of a `dvc` command and half that of a `genai run`, and the tests start some two
hundred of them. Prefect is not among them: it reads settings as it is loaded, which `genai` makes before. Each command
is a process of its own all the same, with its own arguments, environment and folder. What a test signals or kills is
started as a user starts it (started_genai), and so is what test_end_to_end.py runs.

python -m tests.flows.forked FOLDER PID: serves at FOLDER/socket until the process PID has ended.
"""

import json
import os
import selectors
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from tests.flows.lasting import Owner, start_lasting

CLIENT = Path(__file__).with_name("forked_client.py")
_LOOK_S = 1.0
_NAMES = """
import sys, pkgutil, importlib, flows
import dvc.cli, dvc.repo, dvc.stage, dvc.commands.repro, dvc.commands.add, prefect.client.orchestration
for module in pkgutil.walk_packages(flows.__path__, "flows."):
    if not module.name.endswith("_engine"):  # the library of a cluster may not be installed, and starts threads
        importlib.import_module(module.name)
print(*sys.modules)
"""
_NOT_PRELOADED = ("__main__", "prefect", "flows", "genai_core", "tasks")


def start_forking(folder: Path) -> None:
    """Serve for as long as the tests run; FOLDER/bin has a `dvc` that is answered by it."""
    script = folder / "bin" / "dvc"
    script.parent.mkdir(parents=True)
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -IS {CLIENT} "${{0%/*}}/.." dvc "$@"\n')
    script.chmod(0o755)
    start_lasting("tests.flows.forked", folder, "socket")


def forked_genai(folder: Path, *arguments: str) -> list[str]:
    """What runs `genai` in a forked process, with the environment, folder and output of who starts it."""
    return [sys.executable, "-IS", str(CLIENT), str(folder), "genai", *arguments]


class Request(NamedTuple):
    name: str
    arguments: list[str]
    folder: str
    environment: dict[str, str]


class Child(NamedTuple):
    pid: int
    ended: int  # a file descriptor that is readable once the process has ended
    client: socket.socket


def main() -> None:
    folder, owner = Path(sys.argv[1]), Owner(int(sys.argv[2]))
    loaded = subprocess.run([sys.executable, "-c", _NAMES], capture_output=True, text=True, check=True).stdout
    for name in loaded.split():
        if name.partition(".")[0] not in _NOT_PRELOADED:
            with suppress(ImportError):  # some are no modules of a file
                import_module(name)
    assert "prefect" not in sys.modules
    request = serve(folder, owner)
    if request:  # this is a forked process
        sys.exit(run(request))


def serve(folder: Path, owner: Owner) -> Request | None:
    """Fork for each client until the owner has ended. Returns a client's request in the process forked for it."""
    with socket.socket(socket.AF_UNIX) as listener, selectors.DefaultSelector() as selector:
        os.chdir(folder)  # the path of a socket is 107 bytes long at most
        listener.bind("socket.new")
        listener.listen(64)
        os.rename("socket.new", "socket")
        selector.register(listener, selectors.EVENT_READ)
        while owner.lives():
            for key, _ in selector.select(_LOOK_S):
                child: Child | None = key.data
                if child is None:
                    client, _address = listener.accept()
                    request, pid = receive_and_fork(client)
                    if not pid:
                        return request
                    child = Child(pid, os.pidfd_open(pid), client)
                    selector.register(client, selectors.EVENT_READ, child)
                    selector.register(child.ended, selectors.EVENT_READ, child)
                elif key.fd == child.ended:
                    status = os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1])
                    selector.unregister(child.ended)
                    os.close(child.ended)
                    if child.client.fileno() >= 0:
                        selector.unregister(child.client)
                        child.client.sendall(str(status).encode())
                        child.client.close()
                else:  # the client was killed
                    selector.unregister(child.client)
                    child.client.close()
                    os.kill(child.pid, signal.SIGKILL)
    return None


def receive_and_fork(client: socket.socket) -> tuple[Request, int]:
    """A client's request, and the new process's id: 0 in the new process, whose output is now the client's."""
    length, descriptors, _, _ = socket.recv_fds(client, 4, 3)
    with client.makefile("rb") as stream:
        request = Request(*json.loads(stream.read(int.from_bytes(length, "big"))))
    pid = os.fork()
    for number, descriptor in enumerate(descriptors):
        if not pid:
            os.dup2(descriptor, number)
        os.close(descriptor)
    return request, pid


def run(request: Request) -> int:
    os.chdir(request.folder)
    os.environ.clear()
    os.environ.update(request.environment)
    if request.name == "dvc":
        from dvc.cli import main as dvc

        return dvc(request.arguments)
    from flows.cli import main as genai

    genai(request.arguments, prog_name="genai")  # ends by an exit
    return 0


if __name__ == "__main__":
    main()
