"""What every model family is to the rest of the project."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Generator, Tensor, nn
from torch.nn import Parameter

# Torch's generator for processors uses the lowest 32 bits of a seed: beyond them, two seeds would draw the same image.
LARGEST_SEED = 2**32 - 1


@dataclass(frozen=True)
class ImageShape:
    """What a model draws, channels x image_size x image_size; `classes` is empty when it is unconditional."""

    image_size: int
    channels: int
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Loss:
    """The loss of one phase of a step: `value` is a scalar to differentiate, `figures` are scalars to follow."""

    value: Tensor
    figures: dict[str, Tensor]


@dataclass(frozen=True)
class Part:
    """Images first to end - 1 of a batch of `whole` images: what `loss` is given when a batch is taken in parts."""

    first: int
    end: int
    whole: int


class GenerativeModel(nn.Module, ABC):
    """A model family: `genai_core.models.<family>.build(config, shape)` makes one.

    A training step runs the phases in order; each has an optimizer over its own parameters. A GAN has two,
    ("discriminator", "generator"), a diffusion model one; a VQ-VAE trains its tokenizer first and then its prior, one
    phase at a time. Pixels are floats in [-1, 1] inside and uint8 outside.
    """

    family: ClassVar[str]
    phases: ClassVar[tuple[str, ...]]
    # How the pictures taken during training are drawn. The recipe alone may rule it: if the config's sampling section
    # did, changing that would mean training again.
    preview_sampling: Any

    shape: ImageShape
    # Set by the training step: which part of the batch the next call of `loss` is given; None is the whole batch.
    part: Part | None = None

    @abstractmethod
    def phase_parameters(self, phase: str) -> Sequence[Parameter]:
        """The parameters that this phase's optimizer updates."""

    def phases_at(self, share: float) -> Sequence[str]:  # noqa: ARG002 - families that train one part after another
        """The phases of a step, when this share (0 to 1) of the run's images has been seen; some of `phases`."""
        return self.phases

    def learning_rate_factor(self, phase: str) -> float:  # noqa: ARG002 - families with several phases look at it
        """What the learning rate is multiplied with in this phase."""
        return 1.0

    @abstractmethod
    def loss(self, phase: str, images: Tensor, labels: Tensor | None, generator: Generator) -> Loss:
        """The loss of `phase` on a batch: images (B, C, H, W) float in [-1, 1], labels (B,) int64 or None.

        All randomness comes from `generator`, drawn on its device, so that a resumed run goes on exactly.
        """

    def end_step(self, batch_images: int, figures: Mapping[str, float]) -> None:
        """Keep, in buffers, what training goes by beside its weights, such as how many images were seen.

        Called once a step, whatever the number of parts and processes: batch_images and figures are the whole batch's.
        """

    def alarm(self, figures: Mapping[str, float]) -> str | None:  # noqa: ARG002 - what is alarming is the family's to say
        """What is wrong when a stretch of training has these mean figures, such as a collapse; None when nothing is."""
        return None

    @abstractmethod
    def sampled_network(self) -> nn.Module:
        """The submodule that draws: its moving average is what is saved, measured and sampled."""

    @abstractmethod
    def sample(self, labels: Tensor | None, seeds: Tensor, sampling: Any) -> Tensor:
        """Images (N, C, H, W) uint8 on the model's device, from labels (N,) int64, or None, and seeds (N,) int64.

        Image i depends on labels[i] and seeds[i] alone, not on the batch that it is drawn in, up to float rounding.
        `sampling` is the family's sampling section of the config. Raises ValueError when labels or seeds do not fit.
        """

    def pictures(self, images: Tensor, labels: Tensor | None) -> Mapping[str, Tensor]:  # noqa: ARG002 - as alarm
        """Grids by name, (rows, columns, C, H, W) uint8, that show more than samples do, such as reconstructions.

        From some training images (B, C, H, W) in [-1, 1] with their labels (B,), or None. Drawn at the end of a run.
        """
        return {}


def to_uint8(images: Tensor) -> Tensor:
    """Images (..., C, H, W) float in [-1, 1], values beyond are clipped, as uint8."""
    return (images.float() * 127.5 + 128.0).clamp(0, 255).to(torch.uint8)


def to_unit(images: Tensor) -> Tensor:
    """Images (N, C, H, W) uint8 as float32 in [-1, 1]."""
    return images.float() / 127.5 - 1.0


def seeded_noise(seeds: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Standard normal noise (N, *shape) float32 on the CPU; row i comes from seeds[i] alone, seeds (N,) int64.

    One generator an image: with one for the batch, an image would change with its neighbours. Raises as generator_of.
    """
    rows = [torch.randn(shape, generator=generator_of(seed)) for seed in seeds.tolist()]
    return torch.stack(rows) if rows else torch.empty((0, *shape))


def generator_of(seed: int) -> Generator:
    """The random numbers of one image, on the CPU. Raises ValueError for a seed that another one stands for."""
    if not 0 <= seed <= LARGEST_SEED:
        raise ValueError(f"expected a seed from 0 to 2**32 - 1, got {seed}: the generator uses 32 bits of it")
    return Generator().manual_seed(seed)


def check_labels(labels: Tensor | None, shape: ImageShape, count: int) -> None:
    """Raises ValueError when `labels` do not fit a model of this shape, or `count` images."""
    classes = len(shape.classes)
    if labels is None:
        if classes:
            raise ValueError(f"expected one label an image, from 0 to {classes - 1}, got none: the model has classes")
        return
    if not classes:
        raise ValueError("expected no labels, got some: the model is unconditional")
    if labels.shape != (count,):
        raise ValueError(f"expected one label an image, ({count},), got {tuple(labels.shape)}")
    if count and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise ValueError(f"expected labels from 0 to {classes - 1}, got {int(labels.min())} to {int(labels.max())}")
