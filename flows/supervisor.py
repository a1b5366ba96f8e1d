"""Runs one command and ends its whole process group when asked to, or when whoever started it dies.

    python -I -S supervisor.py GRACE_S COMMAND [ARGUMENT ...]

Standard input is the lifeline: its end of file means "stop", and the kernel sends that even when the parent is
killed -9. Without this, killing `dvc` leaves the stage's command running, and the next run takes the orphan's
half-done output for its own. Standard library only: it starts in 15 ms.
"""

import os
import select
import signal
import subprocess
import sys
import time
from types import FrameType


def main() -> int:
    grace_s, command = float(sys.argv[1]), sys.argv[2:]
    # Handlers, not SIG_IGN: a child inherits "ignore", and would then ignore the interrupt it is sent below.
    # The handler has nothing to do but interrupt the poll, through the wake-up pipe.
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, _wake)
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    poll = select.poll()
    poll.register(0, select.POLLIN | select.POLLHUP)
    poll.register(woken, select.POLLIN)
    while child.poll() is None:
        for descriptor, _ in poll.poll():
            if descriptor == 0 or _asked_to_stop(os.read(woken, 64)):
                return _stop(child, grace_s)
    os.killpg(0, signal.SIGTERM)  # what the command left behind in its group; here it only wakes the poll
    return _exit_status(child)


def _stop(child: "subprocess.Popen[bytes]", grace_s: float) -> int:
    """Interrupt the group, give it `grace_s` to save what it has, then kill what is left of it."""
    # SIGINT, not SIGTERM: DVC ignores it while its command runs, sees the command fail, and lets go of its locks.
    os.killpg(0, signal.SIGINT)
    deadline = time.monotonic() + grace_s
    while child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    status = _exit_status(child) if child.poll() is not None else 128 + signal.SIGKILL
    sys.stdout.flush()
    os.killpg(0, signal.SIGKILL)  # ends this process too, and with it every descendant that stayed in the group
    return status


def _exit_status(child: "subprocess.Popen[bytes]") -> int:
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def _asked_to_stop(numbers: bytes) -> bool:
    return any(number in (signal.SIGINT, signal.SIGTERM) for number in numbers)


def _wake(_number: int, _frame: FrameType | None) -> None:
    """The wake-up pipe has the signal's number already."""


if __name__ == "__main__":
    sys.exit(main())
