"""Precision and recall, density and coverage: overlap of two sets of features, by balls around their points."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from genai_core.evaluation.figures.kernel import check_pair
from genai_core.evaluation.figures.neighbours import Points, as_tensor, nearest, squared_distances
from genai_core.evaluation.statistics import Float64

# A point on the edge of a ball counts as inside; its distance, computed twice, differs in the last digits.
EDGE = 1 + 1e-9

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Manifold:
    """Features (N, D) and the radius (N,) of each point's ball, for precision and recall and for density and coverage.

    A radius is the distance to the k-th nearest neighbour among the other points; k differs between the two pairs.
    """

    features: Points
    precision_radii: Float64
    density_radii: Float64
    density_neighbours: int


@dataclass(frozen=True)
class Overlap:
    """Results per image, so that a figure is their mean and a resample is a weighted mean.

    precise    (N,) the generated image lies in the ball of a real one
    density    (N,) number of real balls it lies in, divided by k
    recalled   (M,) the real image lies in the ball of a generated one
    covered    (M,) a generated image lies in the ball of the real one
    """

    precise: Flags
    density: Float64
    recalled: Flags
    covered: Flags


def manifold(features: Points, precision_neighbours: int, density_neighbours: int) -> Manifold:
    """Return the balls around features (N, D). Raises ValueError when there are no more images than neighbours."""
    distances = nearest(features, k=max(precision_neighbours, density_neighbours)).distances
    return Manifold(
        features, distances[:, precision_neighbours - 1], distances[:, density_neighbours - 1], density_neighbours
    )


def overlap(generated: Manifold, real: Manifold) -> Overlap:
    """Compare two sets in one pass over the distances between them.

    Precision and recall: Kynkaanniemi et al. 2019, arXiv 1904.06991, eq. 1 and 2. Density and coverage: Naeem et al.
    2020, arXiv 2002.09797, eq. 4 and 6; in the paper a point on the edge of a ball is outside, here inside.
    """
    check_pair(generated.features, real.features)
    device = as_tensor(real.features).device
    own_squares, precision_squares, density_squares = (
        EDGE * torch.from_numpy(radii).to(device).square()
        for radii in (generated.precision_radii, real.precision_radii, real.density_radii)
    )
    precise, density = [], []
    recalled = torch.zeros(len(real.features), dtype=torch.bool, device=device)
    closest = torch.full((len(real.features),), torch.inf, dtype=torch.float64, device=device)
    for chunk, squared in squared_distances(generated.features, real.features):
        precise.append((squared <= precision_squares).any(dim=1))
        density.append((squared <= density_squares).sum(dim=1).double() / real.density_neighbours)
        recalled |= (squared <= own_squares[chunk, None]).any(dim=0)
        closest = torch.minimum(closest, squared.amin(dim=0))
    found = torch.cat(precise), torch.cat(density), recalled, closest <= density_squares
    return Overlap(*(values.cpu().numpy() for values in found))
