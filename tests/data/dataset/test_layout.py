from hypothesis import given
from hypothesis import strategies as st

from genai_core.data.dataset.layout import (
    JOINED_SHARD_SHARE,
    JOINED_SHARE,
    MAX_SHARD_BYTES,
    PreviousShard,
    images_per_shard,
    shards_to_keep,
)

FULL = 64
SHARDS = st.lists(st.integers(1, FULL).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))), max_size=20)


def plan(sizes, new, max_removed_share=0.5):
    shards = [PreviousShard(f"{number:02d}", *size) for number, size in enumerate(sizes)]
    total = sum(wanted for _, wanted in sizes) + new
    kept = shards_to_keep(shards, split_images=total, shard_images=FULL, max_removed_share=max_removed_share)
    return shards, [shard for shard in shards if shard.name in kept], total


@given(SHARDS, st.integers(0, 500))
def test_the_number_of_rewritten_images_is_bounded(sizes, new):
    shards, kept, total = plan(sizes, new)
    gone = [shard for shard in shards if shard not in kept]
    too_empty = [shard for shard in gone if shard.wanted == 0 or shard.images - shard.wanted > 0.5 * shard.images]
    joined = sum(shard.wanted for shard in gone if shard not in too_empty)
    assert joined <= max(total * JOINED_SHARE, FULL * JOINED_SHARD_SHARE)
    # Removed images that stay never double the size.
    assert sum(shard.images for shard in kept) <= 2 * sum(shard.wanted for shard in kept)


@given(SHARDS)
def test_few_removed_images_change_nothing(sizes):
    sizes = [(images, max(wanted, (images + 1) // 2)) for images, wanted in sizes]
    shards, kept, _ = plan(sizes, new=0)
    assert kept == shards


def test_many_small_additions_leave_few_shards():
    sizes: list[tuple[int, int]] = [(FULL, FULL)] * 40
    for _ in range(300):
        _, kept, total = plan(sizes, new=1)
        sizes = [(shard.images, shard.wanted) for shard in kept]
        sizes.append((total - sum(wanted for _, wanted in sizes),) * 2)
    assert sum(wanted for _, wanted in sizes) == 40 * FULL + 300
    assert len(sizes) < 40 + 300 / (40 * FULL * JOINED_SHARE) * 2


def test_no_removed_image_stays_at_a_share_of_zero():
    _, kept, _ = plan([(10, 10), (10, 9)], new=0, max_removed_share=0.0)
    assert [shard.images - shard.wanted for shard in kept] == [0]


def test_shards_fit_into_memory():
    assert images_per_shard(4096, 784) == 4096
    assert images_per_shard(4096, 3 * 256**2) == MAX_SHARD_BYTES // (3 * 256**2)
    assert images_per_shard(4096, 2 * MAX_SHARD_BYTES) == 1
