"""finetune.kind few_step: the stages around it."""

import shutil
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from genai_core import load_model
from genai_core.config import ConfigError, load_config
from genai_core.models.artifact import WEIGHTS_FILE, read_config
from tasks import finetune
from tasks.drawn import read_contender
from tasks.evaluate import sampling_of
from tasks.select import teacher_sampling
from tasks.selection import MeasuredModel
from tasks.serving.describe import sampling_options
from tests.tasks.small_run import (
    PARAMS,
    bytes_below,
    change_params,
    ready_to_finetune,
    small_params,
    write_datasets,
    write_model,
    write_selection,
)

TEACHER = {
    "sampler": "multistep",
    "steps": 3,
    "sigma_min": 0.02,
    "sigma_max": 10.0,
    "noise_levels": None,
    "guidance_scale": 1.5,
    "guidance_interval": None,
}


def small_diffusion():
    """Make the one model of params.yaml a diffusion model."""
    yaml = YAML()
    values, own = yaml.load(PARAMS), YAML().load(PARAMS.with_name("all.yaml"))
    values["models"] = {"small": own["models"]["diffusion"]}
    values["models"]["small"]["network"].update(width=8, depth=1)
    values["models"]["small"]["sampling"] = TEACHER
    yaml.dump(values, PARAMS)


@pytest.fixture
def selected(workspace, monkeypatch):
    """A workspace with a selected diffusion model, of which a few-step model is to be made."""
    shutil.copy(PARAMS, "all.yaml")
    small_params()
    small_diffusion()
    few_step = {"steps": 2, "pairs": 20, "teacher": "auto", "worst_ratio": 1.3}
    own = {"kind": "few_step", "few_step": few_step, "total_images": 128}
    change_params(finetune={**own, "warmup_images": 32, "ema_halflife_images": 64})
    ready_to_finetune(monkeypatch)
    return workspace


def test_makes_a_few_step_model_that_names_its_teacher(selected):
    finetune.main()
    folder = selected / "models/finetuned"
    description, weights = read_config(folder), read_config(selected / "models/selected").sha256[WEIGHTS_FILE]
    assert description.config.few_step.teacher == weights
    # What was not set: the teacher draws as it was selected, and the learning rate is the teacher's own.
    assert description.config.few_step.teacher_sampling.model_dump(mode="json") == TEACHER
    own = load_config(PARAMS).model("small").training.learning_rate
    assert description.config.training.learning_rate == own
    assert not Path(".genai/cache/optimizers").exists()  # no state of an optimizer belongs to these weights
    assert description.training_summary["started from"] == f"weights {weights}"
    assert "20 images" in description.training_summary["few steps"]
    model = load_model(folder, device="cpu")
    assert (model.sampling.sampler, model.sampling.steps) == ("few_step", 2)
    assert len(model.draw(4, steps=1)) == 4
    offered, others = sampling_options(model), sampling_options(load_model(selected / "models/selected", device="cpu"))
    assert (offered["sampler"]["choices"], offered["steps"]["choices"]) == (["few_step"], [1, 2])
    assert others["sampler"]["choices"] == ["heun", "euler", "multistep"]
    # Measured and compared as it draws, not as its teacher does.
    config = load_config(PARAMS)
    assert sampling_of("finetuned", description.config, config) == model.sampling
    assert read_contender("finetuned", folder, config).sampling == model.sampling


def test_two_runs_write_equal_bytes(selected):
    outputs = []
    for _ in range(2):
        finetune.main()
        outputs.append(bytes_below("models/finetuned") | bytes_below("plots/finetuned"))
    assert outputs[0] == outputs[1]


def test_nothing_continues_a_few_step_model(selected, capsys):
    finetune.main()
    shutil.rmtree("models/selected")
    write_selection("models/selected", "models/finetuned", "small")
    teacher = read_config(selected / "models/finetuned").config.few_step.teacher
    for kind in ("full", "lora", "few_step"):
        change_params(finetune={"kind": kind})
        with pytest.raises(SystemExit):
            finetune.main()
        assert f"nothing continues: continue its teacher, the model with the weights {teacher[:12]}" in (
            capsys.readouterr().err
        )


def test_a_fine_tuning_depends_on_how_the_teacher_draws_only_if_that_is_learned(workspace):
    config, chosen = load_config(PARAMS).finetune, MeasuredModel("small", "diffusion", Path(), {}, TEACHER)
    learns = config.model_copy(update={"kind": "few_step"})
    own = learns.model_copy(update={"few_step": config.few_step.model_copy(update={"teacher": chosen})})
    assert teacher_sampling(chosen, learns) == {"sampling": TEACHER}
    assert teacher_sampling(chosen, config) == teacher_sampling(chosen, own) == {}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frozen": ["network.down.*"]}, "frozen, first_layer_rate, class_rate: allowed: "),
        ({"class_rate": 10.0}, "frozen, first_layer_rate, class_rate: allowed: "),
        ({"optimizer": "restored"}, "optimizer: got restored; allowed: fresh with kind few_step"),
        ({"start": "base", "images": "new"}, "images: got new; allowed: all with kind few_step"),
    ],
)
def test_settings_without_effect_are_refused(workspace, changes, message):
    change_params(finetune={"kind": "few_step", **changes})
    with pytest.raises(ConfigError, match=message):
        load_config(PARAMS)


def test_a_gan_is_refused(workspace, monkeypatch, capsys):
    small_params()
    change_params(finetune={"kind": "few_step"})
    write_datasets()
    write_model("models/trained/small")
    write_selection("models/selected", "models/trained/small", "small")
    monkeypatch.setattr("sys.argv", ["finetune"])
    with pytest.raises(SystemExit):
        finetune.main()
    assert "finetune.kind: got few_step; allowed: another, because this is a gan model" in capsys.readouterr().err
