"""Sending what a workspace's HEAD names to the DVC remote."""

import os
import sys
from pathlib import Path

from flows.process import Processes


class PushError(RuntimeError):
    """The data could not be sent; the message has DVC's own lines."""


def push_data(workspace: Path) -> None:
    """`dvc push` of all that dvc.lock and the *.dvc files name. Raises PushError."""
    said: list[str] = []
    processes = Processes()
    try:
        status = processes.run(
            [sys.executable, "-m", "dvc", "--wait-for-lock", "push"],
            folder=workspace,
            environment={**os.environ, "PYTHONUNBUFFERED": "1", "DVC_NO_ANALYTICS": "1"},
            timeout_s=None,
            on_line=said.append,
        )
    except KeyboardInterrupt:
        processes.stop()
        raise
    if status != 0:
        raise PushError("\n".join(["the data could not be pushed, production is unchanged:", *said[-5:]]))
