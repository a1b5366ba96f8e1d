"""Non-leaking augmentation: the network is told how an image was augmented (Karras et al. 2022, appendix F.2).

In sampling it is told that nothing was done, so no image comes out mirrored, shifted or enlarged.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor
from torch.nn import functional

Operation = Literal["flip", "translation", "scale"]

PARAMETERS = 4  # numbers that describe the augmentation: mirrored, moved right, moved down, enlarged
_TRANSLATION_SHARE = 1 / 8  # of the width or height, at most
_LOG_SCALE_STD = 0.2 * math.log(2)  # as in the paper


@dataclass(frozen=True)
class Augmented:
    """images (B, C, H, W), and the augmentation of each, parameters (B, 4), all 0 for an unchanged image."""

    images: Tensor
    parameters: Tensor


def augment(images: Tensor, operations: Sequence[Operation], share: float, generator: Generator) -> Augmented:
    """Apply each operation to each of the images (B, C, H, W) with probability `share`.

    Random numbers are always drawn for all operations, so that adding one leaves the draws of the others unchanged.
    Pixels from outside the image repeat its border.
    """
    count, device = len(images), generator.device
    chance = torch.rand((count, 3), generator=generator, device=device) < share
    moves = _moves(images, generator)
    log_scale = torch.randn((count, 1), generator=generator, device=device) * _LOG_SCALE_STD
    flip = chance[:, :1] * float("flip" in operations)
    moves = moves * chance[:, 1:2] * float("translation" in operations)
    log_scale = log_scale * chance[:, 2:] * float("scale" in operations)
    # Normalised by their maximum or standard deviation, to about -1 to 1.
    parameters = torch.cat([flip, moves / _TRANSLATION_SHARE, log_scale / _LOG_SCALE_STD], dim=1).to(images.device)
    return Augmented(_warped(images, flip, moves, log_scale), parameters)


def _moves(images: Tensor, generator: Generator) -> Tensor:
    """Draw moves to the right and down of images (B, C, H, W), as shares of width and height: (B, 2)."""
    sides = (images.shape[-1], images.shape[-2])
    reach = [round(side * _TRANSLATION_SHARE) for side in sides]
    most = max(reach)
    # One call draws for both directions, as it always did for squares; moves along the shorter side are scaled down.
    drawn = torch.randint(-most, most + 1, (len(images), 2), generator=generator, device=generator.device).float()
    # Whole pixels: interpolation between pixels would blur the image.
    moves = [
        (column * (own / most)).round() / side for column, own, side in zip(drawn.unbind(1), reach, sides, strict=True)
    ]
    return torch.stack(moves, dim=1)


def _warped(images: Tensor, flip: Tensor, moves: Tensor, log_scale: Tensor) -> Tensor:
    """Transform images. flip (B, 1); moves (B, 2) as shares of width and height; log_scale (B, 1)."""
    shrink = (-log_scale).exp()
    # Maps a position in the new image, -1 to 1, to the position in the old one that it shows.
    rows = torch.zeros((len(images), 2, 3), device=flip.device)
    rows[:, 0, 0], rows[:, 1, 1] = ((1 - 2 * flip) * shrink)[:, 0], shrink[:, 0]
    rows[:, :, 2] = rows.diagonal(dim1=1, dim2=2) * -2 * moves
    grid = functional.affine_grid(rows, list(images.shape), align_corners=False).to(images)
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
