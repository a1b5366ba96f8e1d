"""A PostgreSQL server of its own for the body of a `with`, as Debian's package `postgresql` has it."""

import os
import pwd
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

USER = "prefect"
_UNPRIVILEGED = "nobody"  # as whom it runs if we are root: it refuses to be root


@contextmanager
def started_postgres(folder: Path) -> Iterator[tuple[str, int]]:
    """The address of a new database on the loopback, for Prefect, and its process id. folder: made here."""
    programs = _programs()
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    folder.mkdir()
    user = _UNPRIVILEGED if os.geteuid() == 0 else None
    if user:
        os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
        for parent in folder.parents:  # a temporary folder is closed to others
            if parent.stat().st_uid == os.geteuid() and not parent.stat().st_mode & 0o001:
                parent.chmod(parent.stat().st_mode | 0o011)
    data = folder / "data"

    def call(program: str, *arguments: str) -> None:
        command = [str(programs / program), *arguments]
        answer = subprocess.run(command, cwd=folder, user=user, capture_output=True, text=True, check=False)
        if answer.returncode != 0:
            sys.exit(f"{program}: {answer.stdout}{answer.stderr}")

    call("initdb", "-D", str(data), "-U", USER, "--auth=trust", "-E", "UTF8")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c max_connections=200"
    call("pg_ctl", "-D", str(data), "-w", "-l", str(folder / "log"), "-o", options, "start")
    try:
        pid = int((data / "postmaster.pid").read_text().split()[0])
        yield f"postgresql+asyncpg://{USER}@127.0.0.1:{port}/postgres", pid
    finally:
        call("pg_ctl", "-D", str(data), "-w", "-m", "fast", "stop")


def _programs() -> Path:
    """The folder of initdb and pg_ctl, which Debian does not have on the PATH."""
    found = shutil.which("pg_ctl")
    folders = [Path(found).resolve().parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not folders or not (folders[-1] / "initdb").exists():
        sys.exit("there is no PostgreSQL here: apt-get install postgresql")
    return folders[-1]
