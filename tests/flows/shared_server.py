"""One Prefect server for all workers of a test session.

python -m tests.flows.shared_server FOLDER PID: serves in the background until the process PID, which started the
workers, has ended. FOLDER is its PREFECT_HOME; FOLDER/url has the address as soon as it answers.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil

from tests.project import ROOT

START_S, MOST_S = 150.0, 7_200.0
_LOOK_S = 0.5


def start_shared_server(home: Path) -> str:
    """Start it for as long as the tests run; its address."""
    owner = os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()
    command = [sys.executable, "-m", "tests.flows.shared_server", str(home), str(owner)]
    with (home / "log").open("w") as log:
        subprocess.run(command, cwd=ROOT, stdout=log, stderr=log, timeout=START_S, check=True)
    server, deadline = int((home / "pid").read_text()), time.monotonic() + START_S
    while not (home / "url").exists():
        assert psutil.pid_exists(server), (home / "log").read_text()
        assert time.monotonic() < deadline, (home / "log").read_text()
        time.sleep(0.1)
    return (home / "url").read_text()


def main() -> None:
    home, owner = Path(sys.argv[1]), psutil.Process(int(sys.argv[2]))
    if child := os.fork():
        (home / "pid").write_text(str(child))
        return
    os.setsid()  # it outlives the worker that started it
    from tests.flows.conftest import prefect_server

    deadline = time.monotonic() + MOST_S
    with prefect_server(home) as url:
        (home / "url.new").write_text(url)
        (home / "url.new").rename(home / "url")
        while owner.is_running() and owner.status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
            time.sleep(_LOOK_S)


if __name__ == "__main__":
    main()
