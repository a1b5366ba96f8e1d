"""External networks: Inception by its weights file, and any module by its import path."""

import hashlib
import json
import pickle
import sys

import numpy as np
import pytest
import torch
from torch import nn

from genai_core.config import InceptionExtractorConfig, ModuleExtractorConfig
from genai_core.evaluation.extractor import load_extractor, save_extractor
from genai_core.evaluation.features import bf16_drift, extract_features
from genai_core.evaluation.given_weights import read_weights
from genai_core.evaluation.inception import given_inception
from genai_core.evaluation.user_module import given_module
from genai_core.image_size import ImageSize
from tests.evaluation.conftest import extractor_config
from tests.evaluation.inception_weights import photographs, write_random_weights


def small_network(width=4, fault=False):
    if fault:
        raise RuntimeError("no such width")
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 3))


def no_network():
    return "a string"


def module_config(**changes):
    values = {
        "kind": "module",
        "factory": f"{__name__}:small_network",
        "arguments": {"width": 6},
        "layer": "1",
        "weights": None,
        "weights_sha256": None,
        "resize_px": 16,
        "scaling": "imagenet",
        "precision": "fp32",
    }
    return ModuleExtractorConfig(**{**values, **changes})


def inception_config(path, sha256, precision="fp32"):
    return InceptionExtractorConfig(kind="inception", weights=str(path), weights_sha256=sha256, precision=precision)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_random_weights(tmp_path_factory.mktemp("weights"))


def test_inception_is_saved_as_safetensors_and_loads_without_its_weights_file(weights, tmp_path):
    path, sha256 = weights
    network, description = given_inception(inception_config(path, sha256[:8]))
    saved = save_extractor(tmp_path, network, description)
    assert (saved.source_sha256, saved.feature_dim, saved.outputs) == (sha256, 2048, 1008)
    loaded, found = load_extractor(tmp_path, inception_config(path, sha256))
    assert found == saved
    images = photographs(2, seed=0)
    with torch.inference_mode():
        torch.testing.assert_close(loaded(images).features, network(images).features)


def test_the_drift_of_bf16_is_measured():
    network, description = given_module(module_config(precision="bf16"), ImageSize.square(32))
    images = photographs(30, seed=0).numpy()
    drift = bf16_drift(network, images)
    assert (network.precision, description.precision) == ("bf16", "bf16")
    assert 0 < drift.relative_change < 0.1
    assert drift.frechet_distance < 0.01
    exact = extract_features(given_module(module_config(), ImageSize.square(32))[0], images, 30).features
    coarse = extract_features(network, images, 30).features
    change = np.sqrt(((coarse - exact) ** 2).mean()) / exact.std(axis=0).mean()
    assert drift.relative_change == pytest.approx(change, rel=1e-3)


@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
def test_a_file_with_another_hash_is_refused(tmp_path, ending):
    path = tmp_path / f"weights{ending}"
    path.write_bytes(b"something else")
    with pytest.raises(ValueError, match=r"has the sha256 .*, expected 0123456789: another file, or a damaged one"):
        read_weights(path, "0123456789", "extractor.weights")


class Harmful:
    def __reduce__(self):
        return (print, ("this must never be printed",))


def test_code_in_a_weights_file_is_not_run(tmp_path, capsys):
    path = tmp_path / "weights.pth"
    path.write_bytes(pickle.dumps(Harmful()))
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(ValueError, match="cannot be read safely as weights"):
        read_weights(path, sha256, "extractor.weights")
    assert capsys.readouterr().out == ""


def test_weights_of_another_network_and_missing_weights_are_refused(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({"fc.weight": torch.zeros(3)}, path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(ValueError, match="not the weights of torch-fidelity's Inception v3"):
        given_inception(inception_config(path, sha256))
    with pytest.raises(FileNotFoundError, match=r"extractor.weights: no file .*gone.pth"):
        given_inception(inception_config(tmp_path / "gone.pth", sha256))


def test_features_of_a_user_module_are_a_layers_output_and_logits_its_own_output(tmp_path):
    network, description = given_module(module_config(), ImageSize.square(32))
    assert (description.feature_dim, description.outputs) == (6, 3)
    assert description.resize == "bilinear with antialias to 16 pixels a side"
    save_extractor(tmp_path, network, description)
    loaded, _ = load_extractor(tmp_path, module_config())
    images = photographs(5, seed=0).numpy()
    found, again = extract_features(network, images, 2), extract_features(loaded, images, 5)
    assert found.features.shape == (5, 6)
    np.testing.assert_allclose(found.features, again.features, atol=1e-6)
    np.testing.assert_allclose(found.logits, again.logits, atol=1e-6)
    assert given_module(module_config(layer=None), ImageSize.square(32))[1].outputs == 0


@pytest.fixture
def planted(tmp_path, monkeypatch):
    """(a saved extractor, the path of a file that exists after the module `planted_code` is imported or called)."""
    folder, witness = tmp_path / "extractor", tmp_path / "witness"
    folder.mkdir()
    save_extractor(folder, *given_module(module_config(), ImageSize.square(32)))
    (tmp_path / "planted_code.py").write_text(
        f"from pathlib import Path\nwitness = Path({str(witness)!r})\nwitness.write_text('imported')\n"
        "def run(*_, **__):\n    witness.write_text('called')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    return folder, witness


def rewrite(folder, **settings):
    """Change the settings in config.json, as a remote or another revision may do."""
    path = folder / "config.json"
    values = json.loads(path.read_text())
    values["settings"] |= settings
    path.write_text(json.dumps(values))


@pytest.mark.parametrize("named", ["the same kind", "another kind"])
@pytest.mark.parametrize(
    "settings",
    [
        {"factory": "planted_code:run"},
        {"factory": "os:system", "arguments": {"command": "touch witness"}},
        {"factory": "planted_code:run", "arguments": {}, "layer": None},
    ],
)
def test_a_function_not_named_in_params_is_neither_imported_nor_called(planted, monkeypatch, named, settings):
    folder, witness = planted
    monkeypatch.chdir(folder.parent)
    rewrite(folder, **settings)
    own = module_config() if named == "the same kind" else extractor_config()
    with pytest.raises(
        ValueError, match=r"config.json: made by a call of '(planted_code:run|os:system)'.* nothing was"
    ):
        load_extractor(folder, own)
    assert "planted_code" not in sys.modules
    assert not witness.exists()


def test_without_a_config_no_function_is_called(planted, monkeypatch):
    folder, witness = planted
    monkeypatch.chdir(folder.parent)
    rewrite(folder, factory="planted_code:run")
    with pytest.raises(ValueError, match=r"call of 'planted_code:run'.*nothing was called; pass the config that names"):
        load_extractor(folder)
    assert not witness.exists()


@pytest.mark.parametrize("changes", [{"arguments": {"width": 6, "fault": True}}, {"layer": None}, {"layer": "0"}])
def test_settings_that_differ_from_params_are_refused(planted, changes):
    folder, _ = planted
    rewrite(folder, **changes)
    with pytest.raises(ValueError, match=r"params.yaml has \S+:small_network with \{.*nothing was called"):
        load_extractor(folder, module_config())


def test_the_planted_function_runs_if_params_name_it(planted):
    """Checks the fixture of the tests above."""
    _, witness = planted
    with pytest.raises(ValueError, match=r"expected a torch\.nn\.Module, got NoneType"):
        given_module(module_config(factory="planted_code:run"), ImageSize.square(32))
    assert witness.read_text() == "called"
    sys.modules.pop("planted_code")


def test_settings_of_another_form_are_refused(planted):
    folder, _ = planted
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "settings": ["os:system"]}))
    with pytest.raises(ValueError, match="not the config of an extractor"):
        load_extractor(folder, module_config())


def test_a_torchvision_model_is_a_module():
    config = module_config(
        factory="torchvision.models:squeezenet1_1", arguments={"weights": None}, layer="features.12", resize_px=32
    )
    network, description = given_module(config, ImageSize.square(32))
    assert description.outputs == 1000
    assert extract_features(network, np.zeros((2, 1, 20, 20), np.uint8), 2).features.shape[1] == description.feature_dim


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"factory": "no_such_package.at_all:build"}, "extractor.factory: .*ModuleNotFoundError"),
        ({"factory": f"{__name__}:gone"}, "extractor.factory: .*AttributeError"),
        ({"arguments": {"fault": True}}, "extractor.factory: .*RuntimeError: no such width"),
        ({"factory": f"{__name__}:no_network", "arguments": {}}, "expected a torch.nn.Module, got str"),
        ({"layer": "7"}, "extractor.layer"),
    ],
)
def test_faults_of_a_user_module_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        given_module(module_config(**changes), ImageSize.square(32))


class Fixed(torch.nn.Module):
    """Takes 3x24x24 images only."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(3 * 24 * 24, 4)

    def forward(self, images):
        return self.linear(images.flatten(1))


def test_a_network_for_one_size_is_tried_on_images_of_the_datasets_size():
    config = module_config(factory=f"{__name__}:Fixed", arguments={}, layer=None, resize_px=None)
    network, description = given_module(config, ImageSize.square(24))
    assert description.feature_dim == 4
    message = r"extractor.factory: RuntimeError: .*images of 28 x 28 pixels; set extractor.resize_px"
    with pytest.raises(ValueError, match=message):
        given_module(config, ImageSize.square(28))
    with pytest.raises(ValueError, match=r"set extractor\.resize_px"):  # images of any size may be measured later
        network(torch.zeros((2, 1, 28, 28), dtype=torch.uint8))
    assert given_module(config.model_copy(update={"resize_px": 24}), ImageSize.square(28))[1].feature_dim == 4


def test_weights_and_their_hash_go_together():
    with pytest.raises(ValueError, match="set both, or null for both"):
        module_config(weights="x.safetensors")
