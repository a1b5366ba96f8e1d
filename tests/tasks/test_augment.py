import re

import numpy as np
import pytest
from PIL import Image

from genai_core.data.dataset.dataset import load_dataset
from genai_core.data.dataset.writer import DatasetWriter
from genai_core.image_size import ImageSize
from tasks import augment


def write(folder, classes=("a", "b")):
    images = np.random.default_rng(0).integers(0, 256, (30, 1, 16, 16), dtype=np.uint8)
    labels = np.arange(30) % 2 if classes else None
    writer = DatasetWriter(folder, image_size=ImageSize.square(16), channels=1, classes=classes, shard_images=100)
    writer.add("train", images[:24], None if labels is None else labels[:24])
    writer.add("test", images[24:], None if labels is None else labels[24:])
    return writer.finish()


def set_expand(workspace, value, policy="[move]"):
    params = workspace / "params.yaml"
    text = re.sub(r"expand: [\d.]+", f"expand: {value}", params.read_text())
    params.write_text(text.replace("policy: [move]", f"policy: {policy}"))


@pytest.mark.parametrize("classes", [("a", "b"), ()])
def test_the_dataset_grows_and_has_a_card_with_examples(classes, workspace, capsys):
    set_expand(workspace, 2.0)
    write(workspace / "data/prepared", classes)
    augment.main()
    folder = workspace / "data/augmented"
    assert load_dataset(folder).info.counts == {"train": 48, "test": 6}
    assert "- 24 of the training images are augmented copies" in (folder / "card.md").read_text()
    with Image.open(folder / "examples.png") as picture:
        # Five originals per row, each with its copy.
        assert picture.width >= 10 * 64
    assert "policy: move\n- move: rotate_degrees 6.0, " in (folder / "card.md").read_text()
    assert "24 training images became 48" in capsys.readouterr().out


def test_every_copy_is_next_to_its_original(workspace, monkeypatch):
    """With exact copies, all cells of a group are the same image."""
    grids = []
    monkeypatch.setattr(augment, "image_grid", lambda images, columns, **_: grids.append((images, columns)))
    monkeypatch.setattr(augment, "save_png", lambda *_: None)
    set_expand(workspace, 3.0, policy="none")
    write(workspace / "data/prepared")
    augment.main()
    ((images, columns),) = grids
    # Three originals per row, each with two copies.
    assert columns == 9
    groups = images.reshape(-1, 3, 1, 16, 16)
    assert len(groups) == 6
    assert (groups == groups[:, :1]).all()
    assert len({group[0].tobytes() for group in groups}) == 6


def test_without_copies_there_are_no_examples(workspace):
    set_expand(workspace, 1.0)
    info = write(workspace / "data/prepared")
    augment.main()
    assert load_dataset(workspace / "data/augmented").info == info
    assert not (workspace / "data/augmented/examples.png").exists()


def test_missing_dataset_is_one_line(workspace, capsys):
    with pytest.raises(SystemExit):
        augment.main()
    assert "data/prepared is not a dataset" in capsys.readouterr().err
    assert not list(workspace.glob("data/*augmented*"))
