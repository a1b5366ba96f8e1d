"""Common interface of all model families."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from torch import Generator, Tensor, nn
from torch.nn import Parameter

from genai_core import GenaiError
from genai_core.config import ModelRecipe, SamplingConfig
from genai_core.config.models import FewSteps
from genai_core.image_size import ImageSize
from genai_core.models.editing import Start, Watch
from genai_core.seeds import LARGEST_SEED

# Weights are shares in float32, so their sum is 1 only up to rounding.
WEIGHTS_TOLERANCE = 1e-3

Sampling = TypeVar("Sampling", bound=SamplingConfig)


@dataclass(frozen=True)
class ImageShape:
    """Height, width and channels of a model's images; `classes` is empty if unconditional."""

    image_size: ImageSize
    channels: int
    classes: tuple[str, ...]

    @property
    def chw(self) -> tuple[int, int, int]:
        """Shape of one image as a tensor, (C, H, W)."""
        return self.channels, *self.image_size

    def __str__(self) -> str:
        kind = "colour" if self.channels == 3 else "grey"
        classes = f"classes {', '.join(self.classes)}" if self.classes else "no classes"
        return f"{self.image_size} pixels, {kind}, {classes}"


@dataclass(frozen=True)
class Loss:
    """Loss of one phase of a step: `value` is a scalar to differentiate, `figures` are scalars to record."""

    value: Tensor
    figures: dict[str, Tensor]


@dataclass(frozen=True)
class Part:
    """Images first to end - 1 of a batch of `whole` images.

    batch_mean: returns the mean over the batch of what is the mean over this part, for families that need it
    (`GenerativeModel.needs_batch_mean`); None: the other parts are not known.
    """

    first: int
    end: int
    whole: int
    batch_mean: Callable[[Tensor], Tensor] | None = None


@dataclass(frozen=True)
class Lesson:
    """What a few-step model learns from its teacher.

    weights: sha256 of the teacher's. sampling: how the teacher draws. pairs: images that it draws. labels: (pairs,)
    int64, theirs; None without classes. steps: the most network evaluations of the few-step model.
    """

    weights: str
    sampling: SamplingConfig
    pairs: int
    labels: Tensor | None
    steps: FewSteps


@dataclass(frozen=True)
class Trainee:
    """A model to train, and the recipe of what the training makes of it."""

    model: "GenerativeModel"
    recipe: ModelRecipe


class GenerativeModel(nn.Module, ABC):
    """A model family; `genai_core.models.<family>.build(config, shape)` creates one.

    A training step runs the phases in order; each has an optimizer over its own parameters. A GAN has two,
    ("discriminator", "generator"), a diffusion model has one. A VQ-VAE trains its tokenizer first and then its prior,
    one phase at a time. Pixels are floats in [-1, 1] inside and uint8 outside.
    """

    family: ClassVar[str]
    phases: ClassVar[tuple[str, ...]]
    # Sampling options for previews during training. They may depend only on the recipe: if they followed the config's
    # sampling section, changing it would require new training.
    preview_sampling: SamplingConfig

    shape: ImageShape
    # Whether sampling begins from a start image itself; other families need the noise that gives it.
    edits_images: bool = False
    # Whether sampling takes several steps, between which there is something to see.
    has_previews: ClassVar[bool] = False
    # Whether classes can have separate networks (`with_own_network`).
    has_networks_for_classes: ClassVar[bool] = False
    # Whether the loss of a part depends on a mean over the whole batch.
    needs_batch_mean: ClassVar[bool] = False
    # Whether `encode` searches from where it begins, and finds something else from elsewhere.
    searches: bool = False

    @abstractmethod
    def phase_parameters(self, phase: str) -> Sequence[Parameter]:
        """The parameters that this phase's optimizer updates."""

    def phases_at(self, share: float) -> Sequence[str]:  # noqa: ARG002 - families that train one part after another
        """Return the phases of a step after this share (0 to 1) of the run's images; a subset of `phases`."""
        return self.phases

    def learning_rate_factor(self, phase: str) -> float:  # noqa: ARG002 - for families with several phases
        """Return the factor of the learning rate in this phase."""
        return 1.0

    @abstractmethod
    def loss(
        self, phase: str, images: Tensor, labels: Tensor | None, generator: Generator, part: Part | None = None
    ) -> Loss:
        """Compute the loss of `phase` on a batch: images (B, C, H, W) float in [-1, 1], labels (B,) int64 or None.

        part: which part of the batch these images are, when it is processed in parts; None: all of it. All randomness
        comes from `generator`, on its device, so that a resumed run continues exactly.
        """

    def end_step(self, batch_images: int, figures: Mapping[str, float]) -> None:
        """Update training state other than weights, kept in buffers, such as the number of images seen.

        Called once per step for any number of parts and processes: batch_images and figures are of the whole batch.
        """

    def alarm(self, figures: Mapping[str, float]) -> str | None:  # noqa: ARG002 - each family decides
        """Return a message if the mean figures of a section of training show a fault, such as a collapse; else None."""
        return None

    @abstractmethod
    def sampled_network(self) -> nn.Module:
        """Return the submodule that generates images; its moving average is saved, measured and sampled."""

    def distillation(
        self,
        recipe: Any,  # noqa: ARG002 - most families have none
        lesson: Lesson,  # noqa: ARG002
        cache: Path,  # noqa: ARG002
        on_progress: Callable[[int], None],  # noqa: ARG002
    ) -> Trainee:
        """Return the training of a model that draws in a few evaluations what this one, the teacher, draws in many.

        recipe: this model's own, with the training section of the distillation. The teacher draws its images now, or
        finds them in the folder `cache` after a stop; on_progress is called with their number so far. Raises ValueError
        for a family that draws in one evaluation already.
        """
        raise ValueError(
            f"finetune.kind: got few_step; allowed: another, because this is a {self.family} model, and only diffusion "
            "models draw in many evaluations"
        )

    def with_own_network(self, recipe: Any, new_classes: Sequence[str]) -> Trainee:
        """Return this model with another network, which alone learns these of its classes; the others stay as they are.

        recipe: this model's own. All images of the training must be of the new classes, which are not all classes.
        Raises NotImplementedError unless `has_networks_for_classes`.
        """
        raise NotImplementedError(f"a {self.family} model has one network for all classes")

    def learn_only(self, classes: Sequence[int]) -> None:
        """Let training change only weights that draw these classes; it must then have images of these alone.

        For a model whose classes share all weights, that is all of them.
        """

    def classes_of_all_weights(self) -> Sequence[int]:
        """Return numbers of classes that, together, are drawn by all weights; not used without classes."""
        return (0,)

    def result(self) -> "GenerativeModel":
        """Return the model to save after training: itself, unless the training needed more than the model."""
        return self

    @property
    @abstractmethod
    def noise_shape(self) -> tuple[int, ...]:
        """Shape of the standard normal noise that determines an image."""

    def noise(self, seeds: Tensor) -> Tensor:
        """Return the noise of seeds (N,) int64, (N, *noise_shape) float32 on the CPU. Raises as generator_of."""
        return seeded_noise(seeds, self.noise_shape)

    @abstractmethod
    def sample_from(
        self,
        noise: Tensor,
        classes: Tensor | None,
        sampling: SamplingConfig,
        start: Start | None = None,
        watch: Watch | None = None,
    ) -> Tensor:
        """Generate images (N, C, H, W) uint8 on the model's device from noise (N, *noise_shape) float32.

        classes: labels (N,) int64, or weights (N, classes) float32 that add up to 1 for a mixture; None without
        classes. start: images to begin from. watch: called after each network evaluation or token; families with a
        single evaluation do not call it. Raises as `sample` does.
        """

    @abstractmethod
    def encode(self, images: Tensor, classes: Tensor | None, sampling: SamplingConfig, begin: Tensor) -> Tensor:
        """Return noise (N, *noise_shape) from which these options generate about images (N, C, H, W) in [-1, 1].

        classes: as in sample_from; on the model's device, as the other tensors. begin: noise of that shape, where a
        search begins; families that need no search ignore it.
        """

    def sample(self, labels: Tensor | None, seeds: Tensor, sampling: SamplingConfig) -> Tensor:
        """Generate images (N, C, H, W) uint8 on the model's device from labels (N,) int64 or None and seeds (N,) int64.

        Image i depends only on labels[i] and seeds[i], not on its batch, up to float rounding. `sampling` is the
        family's sampling section of the config. Raises ValueError when labels or seeds do not fit, and TypeError for
        the sampling section of another family.
        """
        return self.sample_from(self.noise(seeds), labels, sampling)

    def pictures(self, images: Tensor, labels: Tensor | None) -> Mapping[str, Tensor]:  # noqa: ARG002 - as alarm
        """Return grids by name, (rows, columns, C, H, W) uint8, that complement samples, such as reconstructions.

        Made from training images (B, C, H, W) in [-1, 1] and their labels (B,), or None, at the end of a run.
        """
        return {}


class SamplingError(GenaiError, ValueError):
    """The model cannot draw with these sampling options; the message says which."""


def own_sampling(sampling: SamplingConfig, kind: type[Sampling]) -> Sampling:
    """Return the options as the type that a family needs. Raises TypeError for those of another family."""
    if not isinstance(sampling, kind):
        raise TypeError(f"sampling: expected {kind.__name__}, got {type(sampling).__name__}")
    return sampling


def to_uint8(images: Tensor) -> Tensor:
    """Convert images (..., C, H, W) from float in [-1, 1], with clipping, to uint8."""
    return (images.float() * 127.5 + 128.0).clamp(0, 255).to(torch.uint8)


def to_unit(images: Tensor) -> Tensor:
    """Convert images (N, C, H, W) from uint8 to float32 in [-1, 1]."""
    return images.float() / 127.5 - 1.0


def seeded_noise(seeds: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Standard normal noise (N, *shape) float32 on the CPU; row i depends only on seeds[i], seeds (N,) int64.

    One generator per image: with one for the batch, an image would depend on its neighbours. Raises as generator_of.
    """
    rows = [torch.randn(shape, generator=generator_of(seed)) for seed in seeds.tolist()]
    return torch.stack(rows) if rows else torch.empty((0, *shape))


def generator_of(seed: int) -> Generator:
    """Return the random generator of one image, on the CPU. Raises ValueError for a seed out of range."""
    if not 0 <= seed <= LARGEST_SEED:
        raise ValueError(f"expected a seed from 0 to 2**32 - 1, got {seed}: the generator uses 32 bits of it")
    return Generator().manual_seed(seed)


def check_classes(classes: Tensor | None, shape: ImageShape, count: int) -> None:
    """Raise ValueError when labels or weights do not fit a model of this shape, or `count` images."""
    if classes is None or not classes.is_floating_point():
        check_labels(classes, shape, count)
        return
    if not shape.classes:
        raise ValueError("expected no class weights, got some: the model is unconditional")
    if classes.shape != (count, len(shape.classes)):
        expected = (count, len(shape.classes))
        raise ValueError(f"expected a weight per image and class, {expected}, got {tuple(classes.shape)}")
    if count and not (bool((classes >= 0).all()) and bool(((classes.sum(dim=1) - 1).abs() < WEIGHTS_TOLERANCE).all())):
        raise ValueError("expected class weights of at least 0 that add up to 1 for each image")


def check_labels(labels: Tensor | None, shape: ImageShape, count: int) -> None:
    """Raise ValueError when `labels` do not fit a model of this shape, or `count` images."""
    classes = len(shape.classes)
    if labels is None:
        if classes:
            raise ValueError(f"expected one label per image, from 0 to {classes - 1}, got none: the model has classes")
        return
    if not classes:
        raise ValueError("expected no labels, got some: the model is unconditional")
    if labels.shape != (count,):
        raise ValueError(f"expected one label per image, ({count},), got {tuple(labels.shape)}")
    if count and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise ValueError(f"expected labels from 0 to {classes - 1}, got {int(labels.min())} to {int(labels.max())}")
