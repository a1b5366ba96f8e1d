import dataclasses
import importlib
import json
import sys

import pytest
import torch
from safetensors.torch import save

import genai_core.models
from genai_core.image_size import ImageSize
from genai_core.models.artifact import (
    CONFIG_FILE,
    TRAINING_FILE,
    WEIGHTS_FILE,
    build_model,
    load_for_training,
    load_model,
    parse_sampling,
    read_config,
    recipe_values,
    save_model,
    selected_sampling,
)
from tests.models.tiny import RECIPES, SHAPE

FAMILIES = sorted(RECIPES)
SUMMARY = {"images": 64, "last figures": {"loss": 0.25}}


def saved(folder, family="gan", seed=0):
    torch.manual_seed(seed)
    folder.mkdir()
    model = build_model(RECIPES[family](), SHAPE)
    save_model(folder, model, RECIPES[family](), dataset="abc", training_summary=SUMMARY)
    return model


@pytest.fixture
def folder(tmp_path):
    saved(tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize("family", FAMILIES)
def test_round_trip(tmp_path, family):
    model = saved(tmp_path / "m", family)
    loaded, again = load_model(tmp_path / "m"), load_for_training(tmp_path / "m")
    labels, seeds = torch.tensor([0, 1]), torch.tensor([3, 4])
    expected = model.eval().sample(labels, seeds, model.preview_sampling)
    assert torch.equal(loaded.sample(labels, seeds, model.preview_sampling), expected)
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    assert all(torch.equal(again.state_dict()[name], tensor) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_of_rectangles_is_saved_and_loaded(tmp_path, family):
    shape = dataclasses.replace(SHAPE, image_size=ImageSize(8, 12))
    model, recipe = build_model(RECIPES[family](), shape), RECIPES[family]()
    save_model(tmp_path, model, recipe, dataset="abc", training_summary=SUMMARY)
    assert json.loads((tmp_path / CONFIG_FILE).read_text())["shape"]["image_size"] == [8, 12]
    assert "| images | 8 x 12 (height x width) pixels, grey |" in (tmp_path / "card.md").read_text()
    loaded, labels, seeds = load_model(tmp_path), torch.tensor([0, 1]), torch.tensor([3, 4])
    assert loaded.shape == shape
    expected = model.eval().sample(labels, seeds, model.preview_sampling)
    assert torch.equal(loaded.sample(labels, seeds, model.preview_sampling), expected)


def test_contents_of_config_json(folder):
    description = read_config(folder)
    assert json.loads((folder / CONFIG_FILE).read_text())["shape"]["image_size"] == 8
    assert description.config == RECIPES["gan"]()
    assert description.shape == SHAPE
    assert description.dataset == "abc"
    assert description.training_summary == SUMMARY
    assert description.parameters == sum(p.numel() for p in load_model(folder).sampled_network().parameters())
    assert "sampling" not in recipe_values(description.config)


def test_a_model_of_before_muon_was_trained_without(folder):
    values = json.loads((folder / CONFIG_FILE).read_text())
    assert values["training"].pop("muon") is False
    (folder / CONFIG_FILE).write_text(json.dumps(values))
    assert read_config(folder).config == RECIPES["gan"]()
    assert load_model(folder).family == "gan"


def test_equal_models_make_equal_bytes(tmp_path):
    for name in ("one", "two"):
        saved(tmp_path / name)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_sampling_does_not_need_the_discriminator(tmp_path):
    saved(tmp_path / "gan")
    saved(tmp_path / "diffusion", "diffusion")
    sizes = {name: (tmp_path / name / TRAINING_FILE).stat().st_size for name in ("gan", "diffusion")}
    assert sizes["gan"] > 1000 > sizes["diffusion"]
    (tmp_path / "gan" / TRAINING_FILE).unlink()
    load_model(tmp_path / "gan")
    with pytest.raises(FileNotFoundError, match=r"training\.safetensors is missing"):
        load_for_training(tmp_path / "gan")


def test_an_empty_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="no model found"):
        load_model(tmp_path)


def test_missing_weights(folder):
    (folder / WEIGHTS_FILE).unlink()
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors is missing"):
        load_model(folder)


def test_damaged_weights(folder):
    content = bytearray((folder / WEIGHTS_FILE).read_bytes())
    content[-1] ^= 1
    (folder / WEIGHTS_FILE).write_bytes(content)
    with pytest.raises(ValueError, match=r"its sha256 differs from the one in config\.json"):
        load_model(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x80\x04 a pickle", "not a safetensors file"),
        (save({"basis": torch.zeros(1)}), "expected the tensors of its config; missing"),
    ],
)
def test_weights_of_another_network_with_a_matching_hash(folder, content, message, monkeypatch):
    (folder / WEIGHTS_FILE).write_bytes(content)
    monkeypatch.setattr("genai_core.models.artifact._sha256", lambda _path: "same")
    change_config(folder, sha256={WEIGHTS_FILE: "same"})
    with pytest.raises(ValueError, match=message):
        load_model(folder)


def test_weights_of_another_size(tmp_path, folder, monkeypatch):
    torch.manual_seed(0)
    wide = RECIPES["gan"]().model_copy(update={"network": RECIPES["gan"]().network.model_copy(update={"width": 16})})
    change_config(folder, network=wide.network.model_dump())
    with pytest.raises(ValueError, match=r"expected shape \(16,|expected shape \(32,"):
        load_model(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "expected format 1, got 2"),
        ({"family": "vea"}, "vea"),
        ({"network": {"width": 8}}, r"network.*Field required"),
        ({"shape": {"image_size": 8}}, "channels"),
        ({"dataset": None, "shape": 3}, "not the config of a generative model"),
    ],
)
def test_a_config_that_cannot_be_used(folder, changes, message):
    change_config(folder, **changes)
    with pytest.raises(ValueError, match=message):
        load_model(folder)


@pytest.mark.parametrize("family", ["artifact", "planted_family", "..planted_family", "os:system", "gan.evil", ["gan"]])
def test_an_unknown_family_is_not_imported(folder, family, monkeypatch):
    """config.json may come from anywhere, and its family must not import a module of that name."""
    monkeypatch.setattr(genai_core.models, "__path__", [*genai_core.models.__path__, str(folder)])
    (folder / "planted_family.py").write_text(f"open({str(folder / 'witness')!r}, 'w').close()\n")
    change_config(folder, family=family)
    for load in (load_model, load_for_training, read_config):
        with pytest.raises(ValueError, match=r"config\.json: .*not a model of this version"):
            load(folder)
    assert not (folder / "witness").exists()
    importlib.import_module("genai_core.models.planted_family")
    assert (folder / "witness").exists(), "so that the test sees what it looks for"
    del sys.modules["genai_core.models.planted_family"]


@pytest.mark.parametrize("content", ["", "[1, 2]", "{", "\x00"])
def test_a_file_that_is_not_a_config(folder, content):
    (folder / CONFIG_FILE).write_text(content)
    with pytest.raises(ValueError, match="not the config of a generative model"):
        load_model(folder)


def test_sampling_options_are_checked():
    assert parse_sampling("gan", {"truncation": 0.5}).truncation == 0.5
    with pytest.raises(ValueError, match=r"sampling of gan: truncation: .*less than or equal to 1"):
        parse_sampling("gan", {"truncation": 2})
    few = {"sampler": "few_step", "steps": 3, "sigma_min": 0.1, "sigma_max": 9.0, "guidance_scale": 1.0}
    with pytest.raises(ValueError, match=r"^sampling of diffusion: steps: got 3; allowed: 1, 2 or 4"):
        parse_sampling("diffusion", few)
    with pytest.raises(ValueError, match="no such model family: 'vea'; available: diffusion, gan, vae, vqvae"):
        parse_sampling("vea", {})


@pytest.mark.parametrize("content", ["", "[1]", "{}", '{"sampling": [1]}', '{"sampling": {"truncation": 2}}'])
def test_a_damaged_selection_is_named(folder, content):
    (folder / "selection.json").write_text(content)
    with pytest.raises(ValueError, match=r"selection\.json: not the sampling options of a gan model"):
        selected_sampling(folder)


def test_sampling_options_without_the_newer_keys():
    earlier = {"sampler": "heun", "steps": 7, "sigma_min": 0.02, "sigma_max": 20.0, "guidance_scale": 1.5}
    assert parse_sampling("diffusion", earlier).guidance_interval is None
    assert parse_sampling("diffusion", earlier).noise_levels is None
    assert parse_sampling("diffusion", {**earlier, "guidance_interval": [1.0, 2.0]}).guidance_interval == (1.0, 2.0)


def change_config(folder, **changes):
    values = json.loads((folder / CONFIG_FILE).read_text())
    (folder / CONFIG_FILE).write_text(json.dumps({**values, **changes}))
