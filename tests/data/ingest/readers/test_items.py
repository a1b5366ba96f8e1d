from pathlib import Path

import pytest

from genai_core.data.ingest.readers.items import split_in, split_in_path


@pytest.mark.parametrize(
    ("name", "split"),
    [
        *(("train-00000-of-00002", "train"), ("mnist-train", "train"), ("x_train", "train"), ("trainLabels", "train")),
        *(("t10k", "test"), ("t10k-images", "test"), ("test1", "test"), ("seg_val", "test"), ("val_test", "test")),
        *(("camelyonpatch_level_2_split_valid_x", "test"), ("emnist-letters-train", "train"), ("Test Set", "test")),
        *(("train_test", None), ("latest", None), ("trained", None), ("0000", None)),
    ],
)
def test_the_split_in_a_name(name, split):
    assert split_in(name) == split


@pytest.mark.parametrize(
    ("path", "split"),
    [
        *(("mnist-test.parquet", "test"), ("train/0.parquet", "train"), ("train/mnist-test.parquet", "test")),
        *(("train/en/0.parquet", "train"), ("0.parquet", None), ("data/0.train", None)),
    ],
)
def test_the_split_in_a_path_below_the_source(path, split):
    root = Path("/data/test")
    assert split_in_path(root / path, root) == split
