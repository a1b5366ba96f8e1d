"""A private file of named arrays: written as a whole, read in parts at memory speed.

NumPy's .npz copies each array several times while reading. Here every array has its own checksum, so nothing is used
from a file that is damaged, truncated or in another format.

    8 bytes MAGIC, 8 bytes length of the header, 4 bytes its CRC-32 (little-endian)
    header: JSON {"metadata": metadata, "arrays": {name: [dtype, shape, bytes, CRC-32]}}
    the arrays, in the header's order, in C order
"""

import json
import os
import struct
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

CACHE_EXTENSION = ".kept"
_MAGIC = b"genai k1"
_UNFINISHED = ".new"
_MAX_HEADER_BYTES = 1 << 30
_HEAD = struct.Struct("<8sQI")

Array = npt.NDArray[Any]


class CacheMissError(Exception):
    """The file does not exist, is damaged, or has another format."""


def write_cache(path: Path, arrays: Mapping[str, Array], metadata: object) -> None:
    """Replace a file atomically, creating its folders; readers see the old or the new one. metadata: valid JSON."""
    blocks = {name: np.ascontiguousarray(array).reshape(-1).view(np.uint8).data for name, array in arrays.items()}
    forms = {
        name: [str(array.dtype), array.shape, len(blocks[name]), zlib.crc32(blocks[name])]
        for name, array in arrays.items()
    }
    header = json.dumps({"metadata": metadata, "arrays": forms}).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(f".{os.getpid()}{_UNFINISHED}")
    with new.open("wb") as file:
        file.write(_HEAD.pack(_MAGIC, len(header), zlib.crc32(header)) + header)
        for block in blocks.values():
            file.write(block)
    os.replace(new, path)


def read_cache(path: Path, wanted: Mapping[str, npt.DTypeLike]) -> tuple[dict[str, Array], Any]:
    """Return the `wanted` arrays (name -> required dtype), read-only, and the metadata.

    Raises CacheMissError.
    """
    arrays: dict[str, Array] = {}
    try:
        with path.open("rb") as file:
            magic, length, check = _HEAD.unpack(file.read(_HEAD.size))
            if magic != _MAGIC:
                raise CacheMissError(path)
            header = json.loads(_checked(file.read(min(length, _MAX_HEADER_BYTES)), check))
            offset = file.tell()
            for name, (kind, shape, size, check) in header["arrays"].items():
                if name in wanted:
                    dtype = np.dtype(wanted[name])
                    if kind != str(dtype):
                        raise CacheMissError(path)
                    file.seek(offset)
                    arrays[name] = np.frombuffer(_checked(file.read(size), check), np.uint8).view(dtype).reshape(shape)
                offset += size
            if arrays.keys() != wanted.keys():
                raise CacheMissError(path)
            return arrays, header["metadata"]
    except (OSError, ValueError, KeyError, TypeError, struct.error) as error:
        raise CacheMissError(path) from error


def delete_caches(folder: Path, beginning: str, but: Collection[Path]) -> None:
    """Delete files in a folder whose names start with `beginning`, except `but` and files still being written."""
    for other in folder.glob(f"{beginning}*"):
        if other not in but and other.suffix != _UNFINISHED:
            other.unlink(missing_ok=True)


def _checked(block: bytes, check: int) -> bytes:
    if zlib.crc32(block) != check:
        raise ValueError("damaged")
    return block
