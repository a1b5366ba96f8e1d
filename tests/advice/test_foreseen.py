from dataclasses import replace
from pathlib import Path

import pytest

from genai_core.advice.facts import DataFacts
from genai_core.advice.foreseen import foreseen
from genai_core.config import Config, load_config
from tests.test_rooms import ROOT

ENOUGH = DataFacts(2000, classes={"a": 1000, "b": 1000})


@pytest.fixture(scope="module")
def config() -> Config:
    return load_config(Path(ROOT / "params.yaml"))


def fatal(config: Config, data: DataFacts) -> list[str]:
    return [finding.text for finding in foreseen(config, data) if finding.is_fatal]


def warned(config: Config, data: DataFacts) -> str:
    return " | ".join(finding.text for finding in foreseen(config, data) if not finding.is_fatal)


def test_nothing_is_found_where_all_fits(config: Config) -> None:
    assert foreseen(config, ENOUGH) == ()


@pytest.mark.parametrize(("classes", "has"), [({}, "no classes"), ({"only": 2000}, "only the class 'only'")])
def test_a_classifier_needs_two_classes(config: Config, classes: dict[str, int], has: str) -> None:
    (text,) = fatal(config, DataFacts(2000, classes=classes))
    assert has in text
    assert "set extractor.kind to auto" in text
    extractor = config.extractor.model_copy(update={"kind": "auto"})
    assert not fatal(config.model_copy(update={"extractor": extractor}), DataFacts(2000, classes=classes))


@pytest.mark.parametrize(("count", "advice"), [(8, "add images"), (24, "set data.test_share to 0.5")])
def test_too_few_test_images_for_the_neighbours(config: Config, count: int, advice: str) -> None:
    (text,) = fatal(config, DataFacts(count, classes={"a": count // 2, "b": count // 2}))
    assert f"{count} images leave about {round(count * 0.2)} to test with" in text
    assert advice in text


def test_the_split_of_the_source_counts(config: Config) -> None:
    data = DataFacts(1000, classes={"a": 500, "b": 500}, given={"train": 997, "test": 3})
    (text,) = fatal(config, data)
    assert "about 3 to test with" in text
    assert "test_share to" not in text


def test_few_step_models_are_made_of_diffusion_models(config: Config) -> None:
    finetune = config.finetune.model_copy(update={"kind": "few_step"})
    makes = config.model_copy(update={"finetune": finetune})
    assert "models: also has gan, vae, vqvae: if one of these is selected" in warned(makes, ENOUGH)
    only_gan = makes.model_copy(update={"models": {"gan": config.models["gan"]}})
    assert fatal(only_gan, ENOUGH) == [
        "finetune.kind is few_step, which is for diffusion models only, and models: has none; set finetune.kind to full"
    ]
    base = finetune.model_copy(update={"start": "base"})
    assert foreseen(only_gan.model_copy(update={"finetune": base}), ENOUGH) == ()


def test_warnings(config: Config) -> None:
    few = DataFacts(60, classes={"a": 30, "b": 30})
    assert "feature_dim is 64, about 12 images are for testing" in warned(config, few)
    assert "batch_images is 64, about 48 images are for training" in warned(config, few)
    finetune = config.finetune.model_copy(update={"batch_images": 1_700})
    (found,) = foreseen(config.model_copy(update={"finetune": finetune}), ENOUGH)
    assert "finetune.batch_images is 1,700, about 1,600 images are for training: each batch repeats" in found.text
    assert (found.is_fatal, found.stage) == (False, "finetune")
    captions = DataFacts(2000, classes={f"text {number}": 1 for number in range(2000)})
    assert "2,000 of 2,000 classes have one image; they may be captions" in warned(config, captions)
    assert "fewer than the 2,000 classes" in warned(config, captions)


def test_files_that_cannot_be_decoded_count_against_the_limit(config: Config) -> None:
    broken = DataFacts(
        300, classes=ENOUGH.classes, sampled=300, unreadable=30, unreadable_files=(("set/a/1.jpg", "corrupt"),)
    )
    (text,) = fatal(config, broken)
    assert "30 of the 300 images looked at cannot be decoded, first set/a/1.jpg (corrupt), and prepare stops" in text
    assert fatal(config, replace(broken, too_large=5))
    assert not fatal(config, replace(broken, too_large=20))  # data.max_megapixels may allow them
    assert "30 of the 300 images looked at cannot be decoded" in warned(config, replace(broken, too_large=20))
    sampled = replace(broken, count=2000)
    assert not fatal(config, sampled)
    assert "30 of the 300 images looked at cannot be decoded" in warned(config, sampled)
    assert "cannot be decoded" not in warned(config, replace(sampled, unreadable=10))
