import json

import numpy as np
import pytest
from PIL import Image

from genai_core.config import NEEDS_MANUAL_ACTION
from genai_core.data.dataset.dataset import load_dataset
from genai_core.data.ingest.add import add_source
from tasks import prepare


def test_digits_become_a_dataset_with_a_card_and_examples(workspace, capsys):
    add_source("builtin:digits", workspace / "data/raw")
    prepare.main()
    folder = workspace / "data/prepared"
    dataset = load_dataset(folder)
    assert dataset.info.classes == tuple("0123456789")
    assert sum(dataset.info.counts.values()) == 1797
    assert "| 9 | " in (folder / "card.md").read_text()
    with Image.open(folder / "examples.png") as picture:
        # Ten rows of ten enlarged digits with captions.
        assert picture.width > picture.height > 10 * 60
    assert "training and" in capsys.readouterr().out
    assert json.loads((workspace / ".genai/progress/prepare.json").read_text())["done"] == 1797
    assert set(json.loads((workspace / "metrics/cost/prepare.json").read_text())) >= {"seconds", "peak_memory_mb"}


def test_changed_decoders_are_reported(workspace, capsys):
    add_source("builtin:digits", workspace / "data/raw")
    prepare.main()
    prepare.main()
    assert "decoded by" not in capsys.readouterr().out
    note = workspace / "data/prepared/decoders.json"
    versions = json.loads(note.read_text())
    note.write_text(json.dumps({**versions, "pillow": "1.2.3"}))
    prepare.main()
    said = f"note: the previous version was decoded by pillow 1.2.3, here {versions['pillow']}\n"
    assert said in capsys.readouterr().out
    assert json.loads(note.read_text()) == versions


def test_unlabelled_images_have_examples(workspace, monkeypatch):
    folder = workspace / "data/raw/faces"
    folder.mkdir(parents=True)
    for number, pixels in enumerate(np.random.default_rng(0).integers(0, 256, (12, 9, 9), dtype=np.uint8)):
        Image.fromarray(pixels).save(folder / f"{number}.png")
    prepare.main()
    assert (workspace / "data/prepared/examples.png").is_file()
    assert not (workspace / "data/prepared/captions.png").exists()
    for number in range(12):
        (folder / f"{number}.txt").write_text(f"face {number}")
    prepare.main()
    assert "- 12 of 12 images have captions" in (workspace / "data/prepared/card.md").read_text()
    assert (workspace / "data/prepared/captions.png").is_file()


@pytest.mark.parametrize(("broken", "message"), [(False, "no images yet; add some"), (True, "were rejected")])
def test_an_error_is_short_and_leaves_no_output(broken, message, workspace, capsys):
    if broken:
        folder = workspace / "data/raw/set/a"
        folder.mkdir(parents=True)
        (folder / "1.png").write_bytes(b"")
    with pytest.raises(SystemExit) as error:
        prepare.main()
    assert error.value.code == NEEDS_MANUAL_ACTION
    assert message in capsys.readouterr().err
    assert not list(workspace.glob("data/*prepared*"))
    assert not (workspace / "metrics").exists()
