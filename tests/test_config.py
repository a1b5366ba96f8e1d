"""params.yaml: a valid file loads; an error is one line that names the key, the value and the allowed values."""

from pathlib import Path

import pytest

from genai_core.config import ConfigError, load_config
from tests.test_rooms import ROOT

PARAMS = (ROOT / "params.yaml").read_text()


def load(folder: Path, text: str) -> object:
    path = folder / "params.yaml"
    path.write_text(text)
    return load_config(path)


def changed(old: str, new: str) -> str:
    assert old in PARAMS
    return PARAMS.replace(old, new, 1)


def test_the_projects_own_file_is_valid_and_frozen() -> None:
    config = load_config(ROOT / "params.yaml")
    assert config.model("gan").family == "gan"
    with pytest.raises(ValueError, match="frozen"):
        config.data.image_size = 32  # type: ignore[misc]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("image_size: 16", "image_size: 30", "params.yaml: data.image_size: got 30; allowed: a multiple of 4"),
        (
            "image_size: 16",
            "image_size: 4",
            "data.image_size: got 4; allowed: a multiple of 4 from 8 to 256; the nearest is 8",
        ),
        ("image_size: 16", "image_size: 1000", "; the nearest is 256"),
        (
            "image_size: 16",
            'image_size: "16"',
            "params.yaml: data.image_size: got '16'; allowed: a number of pixels, or [",
        ),
        (
            "image_size: 16",
            "image_size: true",
            "params.yaml: data.image_size: got true; allowed: a number of pixels, or [",
        ),
        (
            "image_size: 16",
            "image_size: [16, 24, 3]",
            "params.yaml: data.image_size: got [16, 24, 3]; allowed: a number of",
        ),
        (
            "image_size: 16",
            "image_size: [30, 47]",
            "params.yaml: data.image_size: got [30, 47]; allowed: [height, width], each a multiple of 4 from 8 to 256, "
            "the longer at most 4 times the shorter; the nearest is [28, 48]",
        ),
        ("image_size: 16", "image_size: [8, 64]", "the longer at most 4 times the shorter; the nearest is "),
        ("image_size: 16", "image_sise: 16", "params.yaml: data.image_sise: unknown key"),
        ("channels: 1", "channels: 2", "params.yaml: data.channels: got 2; allowed: 1 or 3"),
        ("fit: crop", "fit: squash", "params.yaml: data.fit: got 'squash'; allowed: 'crop', 'pad' or 'stretch'"),
        (
            "background: [0, 0, 0]",
            "background: [0, 0, 256]",
            "params.yaml: data.background.2: got 256; allowed: less than or equal to 255",
        ),
        ("family: gan", "family: gann", "params.yaml: models.gan.family: got 'gann'; allowed: 'diffusion', 'gan'"),
        ("  gan:\n", "  'x; touch y':\n", "invalid name"),
        ("  gan:\n", "  ../gan:\n", "invalid name"),
        (
            "is_splits: 10",
            "is_splits: 0",
            "params.yaml: evaluation.is_splits: got 0; allowed: greater than or equal to 1",
        ),
        (
            "is_splits: 10",
            "is_splits: 1_600",
            "params.yaml: evaluation: is_splits: got 1600; allowed: at most 800, for two images per split of",
        ),
        (
            "density_neighbours: 5",
            "density_neighbours: 1_600",
            "params.yaml: evaluation: density_neighbours: got 1600; allowed: fewer than total_images, 1600",
        ),
        (
            "precision_neighbours: 3   # k of precision and recall\n  density_neighbours: 5     # k of density and "
            "coverage\n  pairwise_images: 10_000",
            "precision_neighbours: 20\n  density_neighbours: 5\n  pairwise_images: 16",
            "params.yaml: evaluation: precision_neighbours: got 20; allowed: fewer than pairwise_images, 16",
        ),
        (
            "sigma_min: 0.02",
            "sigma_min: 20.0",
            "params.yaml: models.diffusion.sampling: sigma_min: got 20.0; allowed: below sigma_max, 20.0",
        ),
        ("test_share: 0.2", "test_share: .nan", "params.yaml: data.test_share: got nan; allowed: a finite number"),
        ("policy: [move]", "policy: [mirror]", "params.yaml: augment.policy.0: got 'mirror'; allowed: 'flip', 'move'"),
        ("policy: [move]", "policy: all", "params.yaml: augment.policy: got 'all'; allowed: "),
        ("policy: [move]", "policy: [move, move]", "params.yaml: augment: policy: got ['move', 'move']; allowed: each"),
        (
            "rotate_degrees: 6.0\n    translate_share: 0.05\n    zoom_share: 0.06",
            "rotate_degrees: 0.0\n    translate_share: 0.0\n    zoom_share: 0.0",
            "params.yaml: augment: policy: move is listed, but the section move changes nothing; remove it",
        ),
        (
            "balance_classes: true     # rare classes get more of the new images\n  policy: [move]",
            "balance_classes: false\n  policy: none",
            "params.yaml: augment: policy: got none with expand: 2.0, which would only repeat every image",
        ),
        ("test_share: 0.2", "test_share: 1.2", "params.yaml: data.test_share: got 1.2; allowed: less than 1"),
        (
            "guidance_interval: null",
            "guidance_interval: [3.0, 1.0]",
            "sampling: guidance_interval: got [3.0, 1.0]; allowed: the lower level first",
        ),
        ("guidance_interval: null", "guidance_interval: [-1.0, 3.0]", "guidance_interval.0: got -1.0; "),
        (
            "noise_levels: null",
            "noise_levels: [20.0, 1.0]",
            "noise_levels: got [20.0, 1.0]; allowed: null, or as many as steps, 7, each below the one before",
        ),
        (
            "noise_levels: null",
            "noise_levels: [20.0, 9.0, 4.0, 2.0, 2.0, 1.0, 0.1]",
            "noise_levels: got [20.0, 9.0, 4.0, 2.0, 2.0, 1.0, 0.1]; allowed: null, or as many as steps, 7, ",
        ),
        ("noise_levels: null", "noise_levels: [20.0, 0.0]", "noise_levels.1: got 0.0; "),
        ("sampler: heun", "sampler: few_step", "models.diffusion.sampling.sampler: got 'few_step'; allowed: 'heun', "),
        (
            "label_dropout: 0.1",
            "label_dropout: 0.0",
            "params.yaml: models.diffusion: objective.label_dropout: got 0.0; allowed: above 0, because "
            "sampling.guidance_scale is 1.5",
        ),
    ],
)
def test_an_error_is_one_clear_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, changed(old, new))
    lines = str(caught.value).splitlines()
    assert any(message in line for line in lines), lines
    assert all(len(line) < 300 for line in lines)


@pytest.mark.parametrize(
    ("key", "given", "fault"),
    [
        (
            "rate_share: auto",
            "rate_share: 2.0",
            "learning_rate_share: got 2.0; allowed: auto, or less than or equal to 1",
        ),
        ("class_rate: auto", "class_rate: much", "class_rate: got 'much'; allowed: auto, or a number"),
        ("teacher: auto", "teacher: {sampler: heun}", "few_step.teacher.steps: missing"),
    ],
)
def test_what_may_be_auto_says_what_is_allowed_once(tmp_path: Path, key: str, given: str, fault: str) -> None:
    with pytest.raises(ConfigError) as error:
        load(tmp_path, changed(key, given))
    lines = str(error.value).splitlines()
    assert lines[0].startswith(f"params.yaml: finetune.{fault}")
    assert all(line.startswith("params.yaml: finetune.few_step.teacher.") for line in lines[1:])


def test_a_step_of_a_training_is_within_its_budget(tmp_path: Path) -> None:
    said = r"models\.diffusion\.training\.batch_images: got 100000000; allowed: at most total_images, which is 50000"
    with pytest.raises(ConfigError, match=said):
        load(tmp_path, changed("      batch_images: 64", "      batch_images: 100_000_000"))


def test_a_step_of_a_fine_tuning_is_within_its_budget(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"finetune: batch_images: got 8001; allowed: at most total_images, .* 8000"):
        load(tmp_path, changed("  batch_images: null", "  batch_images: 8001"))


def test_label_dropout_may_be_0_without_guidance(tmp_path: Path) -> None:
    text = changed("label_dropout: 0.1", "label_dropout: 0.0").replace("guidance_scale: 1.5", "guidance_scale: 1.0", 1)
    load(tmp_path, text)


def test_a_selection_by_an_extrapolated_distance_needs_enough_images(tmp_path: Path) -> None:
    text = changed("total_images: 1_600 ", "total_images: 49 ").replace("is_splits: 10", "is_splits: 2", 1)
    assert "metric: fd_classifier" in text
    with pytest.raises(ConfigError, match=r"fd_inf_classifier needs at least 50 evaluation\.total_images, got 49"):
        load(tmp_path, text.replace("metric: fd_classifier", "metric: fd_inf_classifier", 1))


def test_a_size_is_a_number_or_height_and_width(tmp_path: Path) -> None:
    for text, size in (("16", (16, 16)), ("[16, 24]", (16, 24)), ("[24, 24]", (24, 24))):
        config = load(tmp_path, changed("image_size: 16", f"image_size: {text}"))
        assert (config.data.image_size.height, config.data.image_size.width) == size


def test_the_report_shows_a_size_as_it_is_written(tmp_path: Path) -> None:
    for text, shown in (("16", 16), ("[16, 24]", [16, 24]), ("[24, 24]", 24)):
        config = load(tmp_path, changed("image_size: 16", f"image_size: {text}"))
        assert config.model_dump(mode="json")["data"]["image_size"] == shown


@pytest.mark.parametrize(("size", "allowed"), [("[16, 24]", "2, 4, 8"), ("[12, 32]", "2, 4"), ("20", "2, 4")])
def test_a_stride_must_divide_both_sides(size: str, allowed: str, tmp_path: Path) -> None:
    text = changed("image_size: 16", f"image_size: {size}")
    load(tmp_path, text)
    with pytest.raises(ConfigError, match=rf"models\.vqvae\.network\.stride: got 16; allowed: {allowed}, which divide"):
        load(tmp_path, text.replace("stride: 4", "stride: 16"))


def test_auto_is_also_the_suffix_of_the_metric(tmp_path: Path) -> None:
    text = changed("kind: classifier", "kind: auto")
    with pytest.raises(ConfigError, match="allowed: fd_auto, "):
        load(tmp_path, text)
    load(tmp_path, text.replace("metric: fd_classifier", "metric: fd_auto", 1))


def test_each_error_has_its_own_line(tmp_path: Path) -> None:
    text = changed("image_size: 16", "image_size: 30").replace("channels: 1", "channels: 2", 1)
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert [line.split(":")[1].strip() for line in str(caught.value).splitlines()] == [
        "data.image_size",
        "data.channels",
    ]


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"params.yaml: data.fit: missing; every key must be written out"):
        load(tmp_path, "\n".join(line for line in PARAMS.splitlines() if not line.strip().startswith("fit:")))


@pytest.mark.parametrize(
    "text",
    [
        "data: [unclosed",
        "data: {a: 1}\ndata: {a: 2}",
        "data: !!python/object/apply:os.system ['true']",
        "- a\n- list",
        "",
        "\x00",
    ],
)
def test_anything_but_a_mapping_of_plain_values_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"params.yaml"):
        load(tmp_path, text)


def test_a_key_that_is_there_twice_is_named_with_its_line(tmp_path: Path) -> None:
    text = changed("  image_size: 16", "  image_size: 32\n  image_size: 16")
    line = text.splitlines().index("  image_size: 32") + 2
    said = f"params.yaml: not valid YAML: line {line}: the key image_size stands there twice; remove one of them"
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert str(caught.value).endswith(said)
    assert "\n" not in str(caught.value)


def test_bytes_that_are_not_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_bytes(b"data: \xff\xfe")
    with pytest.raises(ConfigError, match=r"params.yaml: not valid YAML"):
        load_config(tmp_path / "params.yaml")


def test_an_alias_bomb_is_refused_quickly(tmp_path: Path) -> None:
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    with pytest.raises(ConfigError):
        load(tmp_path, "\n".join(rows))


def test_a_missing_file_says_where_to_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--workspace"):
        load_config(tmp_path / "params.yaml")


def test_an_unknown_model_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"models.vqgan: no such model; available: diffusion, gan"):
        load_config(ROOT / "params.yaml").model("vqgan")


def test_numbers_are_parsed_like_dvc(tmp_path: Path) -> None:
    """1e-3 is a number for DVC's parser and a string for PyYAML's: a stage must see what DVC compares."""
    text = changed("test_share: 0.2", "test_share: 2e-1")
    config = load(tmp_path, text)
    assert config.data.test_share == 0.2  # type: ignore[attr-defined]
