import numpy as np
import pytest
from scipy.io import savemat

from tests.data.ingest.conftest import nothing_was_added


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (32, 32, 3, 5), dtype=np.uint8)


def test_images_and_digits(images, tmp_path, read):
    (tmp_path / "svhn").mkdir()
    for name in ("train", "test", "extra"):
        savemat(tmp_path / "svhn" / f"{name}_32x32.mat", {"X": images, "y": np.array([[10], [1], [2], [9], [10]])})
    reading, items = read(tmp_path / "svhn")
    assert [item.label for item in items.values()] == ["0", "1", "2", "9", "0"] * 3
    assert (items["test_32x32-000003.png"].content == images[..., 3]).all()
    splits = {path[:5]: item.split for path, item in items.items()}
    assert splits == {"train": "train", "test_": "test", "extra": "train"}
    assert reading.understood.labels == "y, where 10 is the digit 0"


def test_compressed_file(images, tmp_path, add):
    savemat(tmp_path / "train_32x32.mat", {"X": images, "y": np.array([[0, 1, 2, 3, 4]])}, do_compression=True)
    assert add(tmp_path / "train_32x32.mat").classes == {str(number): 1 for number in range(5)}


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"a": np.zeros((2, 3))}, r"expected the images as X .*; the file's variables: a \(2, 3\)"),
        ({"X": np.zeros((4, 4, 3, 2))}, "expected uint8 pixels from 0 to 255, got float64"),
        ({"X": np.zeros((4, 4, 3, 2), np.uint8), "y": np.arange(3)}, "2 images, y has 3 labels"),
    ],
)
def test_other_variables_are_named(variables, message, tmp_path, add, raw):
    savemat(tmp_path / "a.mat", variables)
    with pytest.raises(ValueError, match=message):
        add(tmp_path / "a.mat")
    assert nothing_was_added(raw)


def test_damaged_file(images, tmp_path, add, raw):
    savemat(tmp_path / "good.mat", {"X": images, "y": np.arange(5)})
    good = (tmp_path / "good.mat").read_bytes()
    for name, content in {"cut": good[:1000], "empty": b"", "html": b"<html>" * 40}.items():
        (tmp_path / f"{name}.mat").write_bytes(content)
        with pytest.raises(ValueError, match=rf"{name}\.mat: "):
            add(tmp_path / f"{name}.mat")
    assert nothing_was_added(raw)
