"""The process that opens files from anywhere: batches of paths on standard input, results on standard output.

It holds nothing but Pillow, and speaks no pickle: what a hostile file made of it must not reach its parent.
A message is 8 bytes of length and that many bytes. A batch is a JSON list of paths; the answer is two messages, a
JSON list of results and the pixels of all that were decoded. When the parent ends, however it ends, the input closes
and so does this process.
"""

import json
import resource
import signal
import struct
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from PIL import Image

from genai_core.data.decode import Decoded, DecodeRule, Rejected, decode_file

# Of processor time, so that a busy machine rejects nothing.
MAX_SECONDS_A_FILE = 60
READY = b"ready"


def send(stream: IO[bytes], message: bytes) -> None:
    """Write one message. Raises OSError when the other side has ended."""
    stream.write(struct.pack("<Q", len(message)))
    stream.write(message)
    stream.flush()


def receive(stream: IO[bytes]) -> bytes | None:
    """The next message, or None when the other side has ended."""
    head = stream.read(8)
    if len(head) < 8:
        return None
    length: int = struct.unpack("<Q", head)[0]
    message = stream.read(length)
    return message if len(message) == length else None


def work(rule: DecodeRule) -> None:
    """Answer batches until the input ends."""
    # The terminal's Ctrl-C goes to the parent too, which ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _limit_memory(rule)
    # Sizes are checked against the rule before anything is decoded.
    Image.MAX_IMAGE_PIXELS = None
    warnings.simplefilter("ignore")
    batches, answers = sys.stdin.buffer, sys.stdout.buffer
    send(answers, READY)
    while (message := receive(batches)) is not None:
        results = []
        for path in json.loads(message):
            # Its signal ends the process, even in the middle of a C library.
            signal.setitimer(signal.ITIMER_PROF, MAX_SECONDS_A_FILE)
            results.append(decode_file(Path(path), rule))
        send(answers, json.dumps([_header(result) for result in results]).encode())
        send(answers, b"".join(result.pixels for result in results if isinstance(result, Decoded)))


def _header(result: Decoded | Rejected) -> dict[str, Any]:
    if isinstance(result, Rejected):
        return {"reason": result.reason, "detail": result.detail}
    return {
        "bytes": len(result.pixels),
        "sha256": result.sha256,
        "width": result.width,
        "height": result.height,
        "flags": result.flags,
    }


def _limit_memory(rule: DecodeRule) -> None:
    # Twelve copies of the largest picture allowed, at 4 bytes a pixel, and what Python and Pillow take.
    limit = 2**30 + int(rule.max_megapixels * 1e6) * 4 * 12
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


if __name__ == "__main__":
    values = json.loads(sys.argv[1])
    work(DecodeRule(**{**values, "background": tuple(values["background"])}))
