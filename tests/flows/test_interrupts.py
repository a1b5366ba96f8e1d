"""Ctrl-C during an import, with real processes."""

import subprocess
import sys
from pathlib import Path

from tests.test_rooms import ROOT

# An import during whose generated code Ctrl-C arrives, and which swallows exceptions.
LIBRARY = """
import os, signal
try:
    exec("os.kill(os.getpid(), signal.SIGINT); [number for number in range(10_000)]")
except BaseException:
    pass
print("imported", flush=True)
"""
PROGRAM = """
import sys
from flows.interrupts import deferred_interrupt
try:
    with deferred_interrupt():
        import library
except KeyboardInterrupt:
    print("interrupted")
    sys.exit(130)
"""


def test_interrupt_is_raised_after_the_import(tmp_path: Path) -> None:
    (tmp_path / "library.py").write_text(LIBRARY)
    (tmp_path / "program.py").write_text(PROGRAM)
    # As a module: Python itself ends such a process by the signal when an interrupt was raised in an exec.
    command = [sys.executable, "-m", "program"]
    ended = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert ended.stdout.split() == ["imported", "interrupted"], ended.stderr
    assert ended.returncode == 130
