import shutil
from pathlib import Path

import pytest
import yaml

from flows.registry.model_names import open_model
from flows.serving.real_data import find_real_data
from tests.flows.serving.explored_home import DECODING, Home, make_home, save_gan


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return make_home(tmp_path_factory.mktemp("workspace"))


@pytest.fixture
def copy(home: Home, tmp_path: Path) -> Path:
    return shutil.copytree(home.folder, tmp_path / "copy")


def test_the_outputs_of_the_workspace_are_found(home: Home) -> None:
    found = find_real_data(home.folder, open_model(home.folder, "gan"))
    assert found is not None
    assert found.decoding == DECODING
    assert found.folders() == {
        "extractor": str(home.folder / "models/extractor"),
        "dataset": str(home.folder / "data/prepared"),
        "reference": str(home.folder / "data/reference"),
    }


@pytest.mark.parametrize("missing", ["models/extractor", "data/prepared", "data/reference"])
def test_without_one_of_them_there_is_none(copy: Path, missing: str) -> None:
    shutil.rmtree(copy / missing)
    assert find_real_data(copy, open_model(copy, "gan")) is None


def test_a_model_of_other_images_has_none(copy: Path, tmp_path: Path) -> None:
    folder = save_gan(tmp_path / "other", "f" * 64)
    assert find_real_data(copy, open_model(copy, str(folder))) is None


def test_a_model_of_their_augmented_version_has_them(copy: Path, tmp_path: Path) -> None:
    folder = save_gan(tmp_path / "other", "f" * 64)
    (copy / "data/augmented").mkdir()
    (copy / "data/augmented/dataset.json").write_text('{"fingerprint": "' + "f" * 64 + '"}')
    assert find_real_data(copy, open_model(copy, str(folder))) is not None


def test_without_the_rule_of_decoding_there_is_none(copy: Path) -> None:
    lock = yaml.safe_load((copy / "dvc.lock").read_text())
    del lock["stages"]["prepare"]["params"]
    (copy / "dvc.lock").write_text(yaml.safe_dump(lock))
    assert find_real_data(copy, open_model(copy, "gan")) is None
    (copy / "dvc.lock").unlink()
    assert find_real_data(copy, open_model(copy, "gan")) is None
    (copy / "dvc.lock").write_text("<<<<<<< HEAD\n")
    assert find_real_data(copy, open_model(copy, "gan")) is None
