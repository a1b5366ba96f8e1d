"""Exact nearest neighbours in feature space, in chunks: memory does not grow with the product of the set sizes.

Features are arrays, or tensors on any device: the work is done in float64 where they are, and results are arrays.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from genai_core.evaluation.statistics import Float64

Points = npt.NDArray[np.floating] | Tensor  # (N, D)

CHUNK_VALUES = 8_000_000  # float64 values per chunk: 64 MB


@dataclass(frozen=True)
class Neighbours:
    """The k nearest points of each query, nearest first: distances (N, k) and indices into the points (N, k)."""

    distances: Float64
    index: npt.NDArray[np.int64]


def nearest(queries: Points, points: Points | None = None, k: int = 1) -> Neighbours:
    """Find the k nearest of points (M, D) for each of queries (N, D), Euclidean.

    points None: among the queries, excluding the query itself. Raises ValueError when there are fewer than k points.
    """
    among = queries if points is None else points
    available = len(among) - (points is None)
    if not 1 <= k <= available:
        raise ValueError(f"expected at least {k} neighbours to choose from, got {available} images")
    distances, index = np.empty((len(queries), k)), np.empty((len(queries), k), dtype=np.int64)
    for chunk, squared in squared_distances(queries, among):
        if points is None:
            squared[:, chunk].fill_diagonal_(torch.inf)
        values, found = squared.topk(min(k + 1, len(among)), dim=1, largest=False)
        # Of equal distances the lower index comes first; topk takes any.
        tied = (values.diff(dim=1) == 0).any(dim=1)
        if tied.any():
            found[tied, :k] = squared[tied].argsort(dim=1, stable=True)[:, :k]
        index[chunk], distances[chunk] = found[:, :k].cpu().numpy(), values[:, :k].sqrt().cpu().numpy()
    return Neighbours(distances, index)


def squared_distances(a: Points, b: Points) -> Iterator[tuple[slice, Tensor]]:
    """Yield squared distances of a (N, D) to b (M, D), a chunk of rows at a time: (rows, (chunk, M))."""
    # Relative to the mean of b, so that an offset costs no precision.
    queries, other = as_tensor(a), as_tensor(b).double()
    centre = other.mean(dim=0)
    other = other - centre
    other_squares = other.square().sum(dim=1)
    for chunk in chunks(len(a), row_values=len(b)):
        rows = queries[chunk].double() - centre
        squared = torch.addmm(other_squares, rows, other.T, alpha=-2)
        squared += rows.square().sum(dim=1, keepdim=True)
        yield chunk, squared.clamp_(min=0)


def as_tensor(points: Points) -> Tensor:
    """Return points as a tensor, without a copy if possible."""
    if isinstance(points, Tensor):
        return points
    return torch.from_numpy(points if points.flags.writeable else points.copy())  # torch warns about read-only memory


def chunks(rows: int, row_values: int) -> Iterator[slice]:
    """Yield slices of `rows` rows, each of at most about CHUNK_VALUES values."""
    step = max(1, CHUNK_VALUES // max(1, row_values))
    for begin in range(0, rows, step):
        yield slice(begin, min(begin + step, rows))
