import json

import pytest
import torch

from genai_core.evaluation.extractor import load_extractor, save_extractor
from tests.evaluation.conftest import extractor_config


@pytest.fixture
def folder(trained, tmp_path):
    save_extractor(tmp_path, *trained)
    return tmp_path


def test_round_trip(trained, folder, dataset):
    extractor, description = load_extractor(folder, extractor_config())
    images = torch.from_numpy(dataset.images("test"))
    assert torch.equal(extractor(images).features, trained[0](images).features)
    assert description.classes == ("across", "down")
    assert description.test_accuracy == trained[1].test_accuracy
    assert len(description.sha256) == 64


def test_saving_twice_gives_the_same_bytes(trained, folder, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    save_extractor(other, *trained)
    for name in ("model.safetensors", "config.json"):
        assert (folder / name).read_bytes() == (other / name).read_bytes()


def test_the_error_for_a_missing_extractor_names_its_stage(tmp_path):
    with pytest.raises(FileNotFoundError, match="run `genai run extractor`"):
        load_extractor(tmp_path, extractor_config())


def test_missing_and_changed_weights_have_different_errors(folder):
    weights = folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ValueError, match=r"its sha256 differs from the one in config.json"):
        load_extractor(folder, extractor_config())
    weights.unlink()
    with pytest.raises(FileNotFoundError, match="is missing"):
        load_extractor(folder, extractor_config())


@pytest.mark.parametrize("config", ["{", "[]", '{"format": 99}', '{"format": 1, "kind": "classifier"}'])
def test_a_damaged_config_is_refused(folder, config):
    (folder / "config.json").write_text(config)
    with pytest.raises(ValueError, match="not the config of an extractor"):
        load_extractor(folder, extractor_config())


def test_weights_of_another_shape_are_refused(folder):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "feature_dim": 9}))
    with pytest.raises(ValueError, match="not the weights of this extractor"):
        load_extractor(folder, extractor_config())
