"""Differentiable augmentation of the discriminator's inputs, real and generated alike.

It prevents a discriminator from memorising a small dataset (Zhao et al. 2020, arXiv 2006.10738). All random numbers
come from the given generator.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Generator, Tensor

Augmentation = Literal["translation", "cutout", "colour"]

_TRANSLATION_SHARE = 1 / 8  # of the side; both values as in the paper
_CUTOUT_SHARE = 1 / 2


def diff_augment(
    images: Tensor, policy: Sequence[Augmentation], generator: Generator, probability: Tensor | None = None
) -> Tensor:
    """Augment images (B, C, H, W) in [-1, 1] randomly with the methods in `policy`, differentiably.

    probability: scalar, of each method for each image (Karras et al. 2020, arXiv 2006.06676: below about 0.8, a
    generator that produces augmented images is detected). None: augment all images, as in the paper.
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
    """Change brightness by up to half of the range from black to mid-grey, saturation times 0 to 2, contrast 0.5 to
    1.5.

    These are the paper's ranges. Saturation does not change grey images.
    """
    brightness, saturation, contrast = (_uniform(images, generator) for _ in range(3))
    images = images + (brightness - 0.5)
    grey = images.mean(dim=1, keepdim=True)
    images = grey + (images - grey) * (2 * saturation)
    level = images.mean(dim=(1, 2, 3), keepdim=True)
    return level + (images - level) * (contrast + 0.5)


def _translation(images: Tensor, generator: Generator) -> Tensor:
    """Shift by whole pixels and fill with 0, mid-grey."""
    most = round(images.shape[2] * _TRANSLATION_SHARE)
    device = generator.device
    down, right = (torch.randint(-most, most + 1, (len(images),), generator=generator, device=device) for _ in range(2))
    # As products with shifted unit matrices: the exact backward pass of gathering by index is slow.
    rows = _shift_matrices(images.shape[2], down).to(images)
    columns = _shift_matrices(images.shape[3], right).to(images)
    return rows[:, None] @ images @ columns.transpose(1, 2)[:, None]


def _shift_matrices(side: int, shifts: Tensor) -> Tensor:
    """Return matrices (B, side, side) whose product with a column shifts it down by shifts (B,)."""
    places = torch.arange(side, device=shifts.device)
    return (places[None, :, None] - shifts[:, None, None] == places[None, None, :]).float()


def _cutout(images: Tensor, generator: Generator) -> Tensor:
    """Set a random square of half the side to 0."""
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
