"""Messages between the server and the process that holds models: JSON with binary parts. Imports no torch.

A frame is a 4-byte big-endian length, a JSON object of that length, then its binary parts. The object's key "blobs"
has the parts' lengths. Images travel as raw bytes; base64 in JSON would cost a third more and a pass over each.
"""

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

# Of what requests and replies mean; raised when either end would misunderstand the other. The reply to `load` has it.
PROTOCOL = 3
PREFIX_BYTES = 4
# Far above what a request needs; a wrong prefix, such as text on the pipe, would ask for gigabytes.
MAX_HEADER_BYTES = 8 * 2**20
MAX_BLOB_BYTES = 2**30

_PREFIX = struct.Struct(">I")
_BLOBS = "blobs"


class FrameError(ValueError):
    """The bytes are not a frame."""


@dataclass(frozen=True)
class Frame:
    """A message: JSON values, and binary parts in order."""

    header: dict[str, Any]
    blobs: list[bytes] = field(default_factory=list)


def pack(header: Mapping[str, Any], blobs: Sequence[bytes] = ()) -> bytes:
    """Return the bytes of a frame. Raises FrameError if it is too large."""
    text = json.dumps({**header, _BLOBS: [len(blob) for blob in blobs]}, allow_nan=False).encode()
    if len(text) > MAX_HEADER_BYTES or sum(map(len, blobs)) > MAX_BLOB_BYTES:
        raise FrameError(f"a frame of {len(text)} bytes and {sum(map(len, blobs))} in parts is too large")
    return b"".join([_PREFIX.pack(len(text)), text, *blobs])


def header_bytes(prefix: bytes) -> int:
    """Return the length of the header that follows a prefix. Raises FrameError."""
    (length,) = _PREFIX.unpack(prefix)
    if not 2 <= length <= MAX_HEADER_BYTES:
        raise FrameError(f"expected a header of 2 to {MAX_HEADER_BYTES} bytes, got a prefix of {length}")
    return int(length)


def parse_header(text: bytes) -> tuple[dict[str, Any], list[int]]:
    """Return a header without its list of blobs, and the lengths of the blobs. Raises FrameError."""
    try:
        values = json.loads(text)
        lengths = values.pop(_BLOBS)
        if not all(type(length) is int and length >= 0 for length in lengths) or sum(lengths) > MAX_BLOB_BYTES:
            raise FrameError(f"expected lengths of binary parts, got {lengths!r}"[:200])
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise FrameError(f"not the header of a frame: {error}") from None
    return values, lengths


def read_frame(stream: BinaryIO) -> Frame | None:
    """Read one frame from a blocking stream; None at its end. Raises FrameError, also if it ends within a frame."""
    prefix = stream.read(PREFIX_BYTES)
    if not prefix:
        return None
    header, lengths = parse_header(_exactly(stream, header_bytes(_complete(prefix, PREFIX_BYTES))))
    return Frame(header, [_exactly(stream, length) for length in lengths])


def _exactly(stream: BinaryIO, length: int) -> bytes:
    return _complete(stream.read(length), length)


def _complete(content: bytes, length: int) -> bytes:
    if len(content) < length:
        raise FrameError(f"the stream ended within a frame: {len(content)} of {length} bytes")
    return content
