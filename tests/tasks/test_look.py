"""tasks.look on small real files."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genai_core.advice.facts import DataFacts, from_json
from tasks import look


def save(path: Path, pixels: np.ndarray, mode: str | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels, mode).save(path)


def facts(monkeypatch: pytest.MonkeyPatch, *options: str) -> DataFacts:
    monkeypatch.setattr(sys, "argv", ["tasks.look", "out.json", *options])
    look.main()
    return from_json(DataFacts, json.loads(Path("out.json").read_text()))


def test_photographs_in_classes(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    for number in range(12):
        pixels = generator.integers(0, 256, (40, 30, 3), dtype=np.uint8)
        save(Path(f"data/raw/clothes/{'hat' if number < 9 else 'shoe'}/{number}.png"), pixels)
    save(Path("data/raw/clothes/shoe/same.png"), pixels)
    Path("data/raw/clothes/shoe/broken.png").write_bytes(b"\x89PNG\r\n")
    found = facts(monkeypatch)
    assert (found.count, found.classes, found.without_class) == (14, {"hat": 9, "shoe": 5}, 0)
    assert (found.sampled, found.unreadable) == (14, 1)
    assert found.unreadable_files == (("clothes/shoe/broken.png", "corrupt"),)
    assert (found.width_px, found.height_px, found.same_size, found.aspect_ratio) == (30, 40, True, 0.75)
    assert found.modes == {"RGB": 13}
    assert found.colour_share == 1
    assert found.transparent_share == 0
    assert found.duplicate_share == pytest.approx(1 / 13)
    assert found.mirrored_accuracy is None
    assert 0 < found.pixel_std < 1


def test_transparent_and_grey_images_without_classes(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(4):
        pixels = np.zeros((16, 16, 4), dtype=np.uint8)
        pixels[4:12, 4:12] = (30, 30, 30, 255)
        save(Path(f"data/raw/icons/{number}.png"), pixels)
    Path("data/raw/icons/2.txt").write_text("a square")
    save(Path("data/raw/icons/grey.png"), np.full((16, 20), 40, dtype=np.uint8))
    found = facts(monkeypatch)
    assert found.classes == {}
    assert found.without_class == 5
    assert found.captions == 1
    assert found.modes == {"RGBA": 4, "L": 1}
    assert found.transparent_share == pytest.approx(0.8)
    assert found.background == (255, 255, 255)
    assert found.colour_share == 0
    assert not found.same_size


def test_counts_need_no_readable_image(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        path = Path(f"data/raw/set.test/{number % 2}/{number}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"nothing")
    Path("data/raw/set.test/source.json").write_text('{"schema_version": 1, "split": "test", "origins": []}')
    found = facts(monkeypatch, "--counts")
    assert (found.count, found.classes, found.given) == (3, {"0": 2, "1": 1}, {"test": 3})
    assert found.split(0.2) == (0, 3)
    assert found.sampled == 0
