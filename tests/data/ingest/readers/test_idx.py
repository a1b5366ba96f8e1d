import gzip
import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genai_core.data.ingest.choices import Choices
from tests.data.ingest.conftest import nothing_was_added
from tests.packed import files_in


def idx(values: np.ndarray, kind: int = 8) -> bytes:
    return struct.pack(f">BBBB{values.ndim}I", 0, 0, kind, values.ndim, *values.shape) + values.tobytes()


def write(folder: Path, part: str, images: np.ndarray, labels: list[int] | None, packed: bool = True) -> Path:
    folder.mkdir(exist_ok=True)
    ending, pack = (".gz", gzip.compress) if packed else ("", bytes)
    path = folder / f"{part}-images-idx3-ubyte{ending}"
    path.write_bytes(pack(idx(images)))
    if labels is not None:
        values = np.array(labels, dtype=np.uint8)
        (folder / f"{part}-labels-idx1-ubyte{ending}").write_bytes(pack(idx(values)))
    return path


@pytest.mark.parametrize("packed", [True, False])
def test_images_and_labels_become_files_named_by_index(packed, tmp_path, add, raw, pixels, images_in):
    images = pixels(3)
    added = add(write(tmp_path / "idx", "train", images, [7, 0, 7], packed))
    assert added.classes == {"0": 1, "7": 2}
    found = images_in(raw / "set")
    assert list(found) == ["0/train-000001.png", "7/train-000000.png", "7/train-000002.png"]
    for path, image in found.items():
        assert (image == images[int(path[-10:-4])]).all()


def test_train_and_t10k_are_separate_splits(tmp_path, add, raw, pixels, images_in):
    write(tmp_path / "idx", "train", pixels(3), [0, 1, 2])
    write(tmp_path / "idx", "t10k", pixels(2, seed=1), [0, 1])
    added = add(tmp_path / "idx")
    assert added.splits == {"train": 3, "test": 2}
    assert added.names == ("set.train", "set.test")
    assert list(images_in(raw / "set.test")) == ["0/t10k-000000.png", "1/t10k-000001.png"]
    assert (added.understood.layout, added.understood.split) == ("IDX files", "names of the files")
    together = add(tmp_path / "idx", "together", choices=Choices(split=False))
    assert len(images_in(raw / "together")) == 5
    assert together.notes == ("note: the source's split was not kept; the images' content decides it",)
    assert together.understood.split == ""


def test_options_for_folders_are_refused(tmp_path, add, raw, pixels):
    path = write(tmp_path / "idx", "train", pixels(3), [0, 1, 2])
    for choices in (Choices("flat"), Choices(label_columns=("x",)), Choices(caption_column="x")):
        with pytest.raises(ValueError, match=rf"{choices.named}: for folders of image files only; this is IDX files"):
            add(path, choices=choices)
    assert nothing_was_added(raw)


def test_without_labels_there_are_no_classes(tmp_path, add, raw, pixels):
    added = add(write(tmp_path / "idx", "train", pixels(2), None))
    assert added.classes == {}
    assert "no labels file next to it" in added.notes[0]


GOOD = np.zeros((2, 6, 5), dtype=np.uint8)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an IDX file"),
        (b"<html>", "not an IDX file"),
        (idx(GOOD, kind=13), r"expected values of type 8 \(unsigned byte\), got type 13"),
        (idx(GOOD)[:6], "truncated in its header"),
        (idx(GOOD)[:-1], "truncated: expected 2 images, the file ends in number 1"),
        (idx(GOOD) + b"x", "longer than its header says"),
        (idx(GOOD[0]), "expected images as an array"),
        (idx(GOOD[:0]), "contains no images"),
        (struct.pack(">BBBB3I", 0, 0, 8, 3, 2, 2**31, 2**31), "declares images of"),
        (struct.pack(">BBBB3I", 0, 0, 8, 3, 2**32 - 1, 8, 8), "4,294,967,295 images, .* 2 labels"),
        (gzip.compress(idx(GOOD), mtime=0)[:-9], "damaged"),
        (gzip.compress(idx(GOOD), mtime=0)[:-8] + bytes(8), "damaged .*CRC"),
    ],
)
def test_bad_files_are_named_and_nothing_is_added(content, message, tmp_path, add, raw, pixels):
    path = write(tmp_path / "idx", "train", pixels(2), [0, 1], packed=False)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"train-images-idx3-ubyte.*{message}"):
        add(path)
    assert nothing_was_added(raw)


def test_too_few_labels_or_labels_without_images(tmp_path, add, raw, pixels):
    path = write(tmp_path / "idx", "train", pixels(3), [0, 1])
    with pytest.raises(ValueError, match=r"3 images, train-labels-idx1-ubyte[.]gz has 2 labels"):
        add(path)
    path.unlink()
    with pytest.raises(ValueError, match="labels without images"):
        add(tmp_path / "idx")
    assert nothing_was_added(raw)


def test_real_files(test_data, add, raw):
    folder = test_data / "fashion-mnist"
    seen: list[int] = []
    added = add(folder / "t10k-images-idx3-ubyte.gz", None, on_added=lambda done, _total: seen.append(done))
    assert added.names == ("t10k",)
    assert added.classes == dict.fromkeys("0123456789", 1000)
    assert seen == list(range(1, 10_001))
    content = gzip.decompress((folder / "t10k-images-idx3-ubyte.gz").read_bytes())
    label = gzip.decompress((folder / "t10k-labels-idx1-ubyte.gz").read_bytes())[8 + 9_999]
    with Image.open(io.BytesIO(files_in(raw / "t10k")[f"{label}/t10k-009999.png"])) as image:
        assert image.tobytes() == content[-784:]
