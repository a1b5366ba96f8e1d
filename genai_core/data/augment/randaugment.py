"""RandAugment (Cubuk et al. 2020): a few random operations from a fixed list, all with the same strength.

torchvision's own class fills uncovered pixels with black and also blends black into the seam. A generative model would
learn to draw that. This module therefore implements the list itself, with torchvision's functions and `warp`.
"""

import math
from collections.abc import Callable

import torch
from torchvision.transforms.v2 import functional

from genai_core.data.augment.warp import warp

Operation = Callable[[torch.Tensor, float], torch.Tensor]

LEVELS = 30
# Effect of the strongest level, as in the paper's code.
MAX_SHEAR, MAX_SHIFT_SHARE, MAX_DEGREES, MAX_FACTOR, MAX_BITS_LOST = 0.3, 150 / 331, 30.0, 0.9, 4


def randaugment(image: torch.Tensor, operations: int, magnitude: int) -> torch.Tensor:
    """Apply `operations` random members of OPERATIONS in a row; where a sign makes sense, it is random too.

    image: (C, H, W) uint8, C 1 or 3 -> the same. magnitude: 1 to LEVELS. Draws from torch's generator.
    """
    for _ in range(operations):
        index, sign = int(torch.randint(len(OPERATIONS), ())), 1 - 2 * int(torch.randint(2, ()))
        image = list(OPERATIONS.values())[index](image, sign * magnitude / LEVELS)
    return image


def _shear(tangent: float) -> float:
    return math.degrees(math.atan(tangent))


# strength: -1 to 1.
OPERATIONS: dict[str, Operation] = {
    "identity": lambda image, _strength: image,
    "shear_x": lambda image, strength: warp(image, shear_degrees=(_shear(MAX_SHEAR * strength), 0.0)),
    "shear_y": lambda image, strength: warp(image, shear_degrees=(0.0, _shear(MAX_SHEAR * strength))),
    "shift_x": lambda image, strength: warp(image, shift_px=(MAX_SHIFT_SHARE * strength * image.shape[-1], 0.0)),
    "shift_y": lambda image, strength: warp(image, shift_px=(0.0, MAX_SHIFT_SHARE * strength * image.shape[-2])),
    "rotate": lambda image, strength: warp(image, angle_degrees=MAX_DEGREES * strength),
    "brightness": lambda image, strength: functional.adjust_brightness(image, 1 + MAX_FACTOR * strength),
    "saturation": lambda image, strength: functional.adjust_saturation(image, 1 + MAX_FACTOR * strength),
    "contrast": lambda image, strength: functional.adjust_contrast(image, 1 + MAX_FACTOR * strength),
    "sharpness": lambda image, strength: functional.adjust_sharpness(image, 1 + MAX_FACTOR * strength),
    "posterize": lambda image, strength: functional.posterize(image, 8 - round(MAX_BITS_LOST * abs(strength))),
    "solarize": lambda image, strength: functional.solarize(image, 255 * (1 - abs(strength))),
    "autocontrast": lambda image, _strength: functional.autocontrast(image),
    "equalize": lambda image, _strength: functional.equalize(image),
}
