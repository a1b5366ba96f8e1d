"""The proposal as params.yaml: valid, commented, and never over somebody's edits."""

from dataclasses import replace
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from flows.advising.params_file import base_values, is_edited, proposal_text, scalar, write_proposal
from flows.presets import write_preset
from flows.search.space import checked_target, present_in
from genai_core.advice.facts import DataFacts, MachineFacts
from genai_core.advice.propose import Advice, propose
from genai_core.advice.search_space import search_setting
from genai_core.config import Config, ConfigError, load_config

DATA = DataFacts(500, sources=("phone: photos",), classes={"hat": 250, "shoe": 250}, height_px=400, width_px=300)


@pytest.fixture(scope="module")
def advice() -> Advice:
    return propose(base_values(), DATA, MachineFacts(2), 10)


def test_the_file_has_the_proposed_values_and_their_reasons(advice: Advice, tmp_path: Path) -> None:
    text = proposal_text(advice, ["Proposed", "for a test"])
    path = write_proposal(tmp_path, text, force=False)
    assert load_config(path) == Config.model_validate(advice.values)
    assert text.startswith("# Proposed\n# for a test\n#\n# What a run does.")
    for setting in advice.settings:
        line = next(line for line in text.splitlines() if line.strip().startswith(f"{setting.path[-1]}:"))
        assert line, setting
        if setting.reason:
            assert f"# {setting.reason}" in text
    assert "# pixels per side" not in text  # the reason took its place
    assert "stops the stage" not in text
    assert "# larger images are rejected before they are decoded" in text


def test_models_that_are_not_proposed_are_left_out_and_sections_stay_apart(tmp_path: Path) -> None:
    alone = propose(base_values(), DATA, MachineFacts(1), 10)
    text = proposal_text(alone, [])
    assert list(YAML(typ="safe").load(text)["models"]) == ["diffusion"]
    assert text.count("\n\n") == proposal_text(propose(base_values(), DATA, MachineFacts(4), 100), []).count("\n\n")
    assert "\n\nevaluation:" in text


def test_edits_are_not_overwritten(advice: Advice, tmp_path: Path) -> None:
    assert not is_edited(tmp_path)
    write_preset(tmp_path, "digits", force=False)
    path = write_proposal(tmp_path, proposal_text(advice, ["one"]), force=False)
    assert not is_edited(tmp_path)
    write_proposal(tmp_path, proposal_text(advice, ["two"]), force=False)  # from proposal to proposal nothing is lost
    path.write_text(path.read_text() + "# mine\n")
    assert is_edited(tmp_path)
    with pytest.raises(ConfigError, match="was edited"):
        write_proposal(tmp_path, proposal_text(advice, ["three"]), force=False)
    write_proposal(tmp_path, proposal_text(advice, ["three"]), force=True)
    assert path.read_text().startswith("# three\n")


@pytest.mark.parametrize(
    "value", [74_000, 0.004, True, None, [1, 2], ["flip", "crop"], [0.2, 5.0], "auto", 'a "title": # 1']
)
def test_values_are_written_as_yaml(value: object) -> None:
    assert YAML(typ="safe").load(f"key: {scalar(value)}")["key"] == value


@pytest.mark.parametrize("model", ["diffusion", "gan", "vae", "vqvae"])
def test_proposed_ranges_can_be_searched_and_contain_the_proposal(model: str, tmp_path: Path) -> None:
    proposed = propose(base_values(), DATA, MachineFacts(4), 100)
    assert model in proposed.models
    ranges = search_setting(proposed.values, model)
    (tmp_path / "params.yaml").write_text(proposal_text(replace(proposed, settings=(*proposed.settings, ranges)), []))
    config = load_config(tmp_path / "params.yaml")
    values = YAML(typ="safe").load(tmp_path / "params.yaml")
    assert checked_target(config, values).model == model
    assert not isinstance(present_in(values, config.search.space), str)
