import tracemalloc

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from genai_core.data.dataset.dataset import load_dataset
from genai_core.data.dataset.loader import MappedBatches, ResidentBatches, training_batches
from genai_core.data.dataset.writer import DatasetWriter
from genai_core.image_size import ImageSize

CPU = torch.device("cpu")


def batches(count=10, batch_images=4, seed=0, labels=True):
    """Images whose pixels are their own index."""
    images = np.arange(count, dtype=np.uint8).reshape(count, 1, 1, 1)
    numbers = np.arange(count, dtype=np.int64) if labels else None
    return ResidentBatches(images, numbers, batch_images=batch_images, seed=seed, device=CPU)


def order(loader, steps):
    return torch.cat([loader.at(step).images.flatten() for step in range(steps)]).tolist()


def test_each_epoch_has_every_image_once_in_its_own_order():
    seen = order(batches(), 10)  # 40 images: four epochs, with batches that span two
    epochs = [seen[first : first + 10] for first in range(0, 40, 10)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4


def test_labels_stay_with_their_images():
    loader = batches()
    for step in range(5):
        batch = loader.at(step)
        assert torch.equal(batch.images.flatten().long(), batch.labels)


def test_a_step_does_not_depend_on_the_first_step():
    straight, resumed = batches(), batches()
    first = [straight.at(step).labels.tolist() for step in range(9)]
    assert [resumed.at(step).labels.tolist() for step in (7, 8)] == first[7:]
    assert resumed.at(2).labels.tolist() == first[2]


def test_the_seed_determines_the_order():
    assert order(batches(seed=0), 5) == order(batches(seed=0), 5)
    assert order(batches(seed=0), 5) != order(batches(seed=1), 5)
    # The second epoch of one seed differs from the first of the next.
    assert order(batches(seed=0, batch_images=10), 2)[10:] != order(batches(seed=1, batch_images=10), 1)


def test_a_batch_may_be_larger_than_the_data():
    batch = batches(count=3, batch_images=7).at(0)
    assert sorted(batch.labels.tolist()[:3]) == sorted(batch.labels.tolist()[3:6]) == [0, 1, 2]


def test_a_part_of_a_batch_is_that_part_of_it():
    loader = batches(count=10, batch_images=7)
    for step in range(5):  # the second one spans two epochs
        whole = loader.at(step)
        parts = [loader.at(step, part) for part in (range(2), range(2, 3), range(3, 7))]
        assert [len(part.images) for part in parts] == [2, 1, 4]
        assert torch.equal(torch.cat([part.images for part in parts]), whole.images)
        assert torch.equal(torch.cat([part.labels for part in parts]), whole.labels)


def test_no_labels():
    assert batches(labels=False).at(0).labels is None


def test_data_unfit_for_training_is_refused():
    with pytest.raises(ValueError, match="no training images"):
        batches(count=0)
    images = np.zeros((2, 1, 1, 1), dtype=np.uint8)
    for labels in (np.array([0, -1]), np.array([0])):
        with pytest.raises(ValueError, match="one label, 0 or more"):
            ResidentBatches(images, labels, batch_images=1, seed=0, device=CPU)


@pytest.mark.parametrize("classes", [("cat", "dog"), ()])
def test_mapped_batches_equal_those_in_memory(classes, tmp_path):
    random = np.random.default_rng(0)
    writer = DatasetWriter(tmp_path, image_size=ImageSize.square(8), channels=3, classes=classes, shard_images=7)
    for split, count in (("train", 50), ("test", 5)):
        images = random.integers(0, 256, (count, 3, 8, 8), dtype=np.uint8)
        writer.add(split, images, random.integers(0, 2, count) if classes else None)
    writer.finish()
    manifest = pd.read_parquet(tmp_path / "manifest.parquet")  # in another order than that of the shards
    manifest.sample(frac=1, random_state=0).to_parquet(tmp_path / "manifest.parquet", index=False)
    dataset = load_dataset(tmp_path)
    size = 50 * 3 * 64
    same = {"batch_images": 16, "seed": 3, "device": CPU}
    resident = training_batches(dataset, memory_bytes=size, **same)
    mapped = training_batches(dataset, memory_bytes=size - 1, **same)
    assert isinstance(resident, ResidentBatches)
    assert isinstance(mapped, MappedBatches)
    assert len(mapped) == len(resident) == 50
    for step in (0, 1, 2, 3, 9):
        one, other = resident.at(step), mapped.at(step)
        assert torch.equal(one.images, other.images)
        assert one.labels is other.labels is None or torch.equal(one.labels, other.labels)
        with LargestTensor() as largest:
            assert torch.equal(mapped.at(step, range(3, 5)).images, one.images[3:5])
        assert largest.numbers == 2 * 3 * 64  # only the part was read


class LargestTensor(TorchDispatchMode):
    """Record the size of the largest tensor that any operation returns."""

    def __init__(self):
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            self.numbers = max(self.numbers, result.numel())
        return result


def test_no_step_copies_the_dataset(tmp_path):
    writer = DatasetWriter(tmp_path, image_size=ImageSize.square(8), channels=3, classes=(), shard_images=200)
    for split, count in (("train", 400), ("test", 4)):
        writer.add(split, np.random.default_rng(0).integers(0, 256, (count, 3, 8, 8), dtype=np.uint8), None)
    writer.finish()
    dataset, batch = load_dataset(tmp_path), {"batch_images": 4, "seed": 0, "device": CPU}
    images = dataset.images("train")
    resident, mapped = ResidentBatches(images, None, **batch), MappedBatches(dataset, **batch)
    one_batch = 4 * 3 * 8 * 8
    for loader in (resident, mapped):
        with LargestTensor() as largest:
            loader.at(0)  # imports and permanent caches are not counted
            tracemalloc.start()
            for step in range(1, 6):
                loader.at(step)
            _, peak = tracemalloc.get_traced_memory()  # NumPy's memory, which reads the shards
            tracemalloc.stop()
        assert largest.numbers == one_batch
        assert peak < images.nbytes / 4
    # In memory once: on a CPU the batches come from the given array itself.
    images[:] = 7
    assert (resident.at(0).images == 7).all()
