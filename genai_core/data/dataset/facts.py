"""What is known of every image of a shard, kept beside the shard so that no later step reads the pixels for it.

`facts/<shard>.npy` is a structured array, a row an image, in the order of the shard. It never changes while the shard
stays, unlike the manifest, which is written anew with every image that comes or goes: the hashes, which no compression
makes smaller, must not be there.
"""

import hashlib
import math
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Pixels = npt.NDArray[np.uint8]
Facts = npt.NDArray[np.void]
Digests = npt.NDArray[np.uint8]
Indices = npt.NDArray[np.int64]
Rows = TypeVar("Rows", bound=npt.NDArray[Any])


def facts_dtype(channels: int) -> np.dtype[Any]:
    """sha256: of the pixels, (C, H, W) in C order. total, squares: sums over a channel of its values and their squares.

    Whole numbers, so that moments come out the same in whatever order they are added up; the squares of 256 x 256
    pixels just fit into 32 bits.
    """
    return np.dtype([("sha256", "u1", (32,)), ("total", "<u4", (channels,)), ("squares", "<u4", (channels,))])


def facts_of(images: Pixels, digests: Digests | None = None) -> Facts:
    """The facts of images (N, C, H, W) uint8; digests (N, 32) uint8 where the hashes are known already."""
    facts = np.empty(len(images), dtype=facts_dtype(images.shape[1]))
    facts["sha256"] = digests_of(images) if digests is None else digests
    flat = images.reshape(*images.shape[:2], -1)
    facts["total"] = flat.sum(axis=2, dtype=np.uint32)
    wide = flat.astype(np.uint32)
    facts["squares"] = np.einsum("ncp,ncp->nc", wide, wide)
    return facts


def digests_of(images: Pixels) -> Digests:
    """sha256 of each image (N, C, H, W) -> (N, 32) uint8."""
    joined = b"".join(hashlib.sha256(image.tobytes()).digest() for image in images)
    return np.frombuffer(joined, dtype=np.uint8).reshape(-1, 32)


def moments(facts: Facts, image_size: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of a channel over all these images, pixels scaled to 0..1."""
    pixels = len(facts) * image_size**2
    total = facts["total"].sum(axis=0, dtype=np.uint64).astype(object)  # Python's numbers: no overflow, no rounding
    squares = facts["squares"].sum(axis=0, dtype=np.uint64).astype(object)
    mean = [value / (255 * pixels) for value in total]
    # The difference is taken of whole numbers: there is nothing to cancel.
    spread = [pixels * square - value**2 for square, value in zip(squares, total, strict=True)]
    variance = [value / (255 * pixels) ** 2 for value in spread]
    return tuple(mean), tuple(float(value**0.5) for value in variance)


def hex_column(digests: Digests, digits: int = 64) -> Any:
    """Hashes (N, 32) as a column of text, of the first `digits` hexadecimal digits; made without a loop."""
    letters = np.frombuffer(np.ascontiguousarray(digests).tobytes().hex().encode(), dtype=np.uint8).reshape(-1, 64)
    offsets = np.arange(len(letters) + 1, dtype=np.int64) * digits
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(letters[:, :digits]))]
    return pa.LargeStringArray.from_buffers(len(letters), buffers[1], buffers[2])


def pieces_of(rows: npt.NDArray[Any]) -> npt.NDArray[np.void]:
    """The same memory as (N,), each row (N, ...) one piece: NumPy moves fields one by one, in twenty times the time."""
    row_bytes = rows.dtype.itemsize * math.prod(rows.shape[1:])
    return np.asarray(rows.view(f"V{row_bytes}").reshape(len(rows)))


def rows_at(rows: Rows, indices: Indices) -> Rows:
    """rows[indices] for hashes (N, 32) and structured rows (N,), as pieces."""
    # take() goes through a third of the time that brackets need.
    return cast(Rows, pieces_of(rows).take(indices).view(rows.dtype).reshape(-1, *rows.shape[1:]))
