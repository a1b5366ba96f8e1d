"""Run one command. End it with all its descendants on request, or when the parent process dies.

    python -I -S supervisor.py GRACE_S COMMAND [ARGUMENT ...]

Standard input is the lifeline: its end of file means "stop", and the kernel sends it even if the parent is killed with
-9. Without this, killing `dvc` leaves the stage's command running, and the next run uses the orphan's unfinished
output. Standard library only, to start in 20 ms.
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

# For helpers that clean up after their process, such as multiprocessing's resource tracker.
LAST_MOMENT_S = 0.5


def main() -> int:
    grace_s, command = float(sys.argv[1]), sys.argv[2:]
    _adopt_orphans()
    # Handlers, not SIG_IGN: the child would inherit "ignore", and ignore the interrupt that is sent to it below.
    # A handler only has to interrupt the poll, through the wake-up pipe.
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
    _kill_remaining(child.pid)
    return status


def _interrupt(child: "subprocess.Popen[bytes]", grace_s: float) -> None:
    """Interrupt the command's group and wait up to `grace_s` for it to save its state."""
    # SIGINT, not SIGTERM: DVC ignores it while its command runs, sees the command fail, and releases its locks.
    _signal_group(child.pid, signal.SIGINT)
    deadline = time.monotonic() + grace_s
    while child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)


def _kill_remaining(group: int) -> None:
    """End the command's group and, on Linux, the descendants that left it: any of them could keep the output open."""
    _signal_group(group, signal.SIGTERM)
    deadline = time.monotonic() + LAST_MOMENT_S
    while _children() and time.monotonic() < deadline:
        time.sleep(0.02)
    _signal_group(group, signal.SIGKILL)
    while children := _children():  # the children of a killed child become ours
        for child in children:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.02)


def _adopt_orphans() -> None:
    """On Linux, adopt each descendant whose parent ends, whatever its group or session."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _end_with_the_supervisor() -> None:
    """On Linux, end the command with the supervisor: if its parent is killed too, nothing else would."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _children() -> list[int]:
    """Our living children; empty if the kernel has no list of them."""
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
    """Do nothing: the wake-up pipe already has the signal's number."""


if __name__ == "__main__":
    sys.exit(main())
