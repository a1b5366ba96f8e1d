"""Hashes and the order that sorts them, found once: looking up many in many is then one pass over both."""

import numpy as np
import numpy.typing as npt

from genai_core.data.dataset.facts import Digests, Indices, rows_at


class DigestIndex:
    """Hashes (N, 32) and the order (M,) that sorts them, or those of some rows, equal ones as they come.

    heads: (M,) the beginnings of the hashes as numbers, in that order.
    """

    def __init__(self, digests: Digests, order: Indices | None = None) -> None:
        self.digests: Digests = np.ascontiguousarray(digests)
        heads = heads_of(self.digests)
        self.order = _order_of(self.digests, heads, np.arange(len(heads))) if order is None else order
        self.heads = heads[self.order]

    @classmethod
    def of_rows(cls, digests: Digests, rows: Indices) -> "DigestIndex":
        """Of these rows alone; the others are as if they were not there. Quick for rows that are sorted in parts."""
        return cls(digests, _order_of(digests, heads_of(digests), rows))

    def __len__(self) -> int:
        return len(self.digests)

    def at(self, indices: Indices) -> "DigestIndex":
        """Some of them. indices: ascending."""
        if len(indices) == len(self):
            return self
        place = np.full(len(self), -1, dtype=np.int64)
        place[indices] = np.arange(len(indices))
        order = place[self.order]
        return DigestIndex(rows_at(self.digests, indices), order[order >= 0])

    def find(self, wanted: "DigestIndex") -> Indices:
        """For each of the `wanted` (M, 32) its index in these, the first of several, or -1."""
        found = np.full(len(wanted), -1, dtype=np.int64)
        if len(self.order) == 0:
            return found
        rows, heads = wanted.order, wanted.heads
        place = np.searchsorted(self.heads, heads)
        # More than one step only when two hashes agree in their first 64 bits.
        while len(rows):
            inside = np.minimum(place, len(self.order) - 1)
            at = self.order[inside]
            equal = _are_equal(rows_at(self.digests, at), rows_at(wanted.digests, rows))
            found[rows] = np.where(equal, at, -1)
            others = np.flatnonzero(~equal & (place == inside) & (self.heads[inside] == heads))
            rows, heads, place = rows[others], heads[others], place[others] + 1
        return found


def heads_of(digests: Digests) -> npt.NDArray[np.uint64]:
    """The first eight bytes of hashes (N, 32) as numbers (N,) that sort as the hashes do."""
    return np.ascontiguousarray(digests).view(">u8").reshape(-1, 4)[:, 0].astype(np.uint64)


def may_be_in(many: Digests, few: Digests) -> Indices:
    """Of hashes (N, 32) the indices of those that begin as one of a few does: the others need not be sorted."""
    is_begin = np.zeros(1 << 16, dtype=np.bool_)
    is_begin[_begins(few)] = True
    return np.flatnonzero(is_begin[_begins(many)])


def _begins(digests: Digests) -> npt.NDArray[np.uint16]:
    return np.ascontiguousarray(digests[:, :2]).view(np.uint16).ravel()


def _order_of(digests: Digests, heads: npt.NDArray[np.uint64], rows: Indices) -> Indices:
    order = rows[np.argsort(heads[rows], kind="stable")]  # which goes quickly through what is in order in parts
    ordered = heads[order]
    same = ordered[1:] == ordered[:-1]
    if not same.any():  # different images, unless somebody has made them collide
        return order
    tied = np.flatnonzero(np.concatenate([[False], same]) | np.concatenate([same, [False]]))
    words = rows_at(digests, order[tied]).view(">u8").astype(np.uint64)
    order[tied] = order[tied][np.lexsort((order[tied], *words.T[::-1]))]
    return order


def _are_equal(one: Digests, other: Digests) -> npt.NDArray[np.bool_]:
    same = one.view(np.uint64).reshape(-1, 4) == other.view(np.uint64).reshape(-1, 4)
    return np.asarray(same[:, 0] & same[:, 1] & same[:, 2] & same[:, 3])
