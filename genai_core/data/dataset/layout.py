"""Assign images to shards so that a changed dataset rewrites as little as possible.

A layout computed from the images alone cannot do that. A new image is equally likely to come at any position, so the
shard that receives it holds, on average, at least as many images as the average shard. With B images per shard, a share
m of new images rewrites 1 - exp(-m B) of the dataset. With m = 1% and B = 4,096, that is all of it; to stay below 3%, B
must be at most 3. So the layout depends on history: it is computed from the images and the previous layout. Nothing
else depends on it: the manifest's order, the fingerprint and every trained model are functions of the images alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# Share of the split's images, or of a full shard. Small shards up to this total are merged with the new ones, so that
# many small additions do not leave many small files. It bounds what an addition rewrites besides the new images.
JOINED_SHARE = 1 / 200
JOINED_SHARD_SHARE = 1 / 16
MAX_SHARD_BYTES = 64 << 20

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class PreviousShard:
    """A shard of one split in the previous version. wanted: those of its `images` that the new version still has."""

    name: str
    images: int
    wanted: int


def shards_to_keep(
    shards: Sequence[PreviousShard], *, split_images: int, shard_images: int, max_removed_share: float
) -> list[str]:
    """Return the names of the shards that stay; the images of the others are written again.

    split_images: images that the split has now. Rewritten: shards with too many removed images; and, if anything is
    written at all, the smallest shards up to JOINED_SHARE.
    """
    kept = [s for s in shards if s.wanted and s.images - s.wanted <= max_removed_share * s.images]
    if split_images > sum(s.wanted for s in kept):
        joined, limit = 0, max(int(split_images * JOINED_SHARE), int(shard_images * JOINED_SHARD_SHARE))
        for shard in sorted((s for s in kept if 2 * s.images <= shard_images), key=lambda s: (s.wanted, s.name)):
            joined += shard.wanted
            if joined > limit:
                break
            kept.remove(shard)
    return sorted(shard.name for shard in kept)


def images_per_shard(shard_images: int, image_bytes: int) -> int:
    """Return shard_images, reduced to what fits into MAX_SHARD_BYTES: a shard is held in memory while it is written."""
    return max(1, min(shard_images, MAX_SHARD_BYTES // image_bytes))
