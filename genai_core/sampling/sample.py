"""Sample many images from a model: each from its own seed, in batches of any size."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from genai_core.config import SamplingConfig
from genai_core.models.protocol import GenerativeModel
from genai_core.seeds import LARGEST_SEED


def equal_labels(total: int, classes: int) -> Tensor | None:
    """Return labels (total,) int64, cycling 0, 1, ..., classes - 1, 0, ..., balanced in any range; None if none."""
    return torch.arange(total) % classes if classes else None


def proportional_labels(total: int, counts: Sequence[int]) -> Tensor | None:
    """Return labels (total,) int64 in the proportions of `counts`, images per class; None if there are no classes.

    Figures against real images need their proportions: among labels in other proportions, even a perfect model is far
    away, and one that ignores the label may be closer. Each class gets its exact share, rounded by largest remainder,
    ties to the first class. The labels are spread evenly, so that any range of them has about the same proportions.
    Equal counts give `equal_labels`. Raises ValueError when all counts are 0.
    """
    if not counts:
        return None
    images = sum(counts)
    if images == 0:
        raise ValueError(f"expected images in at least one of {len(counts)} classes, got none")
    shares = [divmod(total * count, images) for count in counts]
    quotas = np.array([whole for whole, _ in shares])
    by_remainder = sorted(range(len(counts)), key=lambda label: -shares[label][1])
    quotas[by_remainder[: total - quotas.sum()]] += 1
    labels = np.repeat(np.arange(len(counts)), quotas)
    # Image j of a class with n belongs at (j + 1/2) / n of the whole.
    places = np.concatenate([(np.arange(quota) + 0.5) / max(quota, 1) for quota in quotas])
    return torch.from_numpy(labels[np.lexsort((labels, places))])


def image_seeds(total: int, seed: int) -> Tensor:
    """Return seeds (total,) int64: image i uses seed + i. Raises ValueError when one is beyond LARGEST_SEED."""
    if seed < 0 or seed + total - 1 > LARGEST_SEED:
        raise ValueError(f"seeds must lie between 0 and 2**32 - 1, got {seed} for {total} images")
    return torch.arange(seed, seed + total)


@torch.inference_mode()
def sample_images(
    model: GenerativeModel,
    labels: Tensor | None,
    seeds: Tensor,
    sampling: SamplingConfig,
    batch_images: int,
    on_progress: Callable[[int], None] | None = None,
) -> npt.NDArray[np.uint8]:
    """Sample images (N, C, H, W) uint8 on the CPU, from labels (N,) int64 (None: unconditional) and seeds (N,) int64.

    Image i depends only on labels[i] and seeds[i]; the batch size affects speed and memory. `sampling` is the family's
    section of the config. Raises ValueError when labels and seeds do not fit, or the model returns another shape.
    """
    if labels is not None and labels.shape != seeds.shape:
        raise ValueError(f"expected one label per seed, got {len(labels)} labels and {len(seeds)} seeds")
    if len(seeds) == 0:
        raise ValueError("expected at least one seed, got none")
    shape = model.shape.chw
    images = np.empty((len(seeds), *shape), dtype=np.uint8)
    for begin in range(0, len(seeds), batch_images):
        chosen = slice(begin, begin + batch_images)
        batch = model.sample(None if labels is None else labels[chosen], seeds[chosen], sampling)
        expected = (len(seeds[chosen]), *shape)
        if batch.dtype != torch.uint8 or tuple(batch.shape) != expected:
            raise ValueError(
                f"{model.family}: sample must return uint8 {expected}, returned {batch.dtype} {tuple(batch.shape)}"
            )
        images[chosen] = batch.cpu().numpy()
        if on_progress is not None:
            on_progress(min(begin + batch_images, len(seeds)))
    return images
