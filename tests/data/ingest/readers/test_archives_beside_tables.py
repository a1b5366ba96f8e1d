"""Images in archives beside their table, as in an ImageFolder on the Hugging Face Hub."""

import json
import tarfile
import zipfile

import pytest

from genai_core.data.ingest.packing.png import encode_png
from tests.packed import files_in


@pytest.fixture
def hub(tmp_path, pixels):
    """A folder with metadata.jsonl and images.zip or .tar.gz; the images are in a folder of the archive or not."""

    def make(kind, inside=""):
        folder = tmp_path / "hub"
        folder.mkdir()
        images = {f"{number}.png": encode_png(image) for number, image in enumerate(pixels(4))}
        for name, content in images.items():
            (tmp_path / name).write_bytes(content)
        if kind == "zip":
            with zipfile.ZipFile(folder / "images.zip", "w") as archive:
                for name in images:
                    archive.write(tmp_path / name, inside + name)
        else:
            with tarfile.open(folder / "images.tar.gz", "w:gz") as archive:
                for name in images:
                    archive.add(tmp_path / name, inside + name)
        rows = [{"file_name": inside + name, "label": "hat" if index else "shoe"} for index, name in enumerate(images)]
        (folder / "metadata.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        return folder, images

    return make


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
@pytest.mark.parametrize("inside", ["", "photos/"])
def test_the_table_labels_the_images_in_the_archive(kind, inside, hub, add, raw):
    folder, images = hub(kind, inside)
    assert add(folder).classes == {"hat": 3, "shoe": 1}
    assert files_in(raw / "set")["shoe/0.png"] == images["0.png"]
    assert sorted(path.name for path in folder.iterdir()) == [f"images.{kind}", "metadata.jsonl"]


def test_several_archives_are_splits(hub, add):
    folder, images = hub("zip")
    (folder / "metadata.jsonl").unlink()
    (folder / "images.zip").rename(folder / "train.zip")
    with zipfile.ZipFile(folder / "test.zip", "w") as archive:
        archive.writestr("9.png", images["0.png"])
    assert add(folder).splits == {"train": 4, "test": 1}


def test_lists_beside_the_archive(hub, add):
    folder, _ = hub("zip", "img_align_celeba/")
    (folder / "metadata.jsonl").unlink()
    attributes = "".join(f"{number}.png {1 if number else -1} {-1 if number else 1}\n" for number in range(4))
    (folder / "list_attr_celeba.txt").write_text(f"4\nBald Young\n{attributes}")
    (folder / "list_eval_partition.txt").write_text("".join(f"{number}.png {number % 3}\n" for number in range(4)))
    (folder / "notes.pdf").write_bytes(b"%PDF")
    added = add(folder)
    assert (added.classes, added.splits) == ({"Bald": 3, "Young": 1}, {"train": 2, "test": 2})
    assert added.skipped == {".pdf files": 1}


def test_captions_of_coco_beside_the_archive(hub, add):
    folder, _ = hub("zip")
    (folder / "metadata.jsonl").unlink()
    images = [{"id": number, "file_name": f"{number}.png"} for number in range(4)]
    annotations = [{"image_id": number, "caption": f"hat {number}"} for number in range(4)]
    (folder / "captions.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    assert add(folder).captioned_images == 4
