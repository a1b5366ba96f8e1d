"""In which shard an image stands: as little as possible is written again when a dataset changes.

Shards as a function of the images alone cannot do that. A new image is as likely to come into any place as every other
image, so the shard that it comes into holds, on average, at least as many images as the average shard. With B images a
shard, a share m of new images then rewrites 1 - exp(-m B) of the dataset: with m = 1% and B = 4,096 all of it, and at
most 3% only with B = 3. So shards follow the dataset's history instead: the layout is made from the images and
the layout before. From the first version on nobody else sees it, for the manifest's order, the fingerprint and whatever
is trained are functions of the images alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# Of the split's images, or of a full shard's: small shards up to this many in all are joined with the new ones, so that
# many small additions do not leave many small files. It is what an addition may rewrite besides what is new.
JOINED_SHARE = 1 / 200
JOINED_SHARD_SHARE = 1 / 16
MAX_SHARD_BYTES = 64 << 20

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class OldShard:
    """One split's shard of the version before. wanted: its images that this version has too, of `images` in all."""

    name: str
    images: int
    wanted: int


def shards_to_keep(
    shards: Sequence[OldShard], *, split_images: int, shard_images: int, max_removed_share: float
) -> list[str]:
    """Names of the shards that stay as they are; the images of the others are written again.

    split_images: images that the split has now. Goes: what holds too many removed images; then, when anything is to be
    written at all, the smallest shards as far as JOINED_SHARE reaches.
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


def images_a_shard(shard_images: int, image_bytes: int) -> int:
    """As many as asked for, but no more than fit into MAX_SHARD_BYTES: a shard is held in memory when it is written."""
    return max(1, min(shard_images, MAX_SHARD_BYTES // image_bytes))
