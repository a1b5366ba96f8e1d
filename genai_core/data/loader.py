"""Training batches from images that stay in memory, in an order that depends on the seed and the step alone."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from genai_core.data.dataset import Labels
from genai_core.data.facts import Pixels


@dataclass(frozen=True)
class Batch:
    """Images (B, C, H, W) uint8 and labels (B,) int64, or None when there are no classes."""

    images: Tensor
    labels: Tensor | None


class ResidentBatches:
    """Images (N, C, H, W) uint8 and labels (N,) int64 or None, kept on `device`, dealt out in batches.

    Each epoch deals every image once, in an order of its own; a batch may span two epochs. The place in the data is the
    step, so a resumed run needs nothing else. Raises ValueError for no image, or labels that do not fit.
    """

    def __init__(
        self, images: Pixels, labels: Labels | None, *, batch_images: int, seed: int, device: torch.device
    ) -> None:
        if len(images) == 0:
            raise ValueError("there is no image to train on: the train split is empty")
        if labels is not None and (len(labels) != len(images) or labels.min() < 0):
            raise ValueError("expected one label, 0 or more, for every training image; label all images or none")
        self._images = torch.from_numpy(images).to(device)
        # Copied: a table's column may be read-only, which torch warns of.
        self._labels = None if labels is None else torch.tensor(labels, device=device)
        self._batch_images = batch_images
        self._seed = seed
        self._epoch, self._order = -1, torch.empty(0, dtype=torch.int64)

    def __len__(self) -> int:
        """Images in an epoch."""
        return len(self._images)

    def at(self, step: int) -> Batch:
        """The batch of that step, from 0 on."""
        indices = self._indices(step * self._batch_images, (step + 1) * self._batch_images).to(self._images.device)
        return Batch(self._images[indices], None if self._labels is None else self._labels[indices])

    def _indices(self, first: int, end: int) -> Tensor:
        """Which images stand at the places `first` to `end` of the endless sequence of epochs."""
        parts = []
        while first < end:
            epoch, offset = divmod(first, len(self))
            count = min(end - first, len(self) - offset)
            parts.append(self._epoch_order(epoch)[offset : offset + count])
            first += count
        return torch.cat(parts)

    def _epoch_order(self, epoch: int) -> Tensor:
        if epoch != self._epoch:
            # SeedSequence mixes the two numbers: seed + epoch would give seed 1 the orders of seed 0, one epoch later.
            seed = int(np.random.SeedSequence([self._seed, epoch]).generate_state(1, np.uint64)[0] >> 1)
            self._order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
            self._epoch = epoch
        return self._order
