"""Worker processes that open untrusted files: locations come through one pipe, results go through another.

They import only Pillow and use no pickle: a process taken over by a hostile file must not reach its parent. The process
that is started (processes.py) opens no file itself. It forks one worker per pair of pipes and kills them when its stdin
ends. When the parent ends for any reason, stdin and the pipes close, and all these processes end.
A message is 8 bytes of length and that many bytes. A batch is a JSON list of locations. The answer is three messages:
one RECORD per file; the pixels of all decoded files, concatenated; and a JSON object for flagged and rejected files:
{"flags": {index: [...]}, "rejected": {index: [reason, detail]}}.
"""

import hashlib
import json
import os
import resource
import signal
import struct
import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress
from typing import IO, Any

from PIL import Image

from genai_core.data.decoding.image import Decoded, DecodeRule, Rejection, decode_file
from genai_core.data.raw.locations import NO_HASH, Location, PackReader, as_location, hash_locations
from genai_core.image_size import ImageSize

# CPU time, so that no file is rejected because the machine is busy.
MAX_SECONDS_PER_BATCH = 60
READY = b"ready"
# sha256 of the file, sha256 of the pixels, width, height; zeros if unknown.
RECORD = struct.Struct("<32s32sII")
MAX_BYTES_AT_ONCE = 16 << 20


def send(stream: IO[bytes], message: bytes) -> None:
    """Write one message. Raises OSError when the other side has ended."""
    stream.write(struct.pack("<Q", len(message)))
    stream.write(message)
    stream.flush()


def receive(stream: IO[bytes]) -> bytes | None:
    """Read the next message; None when the other side has ended."""
    head = stream.read(8)
    if len(head) < 8:
        return None
    length: int = struct.unpack("<Q", head)[0]
    message = stream.read(length)
    return message if len(message) == length else None


def work(rule: DecodeRule, batches: IO[bytes], answers: IO[bytes]) -> None:
    """Answer batches until the input ends."""
    send(answers, READY)
    while (message := receive(batches)) is not None:
        # The signal ends the process, even inside a C library.
        signal.setitimer(signal.ITIMER_PROF, MAX_SECONDS_PER_BATCH)
        for answer in _decode([as_location(location) for location in json.loads(message)], rule):
            send(answers, answer)


def _decode(locations: list[Location], rule: DecodeRule) -> tuple[bytes, bytes, bytes]:
    records: list[bytes] = []
    pixels: list[bytes] = []
    metadata: dict[str, dict[int, Any]] = {"flags": {}, "rejected": {}}
    packs = PackReader()
    for index, location in enumerate(locations):
        digest, result = _decoded(location, packs, rule)
        if isinstance(result, Decoded):
            records.append(RECORD.pack(digest, result.sha256, result.width, result.height))
            pixels.append(result.pixels)
            if result.flags:
                metadata["flags"][index] = result.flags
        else:
            records.append(RECORD.pack(digest, NO_HASH, 0, 0))
            metadata["rejected"][index] = (result.reason, result.detail)
    packs.close()
    return b"".join(records), b"".join(pixels), json.dumps(metadata).encode()


def _decoded(location: Location, packs: PackReader, rule: DecodeRule) -> tuple[bytes, Decoded | Rejection]:
    """Return the sha256 of the file at a location, and its decoded image."""
    if isinstance(location, str):
        content = _content(location)
        digest = hash_locations([location]) if content is None else hashlib.sha256(content).digest()
        return digest, decode_file(location, rule, content)
    try:
        content = packs.read(location)
    except OSError as error:
        detail = error.strerror or f"the pack ends before this image of {location.size:,} bytes"
        return NO_HASH, Rejection("unreadable", detail)
    except MemoryError:
        return NO_HASH, Rejection("too_large", f"{location.size:,} bytes")
    return hashlib.sha256(content).digest(), decode_file(location.name, rule, content)


def _content(path: str) -> bytes | None:
    """Read a file once, for its hash and its pixels; None if it is large or cannot be read."""
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123
            return file.readall() if os.fstat(file.fileno()).st_size <= MAX_BYTES_AT_ONCE else None
    except OSError:
        return None


def _limit_memory(rule: DecodeRule) -> None:
    # Twelve copies of the largest image allowed, at 4 bytes per pixel, plus what Python and Pillow take.
    limit = 2**30 + int(rule.max_megapixels * 1e6) * 4 * 12
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _fork(rule: DecodeRule, batches: int, answers: int, others: Sequence[int]) -> int:
    """Fork a process for a pair of pipes; return its pid. others: pipes of other processes, closed in the child."""
    child = os.fork()
    if child:
        return child
    try:
        for pipe in others:
            os.close(pipe)
        work(rule, os.fdopen(batches, "rb"), os.fdopen(answers, "wb"))
    finally:
        os._exit(0)


def main() -> None:
    size, channels, fit, background, max_megapixels = json.loads(sys.argv[1])
    rule = DecodeRule(ImageSize(*size), channels, fit, tuple(background), max_megapixels)
    pipes = [int(pipe) for pipe in sys.argv[2:]]
    # The terminal sends Ctrl-C to the parent too, which ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _limit_memory(rule)
    # Sizes are checked against the rule before decoding.
    Image.MAX_IMAGE_PIXELS = None
    warnings.simplefilter("ignore")
    # Once before forking, not with each child's first image.
    Image.preinit()
    children = []
    while pipes:
        batches, answers, *pipes = pipes
        children.append(_fork(rule, batches, answers, pipes))
        os.close(batches)
        os.close(answers)
    sys.stdin.buffer.read()
    for child in children:
        os.kill(child, signal.SIGKILL)  # the pid stays valid until waitpid, even for a dead child
    for child in children:
        os.waitpid(child, 0)
    os._exit(0)  # skip the interpreter's cleanup, which takes as long as all imports
