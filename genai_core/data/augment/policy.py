"""The augmentation policy of params.yaml as a function of an image, with one seed per image."""

import hashlib
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional

from genai_core.config import AugmentConfig, FlipConfig, MoveConfig
from genai_core.data.augment.randaugment import randaugment
from genai_core.data.augment.warp import warp
from genai_core.data.dataset.facts import Pixels
from genai_core.image_size import ImageSize

Step = Callable[[torch.Tensor], torch.Tensor]


def augment_images(images: Pixels, ids: Sequence[str], numbers: Sequence[int], config: AugmentConfig) -> Pixels:
    """Return a changed copy of each image: images (N, C, H, W) uint8, ids and copy numbers (N,) -> (N, C, H, W) uint8.

    The random changes depend only on the origin's id, the copy's number and the seed. The state of torch's global
    generator, which torchvision uses, is restored afterwards.
    """
    steps = policy_steps(config, ImageSize(*images.shape[2:]))
    copies = np.empty_like(images)
    threads = torch.get_num_threads()
    # A single image is too little work for several threads; they would only wait for each other.
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            for index, (pixels, name, number) in enumerate(zip(images, ids, numbers, strict=True)):
                torch.default_generator.manual_seed(seed_of(config.seed, name, number))
                image = torch.from_numpy(pixels)
                for step in steps:
                    image = step(image)
                copies[index] = image
    finally:
        torch.set_num_threads(threads)
    return copies


def policy_steps(config: AugmentConfig, image_size: ImageSize) -> list[Step]:
    """Return the policy's steps in order; each maps (C, H, W) uint8 to the same and draws from torch's generator."""
    crop, colour = config.crop, config.colour
    # A crop of the image's own aspect ratio is resized without distortion.
    own_ratio = image_size.width / image_size.height
    steps: dict[str, Step] = {
        "flip": partial(_flipped, config=config.flip),
        "move": partial(_moved, config=config.move),
        "crop": v2.RandomResizedCrop(
            image_size,
            scale=(crop.min_area_share, 1.0),
            ratio=(own_ratio / crop.max_aspect_ratio, own_ratio * crop.max_aspect_ratio),
            interpolation=InterpolationMode.BICUBIC,
        ),
        "colour": v2.ColorJitter(colour.brightness, colour.contrast, colour.saturation, colour.hue),
        "randaugment": partial(
            randaugment, operations=config.randaugment.operations, magnitude=config.randaugment.magnitude
        ),
    }
    return [steps[name] for name in config.policy]


def seed_of(seed: int, origin: str, number: int) -> int:
    """Return the seed of copy `number` of the image `origin`."""
    return int.from_bytes(hashlib.sha256(f"{seed} {origin} {number}".encode()).digest()[:4], "little")


def _flipped(image: torch.Tensor, config: FlipConfig) -> torch.Tensor:
    if config.horizontal and torch.rand(()) < 0.5:
        image = functional.horizontal_flip(image)
    if config.vertical and torch.rand(()) < 0.5:
        image = functional.vertical_flip(image)
    return image


def _moved(image: torch.Tensor, config: MoveConfig) -> torch.Tensor:
    angle, right, down, zoom = (2 * torch.rand(4, dtype=torch.float64) - 1).tolist()
    height, width = image.shape[1:]
    return warp(
        image,
        angle_degrees=angle * config.rotate_degrees,
        shift_px=(right * (config.translate_share * width), down * (config.translate_share * height)),
        scale=1 + zoom * config.zoom_share,
    )
