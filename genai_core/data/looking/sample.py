"""A sample of the raw images: their headers, and their pixels at a small size."""

import io
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, UnidentifiedImageError

from genai_core.data.dataset.facts import Indices, Pixels
from genai_core.data.decoding.image import DecodeRule, without_pillows_limit
from genai_core.data.decoding.pool import BATCH_FILES, decode_files
from genai_core.data.raw.formats import FORMATS, Reason
from genai_core.data.raw.images import RawImages
from genai_core.data.raw.locations import Location, PackReader
from genai_core.image_size import ImageSize

SIDE_PX = 32
BLACK, WHITE = (0, 0, 0), (255, 255, 255)
# Files whose header or pixels are read: more would hardly change any choice.
SAMPLED = 320
_MAX_MEGAPIXELS = 100.0


@dataclass(frozen=True)
class Sample:
    """Decoded images of a sample of N files.

    files: number of files that were tried. rows (n,): which of the raw images were decoded, in ascending order.
    pixels: (n, 3, SIDE_PX, SIDE_PX) uint8. sizes: (n, 2), width and height of the files. sha256: of the pixels.
    rejected: the other tried rows, ascending, with the reason. decode_s: seconds per image and process.
    """

    files: int
    rows: Indices
    pixels: Pixels
    sizes: Indices
    sha256: tuple[bytes, ...]
    rejected: tuple[tuple[int, Reason], ...]
    decode_s: float


def choose_rows(count: int, sampled: int = SAMPLED) -> Indices:
    """Return the indices of a random sample, the same each time, in ascending order."""
    if count <= sampled:
        return np.arange(count)
    return np.sort(np.random.default_rng(0).choice(count, sampled, replace=False))


def decode_sample(
    found: RawImages, rows: Indices, *, workers: int, max_seconds: float, background: tuple[int, int, int] = BLACK
) -> Sample:
    """Decode these raw images; those that are not read within `max_seconds` are not in the sample."""
    ordered = found.in_storage_order(rows)
    kept, digests = [np.empty(0, dtype=np.int64)], []
    pixels = [np.empty((0, 3, SIDE_PX, SIDE_PX), dtype=np.uint8)]
    sizes = [np.empty((0, 2), dtype=np.int64)]
    rule = DecodeRule(ImageSize.square(SIDE_PX), 3, "crop", background, _MAX_MEGAPIXELS)
    rejected: list[tuple[int, Reason]] = []
    tried, first, began = 0, 0, time.monotonic()
    ready = began
    for result in decode_files(found.locations(ordered), rule, workers=workers):
        good = [index for index in range(len(result.records)) if index not in result.rejected]
        if not tried:  # the processes have started
            first, ready = len(result.records), time.monotonic()
        tried += len(result.records)
        kept.append(ordered[result.first + np.array(good, dtype=np.int64)])
        rejected += [(int(ordered[result.first + index]), why.reason) for index, why in result.rejected.items()]
        pixels.append(result.pixels)
        sizes.append(np.stack([result.records[name][good].astype(np.int64) for name in ("width", "height")], axis=1))
        digests += [result.records["sha256"][index].tobytes() for index in good]
        if time.monotonic() - began > max_seconds:
            break
    busy = min(workers, -(-len(rows) // BATCH_FILES))
    rest = tried - first
    seconds = (time.monotonic() - (ready if rest else began)) * busy / max(1, rest or tried)
    all_rows = np.concatenate(kept)
    order = np.argsort(all_rows)  # batches end in any order
    return Sample(
        tried,
        all_rows[order],
        np.concatenate(pixels)[order],
        np.concatenate(sizes)[order],
        tuple(digests[index] for index in order.tolist()),
        tuple(sorted(rejected)),
        seconds,
    )


def modes(locations: Sequence[Location]) -> list[str]:
    """Return Pillow's mode of each file, with "+alpha" if it may have transparent parts; "" if the header is damaged.

    Only headers are parsed, not pixels.
    """
    found = []
    with PackReader() as packs, without_pillows_limit():
        for location in locations:
            try:
                with Image.open(_opened(location, packs), formats=list(FORMATS)) as image:
                    found.append(image.mode + ("+alpha" if image.has_transparency_data else ""))
            except (OSError, UnidentifiedImageError, ValueError, SyntaxError, MemoryError):
                found.append("")
    return found


def _opened(location: Location, packs: PackReader) -> str | io.BytesIO:
    return location if isinstance(location, str) else io.BytesIO(packs.read(location))
