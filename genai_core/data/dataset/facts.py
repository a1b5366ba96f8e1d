"""Per-image facts of a shard, stored next to it so that later steps need not read its pixels.

`facts/<shard>.npy` is a structured array, one row per image, in the order of the shard. It never changes as long as the
shard stays. The manifest is rewritten whenever an image is added or removed, so the incompressible hashes must not be
in it.
"""

import hashlib
import math
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from genai_core.image_size import ImageSize

Pixels = npt.NDArray[np.uint8]
Facts = npt.NDArray[np.void]
Digests = npt.NDArray[np.uint8]
Indices = npt.NDArray[np.int64]
Rows = TypeVar("Rows", bound=npt.NDArray[Any])


def facts_dtype(channels: int) -> np.dtype[Any]:
    """Return the dtype of one image's facts.

    sha256: of the pixels, (C, H, W) in C order. total, squares: per channel, sum of the values and of their squares.
    Integers, so that moments do not depend on the order of addition; the squares of 256 x 256 pixels just fit into
    32 bits.
    """
    return np.dtype([("sha256", "u1", (32,)), ("total", "<u4", (channels,)), ("squares", "<u4", (channels,))])


def facts_of(images: Pixels, digests: Digests | None = None) -> Facts:
    """Return the facts of images (N, C, H, W) uint8; digests: their hashes (N, 32) uint8 if already known."""
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


def moments(facts: Facts, image_size: ImageSize) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel over all these images, pixels scaled to 0..1."""
    pixels = len(facts) * image_size.pixels
    total = facts["total"].sum(axis=0, dtype=np.uint64).astype(object)  # Python ints: no overflow, no rounding
    squares = facts["squares"].sum(axis=0, dtype=np.uint64).astype(object)
    mean = [value / (255 * pixels) for value in total]
    # The difference of integers is exact: no cancellation.
    spread = [pixels * square - value**2 for square, value in zip(squares, total, strict=True)]
    variance = [value / (255 * pixels) ** 2 for value in spread]
    return tuple(mean), tuple(float(value**0.5) for value in variance)


def hex_column(digests: Digests, digits: int = 64) -> Any:
    """Return hashes (N, 32) as a text column of their first `digits` hexadecimal digits, without a Python loop."""
    letters = np.frombuffer(np.ascontiguousarray(digests).tobytes().hex().encode(), dtype=np.uint8).reshape(-1, 64)
    offsets = np.arange(len(letters) + 1, dtype=np.int64) * digits
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(letters[:, :digits]))]
    return pa.LargeStringArray.from_buffers(len(letters), buffers[1], buffers[2])


def as_opaque(rows: npt.NDArray[Any]) -> npt.NDArray[np.void]:
    """View rows (N, ...) as (N,) opaque items: NumPy copies structured fields one by one, 20 times slower."""
    row_bytes = rows.dtype.itemsize * math.prod(rows.shape[1:])
    return np.asarray(rows.view(f"V{row_bytes}").reshape(len(rows)))


def take_rows(rows: Rows, indices: Indices) -> Rows:
    """Return rows[indices] for hashes (N, 32) and structured rows (N,), copied as opaque items."""
    # take() needs a third of the time of fancy indexing.
    return cast(Rows, as_opaque(rows).take(indices).view(rows.dtype).reshape(-1, *rows.shape[1:]))
