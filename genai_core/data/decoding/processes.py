"""Starting the processes that decode, all at once: one process imports what they need and forks them.

To start Python and Pillow takes as long as to decode a thousand small images, and a copy of a process that has done it
a hundredth of that. The one that forks has no thread and has seen no file, so that its copies are as good as new; it
only waits then, to end and to clear away what it forked (worker.py).
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
# Quicker than -m; and what imports make stays, so that a look for garbage among it is in vain.
_START = "import gc; gc.disable(); from {} import main; gc.freeze(); gc.enable(); main()"


class Channel(NamedTuple):
    """Of one process: where batches are sent to, and where answers come from."""

    batches: IO[bytes]
    answers: IO[bytes]

    def close(self) -> None:
        with suppress(OSError):  # what was not yet sent to a process that has ended
            self.batches.close()
        self.answers.close()


class DecoderProcesses:
    """Some processes of one rule, each with a channel; which they end with."""

    def __init__(self, rule: DecodeRule, count: int) -> None:
        """Start them, without waiting for them to be ready. Raises OSError."""
        # What is found by imports here is found there; without `site`, which takes as long as the interpreter itself.
        root = str(Path(genai_core.__file__).parent.parent)
        search_path = os.pathsep.join([root, *filter(None, sys.path)])
        self._lock = threading.Lock()
        with ExitStack() as if_it_fails:
            # libtiff and libpng write to it about every bad file; it is read only when the processes cannot start.
            self._stderr = if_it_fails.enter_context(tempfile.TemporaryFile())
            self.channels, ends = [], []
            with ExitStack() as at_the_end:
                for _ in range(count):
                    for_batches, batches = os.pipe()
                    answers, for_answers = os.pipe()
                    ends += [for_batches, for_answers]
                    at_the_end.callback(os.close, for_batches)
                    at_the_end.callback(os.close, for_answers)
                    self.channels.append(Channel(os.fdopen(batches, "wb"), os.fdopen(answers, "rb")))
                    if_it_fails.callback(self.channels[-1].close)
                self._process = subprocess.Popen(
                    [sys.executable, "-S", "-c", _START.format(WORKER_MODULE), json.dumps(rule), *map(str, ends)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=self._stderr,
                    env={**os.environ, "PYTHONPATH": search_path},
                    pass_fds=ends,
                )
            if_it_fails.pop_all()
        self._open = len(self.channels)

    def give_back(self, channel: Channel) -> None:
        """Close a channel, whose process ends with that; with the last one all end. `wait` tells when they have."""
        channel.close()
        with self._lock:
            self._open -= 1
            if self._open == 0:
                self._kill()

    def wait(self) -> None:
        """Until all have ended; every channel was given back, or all were killed."""
        self._process.wait()
        self._stderr.close()

    def kill(self) -> None:
        """End all of the processes now, whatever they do; the channels are still to be given back."""
        with self._lock:
            self._kill()

    def why_not_started(self) -> str:
        """What is known when a process has ended before it was ready."""
        self.kill()
        status = self._process.wait()
        said = os.pread(self._stderr.fileno(), 1 << 20, 0).decode(errors="replace").strip().rpartition("\n")[2]
        return said or f"status {status}"

    def _kill(self) -> None:
        # With the end of its input the process that forked them kills them, whose numbers only it knows for certain.
        assert self._process.stdin is not None
        self._process.stdin.close()
