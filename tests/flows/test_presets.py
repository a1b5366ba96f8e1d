"""`genai init --preset NAME`: every preset is a complete, valid params.yaml."""

import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from flows.presets import FOLDER, preset_names, preset_text, write_preset
from genai_core.config import ConfigError, load_config
from tests.test_rooms import ROOT

NAMES = ["digits", "cifar10", "fashion-mnist", "photos-128", "photos-64"]


def test_preset_names() -> None:
    assert preset_names() == NAMES


def test_projects_params_are_the_first_preset() -> None:
    assert preset_text("digits") == (ROOT / "params.yaml").read_text(), "copy params.yaml to presets/digits.yaml"


@pytest.mark.parametrize("name", NAMES)
def test_each_preset_is_complete_and_valid_and_names_its_cost(name: str, tmp_path: Path) -> None:
    path = write_preset(tmp_path, name, force=False)
    config = load_config(path)
    text = path.read_text()
    if name != "digits":
        about = text[: text.index("# What a run does")]
        assert "# Estimated, not run: on one " in about
        assert "# Expected: " in about
        for key, value in leaves(YAML(typ="safe").load(FOLDER / f"{name}.yaml")):
            assert lookup(config.model_dump(mode="json"), key) == value, key
        # Every line of the base that is not changed stands there, comments and empty lines too.
        base = [line for line in preset_text("digits").splitlines() if line.strip().startswith("#")]
        assert all(line in text.splitlines() for line in base)
        assert text.count("\n\n") == preset_text("digits").count("\n\n")
        assert ": null" in text


@pytest.mark.parametrize("name", NAMES)
def test_averaging_of_each_preset_fits_its_trainings(name: str, tmp_path: Path) -> None:
    """Half of the average is from the last tenth of a training or less; at most a sixteenth is from a loaded one."""
    config = load_config(write_preset(tmp_path, name, force=False))
    for training in (model.training for model in config.models.values()):
        assert 10 * training.ema_halflife_images <= training.total_images
        assert training.batch_images < training.ema_halflife_images
    assert 4 * config.finetune.ema_halflife_images <= config.finetune.total_images


def test_edits_are_not_overwritten(tmp_path: Path) -> None:
    path = write_preset(tmp_path, "digits", force=False)
    write_preset(tmp_path, "cifar10", force=False)  # from preset to preset nothing is lost
    path.write_text(path.read_text() + "# mine\n")
    with pytest.raises(ConfigError, match="--force overwrites it"):
        write_preset(tmp_path, "digits", force=False)
    assert path.read_text().endswith("# mine\n")
    write_preset(tmp_path, "digits", force=True)
    assert path.read_text() == preset_text("digits")


def test_the_command(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "flows.cli", "--workspace", str(tmp_path), "init", "--preset"]
    answer = subprocess.run([*command, "mnist"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert answer.returncode == 2
    assert "unknown preset 'mnist'; available: digits, cifar10" in answer.stderr
    answer = subprocess.run([*command, "photos-64"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.endswith("params.yaml is now the preset photos-64\n")
    assert load_config(tmp_path / "params.yaml").data.image_size == (64, 64)


def leaves(values: dict, prefix: str = ""):  # type: ignore[no-untyped-def,type-arg]
    for key, value in values.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def lookup(values: dict, key: str) -> object:  # type: ignore[type-arg]
    for part in key.split("."):
        values = values[part]
    return values
