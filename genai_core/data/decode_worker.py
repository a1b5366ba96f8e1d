"""The process that opens files from anywhere: batches of paths on standard input, results on standard output.

It holds nothing but Pillow, and speaks no pickle: what a hostile file made of it must not reach its parent.
A message is 8 bytes of length and that many bytes. A batch is a JSON list of paths; the answer is three messages: a
RECORD a file, the pixels of all that were decoded, one after the other, and a JSON object of what few files have:
{"flags": {index: [...]}, "rejected": {index: [reason, detail]}}. When the parent ends, however it ends, the input
closes and so does this process.
"""

import hashlib
import json
import os
import resource
import signal
import struct
import sys
import warnings
from contextlib import suppress
from typing import IO, Any

from PIL import Image

from genai_core.data.decode import Decoded, DecodeRule, decode_file

# Of processor time, so that a busy machine rejects nothing.
MAX_SECONDS_A_BATCH = 60
READY = b"ready"
# sha256 of the file, sha256 of the pixels, width, height: zeros where there is none.
RECORD = struct.Struct("<32s32sII")
NO_HASH = bytes(32)
MAX_BYTES_AT_ONCE = 16 << 20


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
        # Its signal ends the process, even in the middle of a C library.
        signal.setitimer(signal.ITIMER_PROF, MAX_SECONDS_A_BATCH)
        for answer in _decode(json.loads(message), rule):
            send(answers, answer)


def hash_file(path: str) -> bytes:
    """sha256 of what is in a file; NO_HASH when it cannot be read."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - for a million files, Path.open takes longer than the reading
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return NO_HASH


def _decode(paths: list[str], rule: DecodeRule) -> tuple[bytes, bytes, bytes]:
    records: list[bytes] = []
    pixels: list[bytes] = []
    rare: dict[str, dict[int, Any]] = {"flags": {}, "rejected": {}}
    for index, path in enumerate(paths):
        content = _content(path)
        digest = hash_file(path) if content is None else hashlib.sha256(content).digest()
        result = decode_file(path, rule, content)
        if isinstance(result, Decoded):
            records.append(RECORD.pack(digest, result.sha256, result.width, result.height))
            pixels.append(result.pixels)
            if result.flags:
                rare["flags"][index] = result.flags
        else:
            records.append(RECORD.pack(digest, NO_HASH, 0, 0))
            rare["rejected"][index] = (result.reason, result.detail)
    return b"".join(records), b"".join(pixels), json.dumps(rare).encode()


def _content(path: str) -> bytes | None:
    """What is in the file, read once for its hash and its pixels; None when it is large or cannot be read."""
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123
            return file.readall() if os.fstat(file.fileno()).st_size <= MAX_BYTES_AT_ONCE else None
    except OSError:
        return None


def _limit_memory(rule: DecodeRule) -> None:
    # Twelve copies of the largest picture allowed, at 4 bytes a pixel, and what Python and Pillow take.
    limit = 2**30 + int(rule.max_megapixels * 1e6) * 4 * 12
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


if __name__ == "__main__":
    values = json.loads(sys.argv[1])
    work(DecodeRule(**{**values, "background": tuple(values["background"])}))
