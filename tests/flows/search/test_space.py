"""The space of a search: what may vary, and what a trial's values are."""

import math
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import optuna
import pytest
from pydantic import ValidationError
from ruamel.yaml import YAML

from flows.search import SearchError
from flows.search.space import checked_target, present_in, suggested
from genai_core.config import Config, ConfigError, RangeConfig, SearchConfig, load_config
from tests.test_rooms import ROOT

RATE = "models.gan.training.learning_rate"


def values_with(space: dict[str, Any], **search: Any) -> dict[str, Any]:
    values: dict[str, Any] = YAML(typ="safe").load(ROOT / "params.yaml")
    values["search"].update({"space": space, **search})
    return values


def target_of(space: dict[str, Any], **search: Any) -> str:
    values = values_with(space, **search)
    return checked_target(Config.model_validate(values), values).stage


def test_the_keys_say_whose_figures_count() -> None:
    assert target_of({RATE: {"low": 1e-4, "high": 1e-2}}) == "evaluate@gan"
    assert target_of({"augment.expand": {"low": 1.0, "high": 3.0}}, model="vae") == "evaluate@vae"
    assert target_of({"finetune.learning_rate_share": {"low": 0.01, "high": 0.5}}) == "evaluate-finetuned"
    for apart in (8_400, 11_600):
        assert target_of({RATE: {"low": 1e-4, "high": 1e-2}}, fresh_seed=apart) == "evaluate@gan"


@pytest.mark.parametrize(
    ("space", "search", "said"),
    [
        ({}, {}, "search.space in params.yaml is empty"),
        ({"models.gan.training.rate": {"low": 0.1, "high": 0.2}}, {}, "params.yaml has no such key"),
        ({"models.gan.training": {"choices": [1, 2]}}, {}, "this is a section; name a key in it"),
        ({"extractor.width": {"choices": [16, 32]}}, {}, "extractor is part of the yardstick"),
        ({"gate.max_device_hours": {"low": 1.0, "high": 2.0}}, {}, "no trained model depends on gate"),
        ({"models.gan.training.precision": {"low": 1, "high": 2}}, {}, "write choices"),
        ({"models.gan.network.width": {"low": 8.0, "high": 32.0}}, {}, "write low and high as whole numbers"),
        ({RATE: {"low": 1e-4, "high": 1e-2}}, {"model": "vae"}, "do not change the figures of search.model, vae"),
        ({RATE: {"low": 1e-4, "high": 1e-2}}, {"model": "none"}, "search.model: no model none"),
        ({"augment.expand": {"low": 1.0, "high": 3.0}}, {}, "no key of a model; a search improves one model"),
        ({"finetune.learning_rate_share": {"low": 0.01, "high": 0.5}}, {"model": "gan"}, "fine-tuned model's figures"),
        ({RATE: {"low": 1e-4, "high": 2.0}}, {}, f"{RATE}: got 2.0; allowed: less than or equal to 1"),
        ({RATE: {"choices": [1e-3, "fast"]}}, {}, f"{RATE}: got 'fast'; allowed: a number"),
        ({"models.gan.network.width": {"choices": [12, 16]}}, {}, "got 12; allowed: a multiple of 8"),
        ({"models.gan.network.width": {"low": 16, "high": 64}}, {}, "got 17; allowed: a multiple of 8"),
        ({"models.gan.family": {"choices": ["gan", "vae"]}}, {}, "models.gan.family: other keys depend on it"),
        ({"finetune.few_step.steps": {"low": 1, "high": 4}}, {}, "got 3; allowed: 1, 2 or 4"),
        (
            {"models.diffusion.sampling.sampler": {"choices": ["heun", "few_step"]}},
            {},
            "got 'few_step'; allowed: 'heun'",
        ),
        (
            {
                "finetune.kind": {"choices": ["full", "few_step"]},
                "finetune.few_step.worst_ratio": {"low": 1, "high": 2},
            },
            {},
            "worst_ratio: it changes no trial, only which model becomes the candidate",
        ),
        ({"finetune.lora.rank": {"low": 1, "high": 4}}, {}, "nothing unless finetune.kind is lora, and it is full"),
        ({"finetune.replay_share": {"low": 0.1, "high": 0.4}}, {}, "unless finetune.images is replay, and it is all"),
        ({"finetune.images": {"choices": ["all", "new"]}}, {}, "unless finetune.start is base, and it is selected"),
        ({"finetune.old_classes": {"choices": ["train", "keep"]}}, {}, "unless finetune.start is base, and it is"),
        # evaluation.seed is 10,000, for 1,600 images.
        ({RATE: {"low": 1e-4, "high": 1e-2}}, {"fresh_seed": 11_599}, "trials with 10000 to 11599 .*; write 11600$"),
        ({RATE: {"low": 1e-4, "high": 1e-2}}, {"fresh_seed": 8_401}, "search.fresh_seed: got 8401"),
    ],
)
def test_a_space_that_makes_no_sense_is_refused(space: dict[str, Any], search: dict[str, Any], said: str) -> None:
    with pytest.raises(SearchError, match=said):
        target_of(space, **search)


@pytest.mark.parametrize("kind", ["full", "lora", "few_step"])
def test_old_classes_are_kept_only_by_kinds_that_learn_new_ones(kind: str) -> None:
    values = values_with({"finetune.old_classes": {"choices": ["train", "keep"]}})
    values["finetune"].update({"kind": kind, "start": "base"})
    with (
        pytest.raises(SearchError, match=r"nothing unless finetune\.kind is full or lora")
        if kind == "few_step"
        else nullcontext()
    ):
        assert checked_target(Config.model_validate(values), values).stage == "evaluate-finetuned"


def test_a_key_that_has_an_effect_in_some_trials_is_allowed() -> None:
    rank = {"low": 1, "high": 16, "when": {"finetune.kind": ["lora"]}}
    space = {"finetune.kind": {"choices": ["full", "lora"]}, "finetune.lora.rank": rank}
    assert target_of(space) == "evaluate-finetuned"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"low": 2.0, "high": 1.0}, "allowed: low below high"),
        ({"low": 0.0, "high": 1.0, "log": True}, "needs low above 0"),
        ({"low": 1.0}, "write low and high, or choices"),
        ({"choices": [1]}, "two or more values"),
        ({"choices": [1, 1]}, "stands there twice"),
        ({"choices": [1, 2], "low": 1.0}, "choices stand alone"),
        ({"low": 1, "high": 4, "step": 5}, "at most high - low"),
        ({"low": 16, "high": 60, "step": 16}, "steps that lead from low, 16, to high"),
    ],
)
def test_an_impossible_range_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        RangeConfig.model_validate(given)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"low": "1", "high": 2}, f".{RATE}.low: got '1'; allowed: a number"),
        ({"low": True, "high": 2}, f".{RATE}.low: got true; allowed: a number"),
        ({"low": 1.0, "high": math.inf}, f".{RATE}.high: got inf; allowed: a finite number"),
        ({"choices": [1, {"a": 2}]}, f".{RATE}.choices.1: a number, text, true, false, null, or a list of these"),
        ({"max": 2, "min": 1}, f".{RATE}: unknown: max, min; allowed: low, high, log, step, choices, when"),
        (
            {"low": 1.0, "high": 2.0, "when": {"Kind": [1]}},
            f".{RATE}.when: got 'Kind'; allowed: dotted names, such as models.gan.training.learning_rate",
        ),
        (None, f".{RATE}: got null; allowed: a range such as {{low: 0.1, high: 0.9}}, or {{choices: [1, 2]}}"),
    ],
)
def test_a_fault_of_a_range_is_one_line_in_the_words_of_yaml(tmp_path: Path, given: Any, said: str) -> None:
    with (tmp_path / "params.yaml").open("w") as file:
        YAML(typ="safe").dump(values_with({RATE: given}), file)
    with pytest.raises(ConfigError) as error:
        load_config(tmp_path / "params.yaml")
    assert str(error.value) == f"params.yaml: search.space{said}"


def test_conditions_tell_true_from_1_and_may_name_a_list() -> None:
    first, second = "models.gan.training.muon", "models.gan.objective.augment_policy"
    space = {first: {"choices": [True, False]}, second: {"choices": [[], ["cutout"]]}}
    for key, value, is_allowed in ((first, True, True), (first, 1, False), (second, ["cutout"], True)):
        values = values_with({**space, RATE: {"low": 1e-4, "high": 1e-2, "when": {key: [value]}}})["search"]
        with nullcontext() if is_allowed else pytest.raises(ValidationError, match="1 is not among the choices"):
            SearchConfig.model_validate(values)


def test_a_condition_names_choices_of_an_earlier_key() -> None:
    first, later = (
        {"choices": [None, 0.6]},
        {"low": 1.0, "high": 2.0, "when": {"models.gan.objective.ada_target": [0.6]}},
    )
    values = values_with({"models.gan.objective.ada_target": first, RATE: later})
    SearchConfig.model_validate(values["search"])
    for space in ({RATE: later}, {"models.gan.objective.ada_target": {"choices": [None, 0.5]}, RATE: later}):
        with pytest.raises(ValidationError, match="when"):
            SearchConfig.model_validate({**values["search"], "space": space})


def test_values_keep_their_types_and_conditions_hold() -> None:
    space = SearchConfig.model_validate(
        values_with(
            {
                "models.gan.objective.ada_target": {"choices": [None, 0.6]},
                "models.gan.objective.ada_images": {
                    "low": 1000,
                    "high": 9000,
                    "when": {"models.gan.objective.ada_target": [0.6]},
                },
                RATE: {"low": 1e-4, "high": 1e-2, "log": True},
            }
        )["search"]
    ).space
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(20):
        found = suggested(study.ask(), space)
        adaptive = found["models.gan.objective.ada_target"] == 0.6
        assert ("models.gan.objective.ada_images" in found) == adaptive
        assert not adaptive or isinstance(found["models.gan.objective.ada_images"], int)
        assert 1e-4 <= found[RATE] <= 1e-2
        assert found[RATE] == float(f"{found[RATE]:.3g}")  # a person can read it


def test_present_settings_are_suggested_only_if_they_lie_in_the_space() -> None:
    values = values_with({})
    inside = {RATE: RangeConfig(low=1e-4, high=1e-2)}
    assert present_in(values, inside) == {RATE: 1e-3}
    assert present_in(values, {RATE: RangeConfig(low=2e-3, high=1e-2)}) == RATE
    width = "models.gan.network.width"  # 24
    assert present_in(values, {width: RangeConfig(low=8, high=64, step=8)}) == {width: 24}
    assert present_in(values, {width: RangeConfig(low=16, high=64, step=16)}) == width  # no trial can have it
    expand = "augment.expand"
    values["augment"]["expand"] = 1
    assert present_in(values, {expand: RangeConfig(choices=[1.0, 2.0])}) == {expand: "1.0"}
    assert present_in(values, {expand: RangeConfig(choices=[True, 2.0])}) == expand


@pytest.mark.parametrize(
    ("given", "present"),
    [({"low": 1000.1, "high": 1000.9}, 1000.4567891), ({"low": 0.0, "high": 1.0, "step": 0.0125}, 0.9875)],
)
def test_values_are_short_but_not_all_the_same_and_the_present_one_is_exact(
    given: dict[str, Any], present: float
) -> None:
    space = {RATE: RangeConfig(**given)}
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    found = [suggested(study.ask(), space)[RATE] for _ in range(20)]
    assert len(set(found)) > 10
    assert all(len(repr(value)) <= 8 and space[RATE].is_at_a_step(value) for value in found)
    study.enqueue_trial({RATE: present})
    assert suggested(study.ask(), space, exact=True) == {RATE: present}
