"""A decoding process that dies, never ends, or takes too much memory on files of such names (decoding/test_pool.py)."""

import os
import signal
from pathlib import Path

from genai_core.data.decoding import worker
from genai_core.data.decoding.image import Decoded, DecodeRule, Rejection, decode_file


def decode_or_die(path: str, rule: DecodeRule, content: bytes | None) -> Decoded | Rejection:
    name = Path(path).name
    if "dies" in name:
        os.kill(os.getpid(), signal.SIGKILL)
    while "endless" in name:
        pass
    if "memory" in name:
        # As in a decoder: Pillow raises MemoryError at the process's memory limit.
        bytearray(1 << 36)
    return decode_file(path, rule, content)


def main() -> None:
    worker.decode_file = decode_or_die
    worker.MAX_SECONDS_PER_BATCH = 1
    worker.main()
