import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genai_core.serving.frames import Frame
from tasks.serving.errors import InputFault, ModelFault
from tasks.serving.explore import explain, nearest
from tests.evaluation.conftest import SIZE
from tests.flows.serving.explored_home import Home, make_home


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return make_home(tmp_path_factory.mktemp("workspace"))


def question(folder: Path, **changes: Any) -> Frame:
    names = {"extractor": "models/extractor", "dataset": "data/prepared", "reference": "data/reference"}
    values = {
        "folders": {name: str(folder / path) for name, path in names.items()},
        "fingerprint": None,
        "picture": {"form": "pixels", "shape": [1, SIZE, SIZE]},
        "count": 2,
        "class": None,
    }
    return Frame({**values, **changes}, [np.zeros((1, SIZE, SIZE), np.uint8).tobytes()])


def test_real_images_of_another_fingerprint_are_refused(home: Home, tmp_path: Path) -> None:
    copy = shutil.copytree(home.folder, tmp_path / "copy")
    nearest(question(copy, fingerprint=home.fingerprint), "cpu")
    with pytest.raises(ModelFault, match="real images have changed"):
        nearest(question(copy, fingerprint="0" * 64), "cpu")


def test_shards_that_went_away_are_a_fault(home: Home, tmp_path: Path) -> None:
    copy = shutil.copytree(home.folder, tmp_path / "copy")
    nearest(question(copy), "cpu")
    shutil.rmtree(copy / "data/prepared/shards")
    with pytest.raises(ModelFault, match="real images have changed"):
        nearest(question(copy), "cpu")


@pytest.mark.parametrize("missing", ["models/extractor", "data/prepared", "data/reference"])
def test_a_missing_output_is_a_fault(home: Home, tmp_path: Path, missing: str) -> None:
    copy = shutil.copytree(home.folder, tmp_path / "copy")
    shutil.rmtree(copy / missing)
    for ask in (nearest, explain):
        with pytest.raises(ModelFault):
            ask(question(copy), "cpu")


def test_an_unknown_class_is_refused(home: Home) -> None:
    with pytest.raises(InputFault, match="available: across, down"):
        explain(question(home.folder, **{"class": "up"}), "cpu")
