"""Differentiable augmentation of what a discriminator sees, real and generated alike.

With it a discriminator cannot learn a small dataset by heart (Zhao et al. 2020, arXiv 2006.10738). All draws come from
the generator that is given.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Generator, Tensor

Augmentation = Literal["translation", "cutout", "colour"]

_TRANSLATION_SHARE = 1 / 8  # of the side; this and the next as in the paper
_CUTOUT_SHARE = 1 / 2


def diff_augment(
    images: Tensor, policy: Sequence[Augmentation], generator: Generator, probability: Tensor | None = None
) -> Tensor:
    """Images (B, C, H, W) in [-1, 1], each changed by chance in the ways that `policy` names, differentiably.

    probability: of each way, for each image, a scalar (Karras et al. 2020, arXiv 2006.06676: while it is below 0.8 or
    so, a generator that draws changed images is found out). None: all are changed, as in the paper.
    """
    for name in ("colour", "translation", "cutout"):
        if name in policy:
            changed = _FUNCTIONS[name](images, generator)
            if probability is not None:
                chosen = _uniform(images, generator) < probability
                changed = torch.where(chosen, changed, images)
            images = changed
    return images


def _colour(images: Tensor, generator: Generator) -> Tensor:
    """Brightness by up to half of the range from black to mid-grey, saturation times 0 to 2, contrast times 0.5 to 1.5.

    The paper's ranges. On grey images saturation changes nothing.
    """
    brightness, saturation, contrast = (_uniform(images, generator) for _ in range(3))
    images = images + (brightness - 0.5)
    grey = images.mean(dim=1, keepdim=True)
    images = grey + (images - grey) * (2 * saturation)
    level = images.mean(dim=(1, 2, 3), keepdim=True)
    return level + (images - level) * (contrast + 0.5)


def _translation(images: Tensor, generator: Generator) -> Tensor:
    """Moved by whole pixels; what comes in from outside is 0, mid-grey."""
    most = round(images.shape[2] * _TRANSLATION_SHARE)
    device = generator.device
    down, right = (torch.randint(-most, most + 1, (len(images),), generator=generator, device=device) for _ in range(2))
    # As products with shifted unit matrices: gathering by index has a backward pass that is slow where it is exact.
    rows = _shift_matrices(images.shape[2], down).to(images)
    columns = _shift_matrices(images.shape[3], right).to(images)
    return rows[:, None] @ images @ columns.transpose(1, 2)[:, None]


def _shift_matrices(side: int, shifts: Tensor) -> Tensor:
    """(B, side, side) such that the product with a column moves it down by shifts (B,)."""
    places = torch.arange(side, device=shifts.device)
    return (places[None, :, None] - shifts[:, None, None] == places[None, None, :]).float()


def _cutout(images: Tensor, generator: Generator) -> Tensor:
    """A square of half the side, anywhere, becomes 0."""
    height, width = images.shape[2:]
    inside = []
    for side in (height, width):
        half = side * _CUTOUT_SHARE / 2
        centre = torch.randint(0, side + 1, (len(images), 1), generator=generator, device=generator.device)
        places = torch.arange(side, device=generator.device)
        inside.append(((places + 0.5 - centre).abs() < half).float())
    hole = inside[0][:, None, :, None] * inside[1][:, None, None, :]
    return images * (1 - hole).to(images)


def _uniform(images: Tensor, generator: Generator) -> Tensor:
    return torch.rand((len(images), 1, 1, 1), generator=generator, device=generator.device).to(images)


_FUNCTIONS = {"colour": _colour, "translation": _translation, "cutout": _cutout}
