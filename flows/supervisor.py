"""Runs one command and ends it with all its descendants when asked to, or when whoever started it dies.

    python -I -S supervisor.py GRACE_S COMMAND [ARGUMENT ...]

Standard input is the lifeline: its end of file means "stop", and the kernel sends that even when the parent is
killed -9. Without this, killing `dvc` leaves the stage's command running, and the next run takes the orphan's
half-done output for its own. Standard library only: it starts in 20 ms.
"""

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h

# For helpers that tidy up when their process is gone, such as multiprocessing's resource tracker.
LAST_MOMENT_S = 0.5


def main() -> int:
    grace_s, command = float(sys.argv[1]), sys.argv[2:]
    _adopt_orphans()
    # Handlers, not SIG_IGN: a child inherits "ignore", and would then ignore the interrupt it is sent below.
    # The handler has nothing to do but interrupt the poll, through the wake-up pipe.
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, _wake)
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0, preexec_fn=_end_with_the_supervisor)
    poll = select.poll()
    poll.register(0, select.POLLIN | select.POLLHUP)
    poll.register(woken, select.POLLIN)
    while child.poll() is None:
        if any(descriptor == 0 or _asked_to_stop(os.read(woken, 64)) for descriptor, _ in poll.poll()):
            _interrupt(child, grace_s)
            break
    status = 128 + signal.SIGKILL if child.returncode is None else _exit_status(child.returncode)
    _end_what_is_left(child.pid)
    return status


def _interrupt(child: "subprocess.Popen[bytes]", grace_s: float) -> None:
    """Interrupt the command's group and give it `grace_s` to save what it has."""
    # SIGINT, not SIGTERM: DVC ignores it while its command runs, sees the command fail, and lets go of its locks.
    _signal_group(child.pid, signal.SIGINT)
    deadline = time.monotonic() + grace_s
    while child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)


def _end_what_is_left(group: int) -> None:
    """End the command's group and, on Linux, the descendants that left it: one of them would hold the output open."""
    _signal_group(group, signal.SIGTERM)
    deadline = time.monotonic() + LAST_MOMENT_S
    while _children() and time.monotonic() < deadline:
        time.sleep(0.02)
    _signal_group(group, signal.SIGKILL)
    while children := _children():  # those of a killed child become ours
        for child in children:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.02)


def _adopt_orphans() -> None:
    """On Linux: a descendant whose parent ends becomes our child, whatever group or session it is in."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _end_with_the_supervisor() -> None:
    """On Linux: whoever kills both the supervisor and its parent leaves nobody else to end the command."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _children() -> list[int]:
    """Our living children; empty where the kernel does not tell."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    with suppress(FileNotFoundError):
        return [int(number) for number in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]
    return []


def _signal_group(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, number)


def _exit_status(returncode: int) -> int:
    return returncode if returncode >= 0 else 128 - returncode


def _asked_to_stop(numbers: bytes) -> bool:
    return any(number in (signal.SIGINT, signal.SIGTERM) for number in numbers)


def _wake(_number: int, _frame: FrameType | None) -> None:
    """The wake-up pipe has the signal's number already."""


if __name__ == "__main__":
    sys.exit(main())
