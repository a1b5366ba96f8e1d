"""The tutorials that take minutes: `make docs-check`. pytest collects this file only when it is named.

Each works in a clone of the project as it is, with its own settings of git, DVC and Prefect.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.docs.tutorials import FOLDER, execute
from tests.flows.toy_home import own_settings
from tests.project import new_clone

pytestmark = pytest.mark.timeout(3_000)
CLASSES = ("red", "green", "blue")


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project in a repository of its own, as the current folder; nothing of the user's own settings counts."""
    for name in [name for name in os.environ if name.startswith(("PREFECT", "DVC", "GIT", "PYTHONDONT"))]:
        monkeypatch.delenv(name)
    for name, value in own_settings(tmp_path / "settings").items():
        monkeypatch.setenv(name, value)
    folder = new_clone(tmp_path / "checkout")
    monkeypatch.chdir(folder)
    return folder


def test_your_own_photographs(checkout: Path) -> None:
    _write_photographs(checkout.parent / "photos")
    execute(FOLDER / "photographs.md", checkout)
    assert (checkout / "reports" / "report.html").is_file()
    assert (checkout / "data" / "augmented" / "card.md").is_file()
    dataset = json.loads((checkout / "data/prepared/dataset.json").read_text())
    assert sorted(dataset["classes"]) == sorted(CLASSES)


def test_a_year_of_retraining(checkout: Path) -> None:
    said = execute(FOLDER / "year.md", checkout, LATE="10")["said"]
    early, may, _, october, review = said
    assert "decision: train: nothing is in production yet" in early
    assert early.count("decision: skip: ") == 2
    assert "decision: finetune: " in early
    assert "v0.0.2 is in production" in early
    assert "labels consistent: NOT passed" in may
    assert "exit status 3" in may
    assert "decision: finetune: new classes: 8, 9" in october
    assert "v0.0.3 is in production" in october
    assert "v0.0.3" in review


def _write_photographs(folder: Path) -> None:
    """A hundred pictures per class of different sizes: a bright disc of the class's colour on noise."""
    random = np.random.default_rng(0)
    for channel, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for number in range(100):
            height, width = random.integers(40, 90, 2)
            pixels = random.integers(0, 90, (height, width, 3), dtype=np.uint8)
            rows, columns = np.ogrid[:height, :width]
            middle, radius = random.uniform(0.35, 0.65, 2) * (height, width), random.uniform(8, 18)
            inside = (rows - middle[0]) ** 2 + (columns - middle[1]) ** 2 < radius**2
            pixels[inside, channel] = 230
            Image.fromarray(pixels).save(folder / name / f"{number}.jpg", quality=90)
