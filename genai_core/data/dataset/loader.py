"""Training batches, in an order that depends only on the seed and the step, not on where the images are stored."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from genai_core.data.dataset.dataset import Dataset, Labels
from genai_core.data.dataset.facts import Indices, Pixels


@dataclass(frozen=True)
class Batch:
    """Images (B, C, H, W) uint8 and labels (B,) int64, or None when there are no classes."""

    images: Tensor
    labels: Tensor | None


class ResidentBatches:
    """Batches from images (N, C, H, W) uint8 and labels (N,) int64 or None that stay on `device`.

    Each epoch contains every image once, in its own order; a batch may span two epochs. The step is the only position,
    so a resumed run needs nothing else. epoch: indices (M,) of the images of an epoch, which may repeat; None for each
    once. Raises ValueError for zero images or labels that do not fit.
    """

    def __init__(
        self,
        images: Pixels,
        labels: Labels | None,
        *,
        batch_images: int,
        seed: int,
        device: torch.device,
        epoch: Indices | None = None,
    ) -> None:
        _check(len(images), labels)
        self._images = torch.from_numpy(images).to(device)
        # Copied: a table's column may be read-only, and torch warns about that.
        self._labels = None if labels is None else torch.tensor(labels, device=device)
        self._order = _Order(len(images), batch_images, seed, epoch)

    def __len__(self) -> int:
        """Number of different images."""
        return len(self._images)

    def at(self, step: int, part: range | None = None) -> Batch:
        """Return the batch of a step, from 0; only the positions in `part` of it, None for all."""
        indices = self._order.at(step, part).to(self._images.device)
        return Batch(self._images[indices], None if self._labels is None else self._labels[indices])


class MappedBatches:
    """Batches of a dataset's train split, read from its shards on demand; equal to those of ResidentBatches.

    The shards are memory-mapped: what is used often stays in memory until the system needs the space. A DataLoader with
    a batch sampler and __getitems__ is as fast (benchmarks/libraries.py), but only iterates.
    """

    def __init__(
        self, dataset: Dataset, *, batch_images: int, seed: int, device: torch.device, epoch: Indices | None = None
    ) -> None:
        rows, labels = dataset.rows("train"), dataset.labels("train")
        _check(len(rows), labels)
        codes, names = pd.factorize(rows["shard"])
        self._shards = [dataset.shard(str(name)) for name in names]
        self._codes, self._rows = codes, rows["row"].to_numpy()
        self._labels = None if labels is None else torch.tensor(labels)
        self._device = device
        self._order = _Order(len(rows), batch_images, seed, epoch)
        self._images = len(rows) if epoch is None else len(np.unique(epoch))

    def __len__(self) -> int:
        """Number of different images."""
        return self._images

    def at(self, step: int, part: range | None = None) -> Batch:
        """Return the batch of a step, from 0; only the positions in `part` of it, None for all."""
        indices = self._order.at(step, part)
        codes, rows = self._codes[indices.numpy()], self._rows[indices.numpy()]
        images = np.empty((len(indices), *self._shards[0].shape[1:]), dtype=np.uint8)
        for code in np.unique(codes):
            wanted = np.flatnonzero(codes == code)
            images[wanted] = self._shards[code][rows[wanted]]
        labels = None if self._labels is None else self._labels[indices].to(self._device)
        return Batch(torch.from_numpy(images).to(self._device), labels)


Batches = ResidentBatches | MappedBatches


def training_batches(
    dataset: Dataset,
    *,
    batch_images: int,
    seed: int,
    device: torch.device,
    memory_bytes: int,
    epoch: Indices | None = None,
) -> Batches:
    """Return batches of the train split: in memory on `device` up to memory_bytes, else memory-mapped.

    The batches are the same either way. epoch: rows (M,) of the train split that an epoch consists of, which may
    repeat; None for each once.
    """
    info, rows = dataset.info, dataset.rows("train")
    places = None
    if epoch is not None:
        used, places = np.unique(epoch, return_inverse=True)
        rows = rows.iloc[used]
    if len(rows) * info.channels * info.image_size.pixels > memory_bytes:
        return MappedBatches(dataset, batch_images=batch_images, seed=seed, device=device, epoch=epoch)
    labels = rows["label"].to_numpy(dtype=np.int64) if info.classes else None
    images = dataset.images_at(rows)
    return ResidentBatches(images, labels, batch_images=batch_images, seed=seed, device=device, epoch=places)


class _Order:
    """Order of the images in an endless sequence of epochs."""

    def __init__(self, images: int, batch_images: int, seed: int, epoch: Indices | None = None) -> None:
        self._indices = None if epoch is None else torch.from_numpy(epoch)
        self._images = images if epoch is None else len(epoch)
        self._batch_images, self._seed = batch_images, seed
        self._epoch, self._order = -1, torch.empty(0, dtype=torch.int64)

    def at(self, step: int, part: range | None) -> Tensor:
        """Return the indices int64 of the batch of a step, (batch_images,), or of a part of its positions."""
        positions = range(self._batch_images) if part is None else part
        first, end = (step * self._batch_images + position for position in (positions.start, positions.stop))
        parts = []
        while first < end:
            epoch, offset = divmod(first, self._images)
            count = min(end - first, self._images - offset)
            parts.append(self._epoch_order(epoch)[offset : offset + count])
            first += count
        return torch.cat(parts)

    def _epoch_order(self, epoch: int) -> Tensor:
        if epoch != self._epoch:
            # SeedSequence mixes the two numbers. With seed + epoch, seed 1 would repeat the orders of seed 0.
            seed = int(np.random.SeedSequence([self._seed, epoch]).generate_state(1, np.uint64)[0] >> 1)
            order = torch.randperm(self._images, generator=torch.Generator().manual_seed(seed))
            self._order = order if self._indices is None else self._indices[order]
            self._epoch = epoch
        return self._order


def _check(images: int, labels: Labels | None) -> None:
    if images == 0:
        raise ValueError("no training images: the train split is empty")
    if labels is not None and (len(labels) != images or labels.min() < 0):
        raise ValueError("expected one label, 0 or more, for every training image; label all images or none")
