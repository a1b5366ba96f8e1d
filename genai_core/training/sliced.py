"""Distance between two sets of images, fast and without a trained network.

Image patches at several sizes are compared by the sliced Wasserstein distance, as Karras et al. 2018 (arXiv 1710.10196,
section 5) monitor GANs during training. Early stopping uses it to detect that nothing improves. The models' figures use
the features of the extractor stage instead. Training does not depend on that stage, so another way of measuring does
not require retraining, and both can run in parallel.
"""

import torch
from torch import Generator, Tensor
from torch.nn import functional

from genai_core.models.protocol import to_unit

_PATCH = 7  # pixels per side of a patch, as in the paper
_DIRECTIONS = 64
_SMALLEST = 8  # pixels of the shorter side of the smallest size
_POSITIONS = 8  # approximate number of patches per side; more would only take longer


class SlicedDistance:
    """Distance of images from `reference`, both (N, C, H, W) uint8 with the same N.

    At each size (full, half, a quarter ... down to 8 pixels) all patches are projected on the same 64 random
    directions. The distance is the mean difference of the sorted projections, over directions and sizes.
    """

    def __init__(self, reference: Tensor) -> None:
        # The same directions in every run, so that distances can be compared.
        filters = torch.randn((_DIRECTIONS, reference.shape[1], _PATCH, _PATCH), generator=Generator().manual_seed(0))
        self._filters = filters / filters.flatten(1).norm(dim=1)[:, None, None, None]
        self._images = len(reference)
        self._reference = self._projections(reference)

    def __call__(self, images: Tensor) -> float:
        """Return the distance. Raises ValueError unless there are as many images as in the reference."""
        if len(images) != self._images:
            raise ValueError(f"expected {self._images} images, as many as in the reference, got {len(images)}")
        pairs = zip(self._projections(images), self._reference, strict=True)
        return float(torch.stack([(one - other.to(one.device)).abs().mean() for one, other in pairs]).mean())

    def _projections(self, images: Tensor) -> list[Tensor]:
        """Return sorted projections (directions, patches) for each size."""
        sorted_projections, level = [], to_unit(images)
        while min(level.shape[2:]) >= _SMALLEST:
            stride = [max(1, (side - _PATCH) // _POSITIONS) for side in level.shape[2:]]
            projected = functional.conv2d(level, self._filters.to(level.device), stride=stride)
            sorted_projections.append(projected.transpose(0, 1).flatten(1).sort(dim=1).values)
            level = functional.avg_pool2d(level, 2)
        return sorted_projections
