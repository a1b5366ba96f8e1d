import h5py
import numpy as np
import pytest

from tests.data.ingest.conftest import nothing_was_added


def write(path, **arrays):
    path.parent.mkdir(exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file.create_dataset(name.replace("__", "/"), data=array)
    return path


def test_galaxy10(tmp_path, read, pixels):
    images = pixels(3, 3)
    path = write(tmp_path / "Galaxy10_DECals.h5", images=images, ans=np.array([9, 0, 9], np.uint8), ra=np.zeros(3))
    reading, items = read(path)
    assert [item.label for item in items.values()] == ["9", "0", "9"]
    assert (items["Galaxy10_DECals-000001.png"].content == images[1]).all()
    assert reading.understood.labels == "array ans, numbers"


@pytest.mark.parametrize("is_folder", [True, False])
def test_pcam_has_images_and_labels_in_two_files(is_folder, tmp_path, read, pixels):
    folder = tmp_path / "pcam"
    for seed, split in enumerate(("train", "valid")):
        stem = f"camelyonpatch_level_2_split_{split}"
        labels = np.array([seed, 1, 0], np.uint8).reshape(3, 1, 1, 1)
        first = write(folder / f"{stem}_x.h5", x=pixels(3, 3, seed=seed))
        write(folder / f"{stem}_y.h5", y=labels)
    reading, items = read(folder if is_folder else first)
    name = "camelyonpatch_level_2_split_{}_x-00000{}.png"
    expected = {name.format("valid", index): ("test", label) for index, label in enumerate("110")}
    if is_folder:
        expected |= {name.format("train", index): ("train", label) for index, label in enumerate("010")}
    assert {path: (item.split, item.label) for path, item in items.items()} == expected
    assert (items[name.format("valid", 2)].content == pixels(3, 3, seed=1)[2]).all()
    assert reading.understood.split == "names of the files or arrays"


def test_groups_are_splits_and_channels_may_come_first(tmp_path, read, pixels):
    images = pixels(2, 3).transpose(0, 3, 1, 2)
    labels = np.array(["hat", "shoe"], dtype=h5py.string_dtype())
    path = write(
        tmp_path / "a.h5", train__images=images, train__labels=labels, test__images=images[:1], test__labels=[b"hat"]
    )
    items = read(path)[1]
    assert {path: (item.split, item.label) for path, item in items.items()} == {
        "a-test-000000.png": ("test", "hat"),
        "a-train-000000.png": ("train", "hat"),
        "a-train-000001.png": ("train", "shoe"),
    }
    assert (items["a-train-000001.png"].content == pixels(2, 3)[1]).all()


def test_two_files_with_the_same_arrays(tmp_path, add, pixels):
    for seed, name in enumerate(("a", "b")):
        write(tmp_path / "set" / f"{name}.h5", images=pixels(2, seed=seed), labels=[seed, seed])
    assert add(tmp_path / "set").classes == {"0": 2, "1": 2}


def test_links_to_other_files_are_not_followed(tmp_path, add, raw, pixels):
    write(tmp_path / "other.h5", images=pixels(2))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["images"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "images")
        layout = h5py.VirtualLayout((2, 6, 5), np.uint8)
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "images", (2, 6, 5))
        file.create_virtual_dataset("data", layout)
        file.create_dataset("x", (2, 6, 5), np.uint8, external=[(str(tmp_path / "other.h5"), 0, 60)])
        file["loop"] = file["/"]
    with pytest.raises(ValueError, match=r"a\.h5: no array has a name for images; .* got no arrays"):
        add(tmp_path / "a.h5")
    assert nothing_was_added(raw)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": np.zeros((2, 6, 5))}, r"a\.h5\[images\]: expected uint8 pixels.*got float64"),
        ({"a": np.zeros(2), "b": np.zeros((2, 6, 5), np.uint8)}, r"got a \(2,\), b \(2, 6, 5\)"),
        ({"images": np.zeros((2, 6, 5), np.uint8), "labels": np.zeros(3, int)}, "2 images, .* has 3 labels"),
        ({"images": np.zeros((2, 6, 5), np.uint8), "labels": np.zeros(2)}, r"labels\]: expected one integer or text"),
    ],
)
def test_errors_name_the_fault(arrays, message, tmp_path, add, raw):
    with pytest.raises(ValueError, match=message):
        add(write(tmp_path / "a.h5", **arrays))
    assert nothing_was_added(raw)


def test_damaged_file(tmp_path, add, raw, pixels):
    good = write(tmp_path / "good.h5", images=pixels(50)).read_bytes()
    for name, content in {"cut": good[:-1000], "empty": b"", "html": b"<html>" * 40}.items():
        (tmp_path / f"{name}.h5").write_bytes(content)
        with pytest.raises(ValueError, match=rf"{name}\.h5: damaged, or not an HDF5 file"):
            add(tmp_path / f"{name}.h5")
    assert nothing_was_added(raw)


def test_labels_that_two_arrays_of_images_could_have_are_refused(tmp_path, add, raw, pixels):
    for seed, name in enumerate(("images_a", "images_b")):
        write(tmp_path / "set" / f"{name}.h5", images=pixels(2, seed=seed))
    write(tmp_path / "set" / "lab.h5", labels=[0, 1])
    with pytest.raises(ValueError, match=r"images_a\.h5\[images\] and .*images_b\.h5\[images\]: the labels .*lab\.h5"):
        add(tmp_path / "set")
    assert nothing_was_added(raw)
