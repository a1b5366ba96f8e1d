"""Reading ahead over adjacent members does not change the contents."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genai_core.data.raw.locations import Member, PackReader

SIZES = [0, 1, 700, 65_535, 65_536, 70_000, 300, 3, 200_000, 5, 5]
GAPS = [512, 512, 4_096, 4_097, 512, 512, 30_000, 512, 0, 512, 0]


@pytest.fixture(scope="module")
def packs(tmp_path_factory):
    """Two files of noise, and the locations of members in them, up to the end."""
    files = []
    for name in ("a", "b"):
        path = tmp_path_factory.mktemp("packs") / name
        content = np.random.default_rng(len(files)).bytes(sum(SIZES) + sum(GAPS))
        path.write_bytes(content)
        ends = np.cumsum(np.array(SIZES) + np.array(GAPS)).tolist()
        members = [Member(str(path), end - size, size, "x.png") for end, size in zip(ends, SIZES, strict=True)]
        files.append((content, members))
    return files


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, len(SIZES) - 1)), max_size=30))
def test_members_are_read_in_any_order(packs, order):
    with PackReader() as reader:
        for file, number in [*order, *((0, number) for number in range(len(SIZES)))]:
            content, members = packs[file]
            member = members[number]
            assert reader.read(member) == content[member.offset : member.offset + member.size]


@pytest.mark.parametrize("size", [10, 100_000])
def test_a_member_beyond_the_end_is_an_error(size, tmp_path):
    (tmp_path / "pack").write_bytes(bytes(1_000))
    first = Member(str(tmp_path / "pack"), 0, 500, "1.png")
    with PackReader() as reader:
        assert reader.read(first) == bytes(500)
        with pytest.raises(OSError, match=r"ends before the end of 2\.png"):
            reader.read(first._replace(offset=995, size=size, name="2.png"))
        assert reader.read(first) == bytes(500)
