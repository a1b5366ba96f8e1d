"""Proposals for made-up data and machines: valid, within the time, and what a person would choose."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from genai_core.advice.facts import AdviceError, DataFacts, MachineFacts
from genai_core.advice.propose import Advice, propose
from genai_core.advice.times import stage_jobs
from genai_core.config import Config
from tests.test_rooms import ROOT

LAPTOP = MachineFacts(2)
SERVER = MachineFacts(16, 128.0, 1, "H200", 139.0)
PHOTOS = DataFacts(
    500,
    sources=("clothes",),
    classes=dict.fromkeys(("hat", "shoes", "skirt", "shirt"), 125),
    height_px=533,
    width_px=400,
    aspect_ratio=0.75,
    mirrored_accuracy=0.52,
)
DIGITS = DataFacts(
    1797,
    classes=dict.fromkeys("0123456789", 180),
    height_px=8,
    width_px=8,
    same_size=True,
    colour_share=0.0,
    pixel_std=0.7,
    mirrored_accuracy=0.9,
)
SPRITES = DataFacts(3545, height_px=72, width_px=72, same_size=True, transparent_share=1.0, background=(255, 255, 255))


@pytest.fixture(scope="module")
def base() -> dict[str, Any]:
    values: dict[str, Any] = YAML(typ="safe").load(Path(ROOT / "params.yaml"))
    return values


@pytest.mark.parametrize("machine", [LAPTOP, SERVER, MachineFacts(1), MachineFacts(64)])
@pytest.mark.parametrize("data", [PHOTOS, DIGITS, SPRITES, replace(PHOTOS, count=60_000)])
@pytest.mark.parametrize("minutes", [10, 30, 240])
def test_every_proposal_is_valid_and_fits_the_minutes(
    base: dict[str, Any], machine: MachineFacts, data: DataFacts, minutes: float
) -> None:
    advice = propose(base, data, machine, minutes)
    config = Config.model_validate(advice.values)
    assert 0.75 * 60 * minutes < advice.seconds < 60 * minutes
    assert set(config.models) == set(advice.models)
    for model in config.models.values():
        assert model.training.ema_halflife_images * 10 <= model.training.total_images * 1.1


def test_a_few_step_model_takes_what_its_teacher_draws_as_well(base: dict[str, Any]) -> None:
    config = Config.model_validate(propose(base, DIGITS, LAPTOP, 30).values)
    few_step = config.finetune.few_step.model_copy(update={"pairs": 1000})
    finetune = config.finetune.model_copy(update={"kind": "few_step", "few_step": few_step})
    generate = config.generate.model_copy(update={"total_images": config.generate.total_images + 1000})
    before = stage_jobs(config, DIGITS, LAPTOP)
    after = stage_jobs(config.model_copy(update={"finetune": finetune, "generate": generate}), DIGITS, LAPTOP)
    longer = {name: after[name].seconds - before[name].seconds for name in after}
    assert longer["finetune"] == pytest.approx(longer["generate"])
    assert longer["generate"] > 0


def test_mostly_broken_files_are_refused(base: dict[str, Any]) -> None:
    broken = replace(PHOTOS, sampled=320, unreadable=160, unreadable_files=(("clothes/hat/1.jpg", "not_an_image"),))
    with pytest.raises(AdviceError, match=r"160 of the 320 .* cannot be decoded, first clothes/hat/1.jpg \(not_an"):
        propose(base, broken, LAPTOP, 10)


def value(advice: Advice, key: str) -> Any:
    found: Any = advice.values
    for part in key.split("."):
        found = found[part]
    return found


def test_photographs(base: dict[str, Any]) -> None:
    advice = propose(base, PHOTOS, LAPTOP, 10)
    assert value(advice, "data.channels") == 3
    assert value(advice, "data.image_size") == [36, 28]  # most are 3 by 4
    assert value(advice, "data.fit") == "crop"
    assert value(advice, "augment.policy") == ["flip"]
    assert value(advice, "models.diffusion.objective.sigma_data") == 0.5
    assert value(advice, "extractor.kind") == "auto"
    assert value(advice, "report.title").startswith("clothes:")
    assert "near copies" in advice.expectation
    assert advice.tenfold.startswith("100 minutes: ")


def test_digits(base: dict[str, Any]) -> None:
    advice = propose(base, DIGITS, LAPTOP, 10)
    assert value(advice, "data.channels") == 1
    assert value(advice, "data.image_size") == 16
    assert value(advice, "augment.policy") == ["move"]
    assert value(advice, "models.diffusion.objective.sigma_data") == 0.7
    assert value(advice, "models.diffusion.objective.log_sigma_mean") == -0.4


def test_transparent_images_are_padded_on_their_background_and_without_classes_there_is_no_guidance(
    base: dict[str, Any],
) -> None:
    advice = propose(base, SPRITES, LAPTOP, 10)
    assert value(advice, "data.fit") == "pad"
    assert value(advice, "data.background") == [255, 255, 255]
    assert value(advice, "augment.policy") == "none"
    assert value(advice, "models.diffusion.sampling.guidance_scale") == 1.0


def test_small_images_of_one_size_keep_it(base: dict[str, Any]) -> None:
    data = replace(DIGITS, height_px=28, width_px=28, count=60_000)
    assert value(propose(base, data, SERVER, 30), "data.image_size") == 28


def test_more_time_and_a_gpu_give_larger_images_and_more_models(base: dict[str, Any]) -> None:
    short, long = (propose(base, replace(PHOTOS, count=50_000), LAPTOP, minutes) for minutes in (10, 1000))
    assert value(long, "data.image_size")[0] > value(short, "data.image_size")[0]
    on_gpu = propose(base, replace(PHOTOS, count=50_000), SERVER, 120)
    assert value(on_gpu, "data.image_size")[0] >= 64
    assert set(on_gpu.models) == {"diffusion", "vqvae", "vae", "gan"}
    assert len(propose(base, PHOTOS, MachineFacts(1), 1000).models) == 1


def test_few_test_images_get_a_larger_share_and_fewer_features(base: dict[str, Any]) -> None:
    advice = propose(base, replace(PHOTOS, count=100, classes={}), LAPTOP, 10)
    assert value(advice, "data.test_share") == 0.4
    assert value(advice, "extractor.feature_dim") == 16


def test_classes_of_few_images_are_not_what_an_extractor_learns(base: dict[str, Any]) -> None:
    data = replace(PHOTOS, count=1000, classes={f"word {number}": 1 for number in range(1000)})
    advice = propose(base, data, LAPTOP, 10)
    assert value(advice, "extractor.kind") == "self_supervised"
    assert value(advice, "selection.metric") == "fd_self_supervised"


def test_uneven_classes_are_balanced(base: dict[str, Any]) -> None:
    advice = propose(base, replace(PHOTOS, classes={"hat": 490, "shoe": 10}), LAPTOP, 10)
    assert value(advice, "augment.balance_classes") is True


def test_each_chosen_value_of_weight_has_a_reason(base: dict[str, Any]) -> None:
    reasons = {setting.key: setting.reason for setting in propose(base, PHOTOS, LAPTOP, 10).settings}
    for key in ("data.image_size", "augment.policy", "extractor.kind", "models.diffusion.training.total_images"):
        assert reasons[key]


def test_too_few_images_are_refused_in_a_sentence(base: dict[str, Any]) -> None:
    with pytest.raises(AdviceError, match="8 usable images; at least 20 different ones are needed"):
        propose(base, DataFacts(8), LAPTOP, 10)
