"""Find files with the same pixels, compared after decoding and resizing, as a model sees them.

Otherwise the same picture saved as PNG and as BMP could be in both train and test.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from genai_core.data.cache.digest_index import DigestIndex, prefixes_of
from genai_core.data.dataset.facts import Indices, take_rows


@dataclass(frozen=True)
class Duplicates:
    """Result of the search.

    kept: indices of the files to keep (N,), in order. of: index of each dropped file -> the kept file with the same
    pixels. contradicting: files with the same pixels but different labels; none of them is kept.
    """

    kept: Indices
    of: dict[int, int]
    contradicting: tuple[tuple[int, ...], ...]


def find_duplicates(index: DigestIndex, labels: Indices, ranks: npt.NDArray[np.integer], among: Indices) -> Duplicates:
    """Among files with the same pixels, keep the one with the lowest rank, then the first.

    index: N hashes; labels and ranks (N,) of all files; among: indices of the decoded files, in order.
    """
    decoded = index.at(among)
    same = decoded.prefixes[1:] == decoded.prefixes[:-1]
    is_alone = np.ones(len(among), dtype=np.bool_)
    is_alone[decoded.order[1:][same]] = False
    is_alone[decoded.order[:-1][same]] = False
    alone, among = among[is_alone], among[~is_alone]
    if len(among) == 0:  # the usual case, and cheap to check
        return Duplicates(alone, {}, ())
    among = among[np.argsort(ranks[among], kind="stable")]
    pixels, label = take_rows(index.digests, among), labels[among]
    # Eight bytes tell images apart, unless somebody constructed a collision; the next check finds that.
    _, first, group = np.unique(prefixes_of(pixels), return_index=True, return_inverse=True)
    if not (pixels == pixels[first[group]]).all():
        raise ValueError(
            "two different images have sha256 hashes with the same first 64 bits, which does not happen by chance; "
            "check where the new images come from"
        )
    contradicts = np.zeros(len(first), dtype=np.bool_)
    np.logical_or.at(contradicts, group, label != label[first[group]])
    is_kept = np.zeros(len(among), dtype=np.bool_)
    is_kept[first[~contradicts]] = True
    later = np.flatnonzero(~is_kept & ~contradicts[group])
    groups: dict[int, list[int]] = {}
    for row in np.flatnonzero(contradicts[group]).tolist():
        groups.setdefault(int(group[row]), []).append(int(among[row]))
    return Duplicates(
        np.sort(np.concatenate([alone, among[is_kept]])),
        dict(zip(among[later].tolist(), among[first[group[later]]].tolist(), strict=True)),
        tuple(map(tuple, groups.values())),
    )
