"""Exact nearest neighbours in feature space, in chunks: memory does not grow with the product of the set sizes."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from genai_core.evaluation.statistics import Float64

CHUNK_VALUES = 8_000_000  # float64 values per chunk: 64 MB


@dataclass(frozen=True)
class Neighbours:
    """The k nearest points of each query, nearest first: distances (N, k) and indices into the points (N, k)."""

    distances: Float64
    index: npt.NDArray[np.int64]


def nearest(
    queries: npt.NDArray[np.floating], points: npt.NDArray[np.floating] | None = None, k: int = 1
) -> Neighbours:
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
            rows = np.arange(chunk.stop - chunk.start)
            squared[rows, rows + chunk.start] = np.inf
        found = np.argpartition(squared, k - 1, axis=1)[:, :k]
        values = np.take_along_axis(squared, found, axis=1)
        order = np.lexsort((found, values), axis=1)  # with equal distances, the lower index first
        index[chunk] = np.take_along_axis(found, order, axis=1)
        distances[chunk] = np.sqrt(np.take_along_axis(values, order, axis=1))
    return Neighbours(distances, index)


def radii(features: npt.NDArray[np.floating], k: int) -> Float64:
    """Distance of each of features (N, D) to its k-th nearest neighbour among the others: (N,)."""
    return nearest(features, k=k).distances[:, -1]


def squared_distances(a: npt.NDArray[np.floating], b: npt.NDArray[np.floating]) -> Iterator[tuple[slice, Float64]]:
    """Yield squared distances of a (N, D) to b (M, D), a chunk of rows at a time: (rows, (chunk, M))."""
    # Relative to the mean of b, so that an offset costs no precision.
    centre = b.mean(axis=0, dtype=np.float64)
    other = b.astype(np.float64) - centre
    other_squares = (other**2).sum(axis=1)
    for chunk in chunks(len(a), row_values=len(b)):
        rows = a[chunk].astype(np.float64) - centre
        squared = rows @ other.T
        squared *= -2
        squared += other_squares
        squared += (rows**2).sum(axis=1)[:, None]
        np.clip(squared, 0, None, out=squared)
        yield chunk, squared


def chunks(rows: int, row_values: int) -> Iterator[slice]:
    """Yield slices of `rows` rows, each of at most about CHUNK_VALUES values."""
    step = max(1, CHUNK_VALUES // max(1, row_values))
    for begin in range(0, rows, step):
        yield slice(begin, min(begin + step, rows))
