import io
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from genai_core.data.ingest.choices import Choices
from tests.data.ingest.conftest import nothing_was_added


class Evil:
    def __reduce__(self):
        return (Path.touch, (Path("/tmp/evil-was-here"),))


@pytest.mark.parametrize("names", [("images", "labels"), ("x", "y"), ("X_train", "y_train"), ("arr_0", "arr_1")])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_images_and_labels_of_one_npz(names, save, tmp_path, add, raw, pixels, images_in):
    images = pixels(3)
    save(tmp_path / "a.npz", **dict(zip(names, (images, np.array([[2], [0], [2]])), strict=True)))
    assert add(tmp_path / "a.npz").classes == {"0": 1, "2": 2}
    for path, image in images_in(raw / "set").items():
        assert (image == images[int(path[-10:-4])]).all()


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("first", [True, False])
def test_channels_may_be_first_or_last(channels, first, tmp_path, add, raw, pixels, images_in):
    images = pixels(2, channels)
    np.save(tmp_path / "a.npy", np.ascontiguousarray(images.transpose(0, 3, 1, 2)) if first else images)
    add(tmp_path / "a.npy")
    for index, image in enumerate(images_in(raw / "set").values()):
        assert (image.reshape(6, 5, channels) == images[index]).all()


def test_labels_in_a_second_file(tmp_path, add, raw, pixels):
    np.save(tmp_path / "train_images.npy", pixels(2))
    np.save(tmp_path / "train_labels.npy", np.array(["hat", "T-shirt/top"]))
    np.save(tmp_path / "test_labels.npy", np.array(["no", "no"]))
    assert add(tmp_path / "train_images.npy").classes == {"T-shirt-top": 1, "hat": 1}


def test_sides_of_an_npz(tmp_path, add, raw, pixels):
    parts = {"train_images": pixels(3), "train_labels": [0, 1, 0], "val_images": pixels(1, seed=1), "val_labels": [1]}
    np.savez(tmp_path / "a.npz", **parts, test_images=pixels(2, seed=2), test_labels=[1, 0])
    assert add(tmp_path / "a.npz", choices=Choices(split=True)).splits == {"train": 3, "test": 3}


def test_medmnist_keeps_its_split(tmp_path, read, pixels):
    parts = {}
    for seed, (part, count) in enumerate({"train": 3, "val": 2, "test": 2}.items()):
        parts |= {f"{part}_images": pixels(count, 3, seed=seed), f"{part}_labels": np.arange(count)[:, None] % 2}
    np.savez_compressed(tmp_path / "bloodmnist.npz", **parts)
    reading, items = read(tmp_path / "bloodmnist.npz")
    found = [(item.split, item.label) for item in items.values()]
    assert found == [("test", "0"), ("test", "1"), *[("train", label) for label in "010"], ("test", "0"), ("test", "1")]
    assert (items["bloodmnist-val-000001.png"].content == parts["val_images"][1]).all()
    assert reading.understood.split == "names of the arrays"


def test_one_hot_vectors_are_classes_and_several_labels_are_not(tmp_path, read, pixels):
    np.savez(tmp_path / "a.npz", images=pixels(3), labels=np.eye(4, dtype=np.uint8)[[3, 0, 3]])
    assert [item.label for item in read(tmp_path / "a.npz")[1].values()] == ["3", "0", "3"]
    np.savez(tmp_path / "chestmnist.npz", images=pixels(3), labels=np.array([[0, 1, 1], [0, 0, 0], [1, 0, 0]]))
    reading, items = read(tmp_path / "chestmnist.npz")
    assert {item.label for item in items.values()} == {None}
    assert reading.understood.labels == "array labels, left out: 3 numbers per image are not a class"


def test_larger_file_of_the_same_name_appends(tmp_path, add, raw, pixels):
    np.save(tmp_path / "a.npy", pixels(2))
    add(tmp_path / "a.npy")
    np.save(tmp_path / "a.npy", np.concatenate([pixels(2), pixels(1, seed=4)]))
    added = add(tmp_path / "a.npy")
    assert (added.added_images, added.kept_images) == (1, 2)


def test_python_objects_are_refused_without_running_code(tmp_path, add, raw, pixels):
    objects = np.array([Evil()], dtype=object)
    np.save(tmp_path / "images.npy", objects, allow_pickle=True)
    np.savez(tmp_path / "a.npz", images=pixels(1), labels=objects)
    for source in ("images.npy", "a.npz"):
        with pytest.raises(ValueError, match="Python objects; such pickles"):
            add(tmp_path / source)
    assert not Path("/tmp/evil-was-here").exists()
    assert nothing_was_added(raw)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": np.zeros((2, 6, 5))}, r"expected uint8 pixels.*got float64.*\* 255"),
        ({"images": np.zeros((2, 30), np.uint8)}, r"got shape \(2, 30\)"),
        ({name: np.zeros((2500, 2000), np.uint8) for name in "ab"}, r"got a \(2500, 2000\), b"),  # features
        ({"images": np.zeros((2, 6, 5, 2), np.uint8)}, r"got shape \(2, 6, 5, 2\)"),
        ({"images": np.zeros((0, 6, 5), np.uint8)}, "contains no images"),
        ({"images": np.zeros((2, 6, 5), np.uint8), "labels": np.zeros(3, int)}, "2 images, labels has 3 labels"),
        ({"images": np.zeros((2, 6, 5), np.uint8), "labels": np.zeros((2, 2), "U1")}, "one integer or text"),
        ({"images": np.zeros((2, 6, 5), np.uint8), "labels": np.zeros(2)}, "one integer or text"),
        ({"a": np.zeros((2, 6, 5), np.uint8), "b": np.zeros(2)}, r"got a \(2, 6, 5\), b \(2,\)"),
        ({"images": np.zeros((2, 6, 5), np.uint8, order="F")}, "Fortran order"),
    ],
)
def test_errors_name_the_fault(arrays, message, tmp_path, add, raw):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        add(tmp_path / "a.npz")
    assert nothing_was_added(raw)


def npy(header: bytes, version=1, content=b""):
    length = len(header).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + length + header + content


@pytest.mark.parametrize(
    "header",
    [
        *(b"{'descr': '|u1', 'shape': (1, ", b"'''", b"{{}}", b"(" * 3000, b"-" * 9000 + b"1", b"{'descr': [" * 800),
        b"{'descr': [], 'fortran_order': False, 'shape': (4, 8, 8)}",
        b"{'descr': ('|u1', (3,)), 'fortran_order': False, 'shape': (4, 8, 8)}",
        b"{'descr': '|u1', 'fortran_order': False, 'shape': (4, 8, 8)\n  foo\n bar",
        b"{'descr': '|u1', 'fortran_order': False, 'shape': (-4, 8, 8)}",
    ],
)
def test_hostile_headers_are_named(header, tmp_path, add, raw):
    (tmp_path / "images.npy").write_bytes(npy(header))
    with pytest.raises(ValueError, match=r"images\.npy: "):
        add(tmp_path / "images.npy")
    assert nothing_was_added(raw)


def test_a_huge_header_is_refused_before_it_is_read(tmp_path, add, raw):
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", npy(b" " * (16 << 20), version=2))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"a\.npz\[images\]: declares a header of 16,777,216 bytes"):
            add(tmp_path / "a.npz")
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
    assert nothing_was_added(raw)


@pytest.mark.parametrize(("descr", "content"), [(b"<U0", b""), (b"<U1", b"\xff" * 16)])
def test_texts_that_are_no_labels_are_named(descr, content, tmp_path, add, raw, pixels):
    header = b"{'descr': '%s', 'fortran_order': False, 'shape': (4,)}" % descr
    np.save(tmp_path / "images.npy", pixels(4))
    (tmp_path / "labels.npy").write_bytes(npy(header, content=content))
    with pytest.raises(ValueError, match=r"labels\.npy: labels that cannot be read"):
        add(tmp_path / "images.npy")
    assert nothing_was_added(raw)


def test_damaged_files(tmp_path, add, raw, pixels):
    np.savez_compressed(tmp_path / "good.npz", images=pixels(50))
    good = (tmp_path / "good.npz").read_bytes()
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 0xFF
    announced = io.BytesIO()
    np.lib.format.write_array_header_1_0(announced, {"descr": "|u1", "fortran_order": False, "shape": (10**12, 9, 9)})
    with zipfile.ZipFile(tmp_path / "empty.npz", "w"):
        pass
    for name, content in {
        "cut.npz": good[: len(good) // 2],
        "flipped.npz": bytes(flipped),
        "html.npy": b"<html>",
        "announced.npy": announced.getvalue(),
        "empty.npz": (tmp_path / "empty.npz").read_bytes(),
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=name):
            add(tmp_path / name)
    assert nothing_was_added(raw)


def test_the_names_of_files_state_the_split(tmp_path, read, pixels):
    for name in ("mnist_train", "mnist_test"):
        (tmp_path / "set").mkdir(exist_ok=True)
        np.savez(tmp_path / "set" / f"{name}.npz", x=pixels(2), y=[0, 1])
    items = read(tmp_path / "set")[1]
    assert {(path.split("-")[0], item.split) for path, item in items.items()} == {
        ("mnist_train", "train"),
        ("mnist_test", "test"),
    }


def test_an_array_per_image_is_named_as_such(tmp_path, add, raw, pixels):
    for name, image in zip(("hat/1", "hat/2", "shoe/1"), pixels(3, 3), strict=True):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / "set" / f"{name}.npy", image)
    with pytest.raises(ValueError, match=r"each array is one image, such as 1\.npy \(6, 5, 3\); save each as PNG"):
        add(tmp_path / "set")
    assert nothing_was_added(raw)
