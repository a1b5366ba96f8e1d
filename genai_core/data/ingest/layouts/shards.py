"""Numbered folders that only divide many files: 00000/img00000000.png ... 00001/img00001000.png."""

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise

_SIZES = (100, 1_000, 10_000, 100_000)  # of a full shard, where files are missing
_LAST_NUMBER = re.compile(r"(\d+)\D*$")


def are_shards(files: Mapping[str, Sequence[str]]) -> bool:
    """Whether folders are shards of one numbered sequence and not classes; files: the files' names per folder.

    They are if the folders' names are zero-padded numbers of one width, and each folder has the next part of one
    numbering of the files, all parts of one size. Classes begin anew in each folder (GTSRB: 00000/00000_00000.ppm,
    00001/00000_00000.ppm), or have numbers of the whole dataset mixed.
    """
    widths = {len(folder) for folder in files}
    if len(files) < 2 or len(widths) > 1 or widths == {1} or not all(map(str.isdecimal, files)):
        return False
    if not any(folder.startswith("0") for folder in files):
        return False
    ranges = []
    for folder in sorted(files):
        numbers = [int(match[1]) for name in files[folder] if (match := _LAST_NUMBER.search(name.rpartition(".")[0]))]
        if len(numbers) < len(files[folder]):
            return False
        ranges.append((min(numbers), max(numbers)))
    if any(before[1] >= after[0] for before, after in pairwise(ranges)):
        return False
    one_step = len({after[0] - before[0] for before, after in pairwise(ranges)}) == 1
    return one_step or any(
        all(first // size == last // size for first, last in ranges)
        and len({first // size for first, _ in ranges}) == len(ranges)
        for size in _SIZES
    )
