"""Start all decoding processes at once: one process imports what they need and forks them.

Starting Python and Pillow takes as long as decoding a thousand small images; a fork takes a hundredth of that. The
forking process has no threads and has opened no file, so its copies are as clean as new processes. Afterwards it only
waits until it must end and kill its children (worker.py).
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO, NamedTuple

import genai_core
from genai_core.data.decoding.image import DecodeRule

WORKER_MODULE = "genai_core.data.decoding.worker"
# Faster than -m. Imported objects stay alive, so the garbage collector need not scan them.
_START = "import gc; gc.disable(); from {} import main; gc.freeze(); gc.enable(); main()"


class Channel(NamedTuple):
    """Pipes of one process: `batches` to send to it, `answers` to read from it."""

    batches: IO[bytes]
    answers: IO[bytes]

    def close(self) -> None:
        with suppress(OSError):  # unsent data for a process that has ended
            self.batches.close()
        self.answers.close()


class DecoderProcesses:
    """Processes for one rule, each with a channel. Closing its channel ends a process."""

    def __init__(self, rule: DecodeRule, count: int) -> None:
        """Start the processes without waiting for them to be ready. Raises OSError."""
        # The same import path as here, but without `site`, which takes as long as the interpreter itself.
        root = str(Path(genai_core.__file__).parent.parent)
        search_path = os.pathsep.join([root, *filter(None, sys.path)])
        self._lock = threading.Lock()
        with ExitStack() as on_failure:
            # libtiff and libpng report every bad file on stderr. It is read only when the processes cannot start.
            self._stderr = on_failure.enter_context(tempfile.TemporaryFile())
            self.channels, ends = [], []
            with ExitStack() as exit_stack:
                for _ in range(count):
                    for_batches, batches = os.pipe()
                    answers, for_answers = os.pipe()
                    ends += [for_batches, for_answers]
                    exit_stack.callback(os.close, for_batches)
                    exit_stack.callback(os.close, for_answers)
                    self.channels.append(Channel(os.fdopen(batches, "wb"), os.fdopen(answers, "rb")))
                    on_failure.callback(self.channels[-1].close)
                self._process = subprocess.Popen(
                    [sys.executable, "-S", "-c", _START.format(WORKER_MODULE), json.dumps(rule), *map(str, ends)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=self._stderr,
                    env={**os.environ, "PYTHONPATH": search_path},
                    pass_fds=ends,
                )
            on_failure.pop_all()
        self._open = len(self.channels)

    def give_back(self, channel: Channel) -> None:
        """Close a channel, which ends its process; closing the last one ends all. `wait` blocks until they ended."""
        channel.close()
        with self._lock:
            self._open -= 1
            if self._open == 0:
                self._kill()

    def wait(self) -> None:
        """Wait until all processes have ended. Call it after closing every channel or after kill()."""
        self._process.wait()
        self._stderr.close()

    def kill(self) -> None:
        """Kill all processes now, even busy ones. Channels must still be closed."""
        with self._lock:
            self._kill()

    def why_not_started(self) -> str:
        """Return why a process ended before it was ready: the last line of stderr or the exit status."""
        self.kill()
        status = self._process.wait()
        said = os.pread(self._stderr.fileno(), 1 << 20, 0).decode(errors="replace").strip().rpartition("\n")[2]
        return said or f"status {status}"

    def _kill(self) -> None:
        # Closing its stdin makes the forking process kill its children; only it can be sure of their process ids.
        assert self._process.stdin is not None
        self._process.stdin.close()
