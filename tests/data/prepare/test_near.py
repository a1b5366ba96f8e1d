import io

import numpy as np
import pytest
from PIL import Image

from genai_core.data.cache.digest_index import DigestIndex
from genai_core.data.dataset.facts import digests_of
from genai_core.data.prepare import near, near_groups
from genai_core.data.prepare.near import near_hashes, near_pairs
from genai_core.data.prepare.near_groups import NearCache, find_near_duplicates, near_flags


def pictures(count, seed=0, size=24):
    """Smooth random pictures that differ as much as photographs."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 5, 5), dtype=np.uint8)
    return np.stack([np.asarray(Image.fromarray(image).resize((size, size), 3)) for image in coarse])[:, None]


def recompressed(image, quality=80):
    file = io.BytesIO()
    Image.fromarray(image[0]).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))[None]


def pairs_of(images, distance=0.1, new=None):
    flat = images.reshape(len(images), -1).astype(np.float64)
    new = np.arange(len(images)) if new is None else np.asarray(new)
    found = near_pairs(near_hashes(images), flat.mean(1), flat.std(1), lambda i: images[i], distance=distance, new=new)
    return {(int(one), int(other)) for one, other in found}


def test_only_recompressed_and_brighter_images_are_found():
    images = pictures(300)
    brighter = np.clip(images[7] * 1.02, 0, 255).astype(np.uint8)
    together = np.concatenate([images, recompressed(images[3])[None], brighter[None]])
    assert pairs_of(together) == {(3, 300), (7, 301)}


def test_the_search_agrees_with_comparing_all_pairs():
    random = np.random.default_rng(0)
    images = pictures(40)
    noisy = [np.clip(images + random.normal(0, level, images.shape), 0, 255).astype(np.uint8) for level in (2, 5, 9)]
    together = np.concatenate([images, *noisy])
    hashes, values = near_hashes(together), together.reshape(len(together), -1).astype(np.float64)
    expected = set()
    for one in range(len(together)):
        for other in range(one + 1, len(together)):
            bits = int(hashes[one] ^ hashes[other]).bit_count()
            difference = np.sqrt(((values[one] - values[other]) ** 2).mean())
            if bits <= near.MAX_BITS and difference <= 0.1 * min(values[one].std(), values[other].std()):
                expected.add((one, other))
    assert len(expected) > 40
    assert pairs_of(together) == expected
    for new in ([3, 50, 90, 91], range(0, 160, 2)):  # few and many images use different keys
        assert pairs_of(together, new=new) == {pair for pair in expected if set(pair) & set(new)}


def test_result_does_not_depend_on_how_the_work_is_divided(monkeypatch):
    images = pictures(60)
    together = np.concatenate([images, np.stack([recompressed(image) for image in images])])
    expected = pairs_of(together)
    monkeypatch.setattr(near, "PAIRS_AT_ONCE", 2)
    monkeypatch.setattr(near, "CHUNK_PAIRS", 3)
    monkeypatch.setattr(near, "CHUNK_VALUES", 1000)
    assert pairs_of(together) == expected
    assert (near_hashes(together)[:5] == near_hashes(together[:5])).all()


def test_rectangles_are_searched_as_squares_are():
    images = np.random.default_rng(0).integers(0, 250, (60, 1, 16, 24), dtype=np.uint8)
    near = images[:20] + 2
    found = pairs_of(np.concatenate([images, near]))
    assert {(index, 60 + index) for index in range(20)} == found
    turned = np.ascontiguousarray(images.swapaxes(2, 3))
    assert (near_hashes(turned) != near_hashes(images)).any()


def test_images_of_one_colour_have_no_near_duplicates():
    flat = np.repeat(np.arange(5, dtype=np.uint8), 64).reshape(5, 1, 8, 8)
    assert pairs_of(flat, distance=1.0) == set()


def test_colours_count():
    images = pictures(2)
    red = np.concatenate([images[:1], images[:1] * 0, images[:1] * 0], axis=1)
    assert pairs_of(np.concatenate([red, red[:, [1, 0, 2]]])) == set()


def nothing(_cached, _index):
    return None


def every_second(cached, index):
    cached.look_up(DigestIndex.of_rows(index.digests, np.arange(0, len(index), 2)))
    return cached.is_seen


@pytest.mark.parametrize("looked_up", [nothing, every_second])
@pytest.mark.parametrize("with_cache", [True, False])
def test_cached_pairs_equal_those_of_a_full_search(looked_up, with_cache, tmp_path, monkeypatch):
    images = pictures(50)
    together = np.concatenate([images, np.stack([recompressed(image) for image in images[:10]])])
    order = np.random.default_rng(0).permutation(len(together))
    together = together[order]

    def find(rows):
        part = together[rows]
        flat = part.reshape(len(part), -1).astype(np.float64)
        args = (DigestIndex(digests_of(part)), near_hashes(part), flat.mean(1), flat.std(1), lambda i: part[i])
        with NearCache(tmp_path if with_cache else None, 0.1) as cached:
            found = find_near_duplicates(*args, distance=0.1, cached=cached, is_seen=looked_up(cached, args[0]))
        return {tuple(sorted(rows[pair].tolist())) for pair in found}

    everything = find(np.arange(60))
    assert len(everything) >= 8
    gone = (np.arange(55), np.arange(25), np.arange(40), np.arange(5, 60))
    for rows in (np.arange(30), np.arange(50), np.arange(10, 60)[::-1], np.arange(60), *gone, np.arange(60)):
        assert find(rows) == {pair for pair in everything if set(pair) <= set(rows.tolist())}
    if with_cache:
        monkeypatch.setattr(
            near_groups, "near_pairs", lambda *_, new, **__: np.empty((0, 2), np.int64) if not len(new) else 1 / 0
        )
        assert find(np.arange(45)) < everything
        assert find(np.arange(60)) == everything


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut"])
def test_a_damaged_cache_is_rebuilt(content, tmp_path):
    images = pictures(5)
    flat = images.reshape(5, -1).astype(np.float64)
    args = (DigestIndex(digests_of(images)), near_hashes(images), flat.mean(1), flat.std(1), lambda i: images[i])
    for _ in range(2):
        with NearCache(tmp_path, 0.1) as cached:
            assert len(find_near_duplicates(*args, distance=0.1, cached=cached)) == 0
        (kept,) = tmp_path.iterdir()
        kept.write_bytes(content)


def test_a_write_error_of_the_cache_is_raised(tmp_path):
    """Although another thread writes it."""
    images = pictures(5)
    flat = images.reshape(5, -1).astype(np.float64)
    args = (DigestIndex(digests_of(images)), near_hashes(images), flat.mean(1), flat.std(1), lambda i: images[i])
    (tmp_path / "no folder").touch()
    with pytest.raises(FileExistsError), NearCache(tmp_path / "no folder", 0.1) as cached:
        find_near_duplicates(*args, distance=0.1, cached=cached)


def test_flags_name_the_partner_of_the_smallest_hash():
    digests = np.zeros((3, 32), dtype=np.uint8)
    digests[:, 0] = [3, 1, 2]
    flags = near_flags(np.array([[0, 1], [0, 2]]), DigestIndex(digests))
    assert flags == {
        0: "near_duplicate:0100000000000000",
        1: "near_duplicate:0300000000000000",
        2: "near_duplicate:0300000000000000",
    }
