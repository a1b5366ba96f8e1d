"""A private cache file of named arrays: written as a whole, read in parts.

The file has the safetensors format: each array is stored as bytes, and so is the metadata, as JSON. The header names
each array's dtype, shape and checksum, and has a checksum of its own. Nothing is used from a file that is damaged,
truncated or in another format.
"""

import json
import os
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

CACHE_EXTENSION = ".safetensors"
_UNFINISHED = ".new"
_METADATA = "metadata"  # not in the header, whose size is limited

Array = npt.NDArray[Any]


class CacheMissError(Exception):
    """The file does not exist, is damaged, or has another format."""


def write_cache(path: Path, arrays: Mapping[str, Array], metadata: object) -> None:
    """Replace a file atomically, creating its folders; readers see the old or the new one. metadata: valid JSON.

    Raises OSError.
    """
    stored = {**arrays, _METADATA: np.frombuffer(json.dumps(metadata).encode(), np.uint8)}
    blocks = {name: np.ascontiguousarray(array).reshape(-1).view(np.uint8) for name, array in stored.items()}
    forms = {name: (str(array.dtype), array.shape, zlib.crc32(blocks[name].data)) for name, array in stored.items()}
    header = json.dumps(forms)
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(f".{os.getpid()}{_UNFINISHED}")
    try:
        save_file(blocks, new, {"arrays": header, "crc32": str(zlib.crc32(header.encode()))})
    except SafetensorError as error:
        raise OSError(f"{path} cannot be written: {error}") from error
    os.replace(new, path)


def read_cache(path: Path, wanted: Mapping[str, npt.DTypeLike]) -> tuple[dict[str, Array], Any]:
    """Return the `wanted` arrays (name -> required dtype) and the metadata.

    Raises CacheMissError.
    """
    try:
        with safe_open(path, "numpy") as file:
            header = file.metadata()
            _check(header["arrays"].encode(), int(header["crc32"]))
            forms = json.loads(header["arrays"])
            arrays: dict[str, Array] = {}
            for name, kind in {**wanted, _METADATA: np.uint8}.items():
                dtype, (stored, shape, checksum) = np.dtype(kind), forms[name]
                if stored != str(dtype):
                    raise CacheMissError(path)
                block = file.get_tensor(name)
                _check(block.data, checksum)
                arrays[name] = block.view(dtype).reshape(shape)
            return arrays, json.loads(arrays.pop(_METADATA).tobytes())
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise CacheMissError(path) from error


def delete_caches(folder: Path, beginning: str, but: Collection[Path]) -> None:
    """Delete files in a folder whose names start with `beginning`, except `but` and files still being written."""
    for other in folder.glob(f"{beginning}*"):
        if other not in but and other.suffix != _UNFINISHED:
            other.unlink(missing_ok=True)


def _check(block: bytes | memoryview, checksum: int) -> None:
    if zlib.crc32(block) != checksum:
        raise ValueError("damaged")
