import json
import os
import shutil
from pathlib import Path

import pytest
import torch

from genai_core.config import load_config
from genai_core.models.artifact import WEIGHTS_FILE, load_for_training, load_model, read_config
from tasks import finetune, optimizers
from tasks.optimizers import KEPT, keep_moments, kept_moments
from tests.tasks.small_run import (
    PARAMS,
    bytes_below,
    change_params,
    read_json,
    ready_to_finetune,
    small_params,
    write_model,
    write_selection,
)


@pytest.fixture
def selected(workspace, monkeypatch):
    """A workspace with a selected model; the command line of the task is set."""
    small_params()
    change_params(finetune={"total_images": 96, "warmup_images": 32, "ema_halflife_images": 64})
    ready_to_finetune(monkeypatch)
    return workspace


def test_a_batch_that_no_memory_holds_is_refused(selected, monkeypatch, capsys):
    change_params(finetune={"total_images": 10**12, "batch_images": 10**11})
    with pytest.raises(SystemExit):
        finetune.main()
    assert "finetune.batch_images: got 100000000000; allowed: at most" in capsys.readouterr().err


def test_continues_from_the_selected_weights(selected):
    finetune.main()
    before, after = load_for_training(selected / "models/selected"), load_for_training(selected / "models/finetuned")
    pairs = list(zip(before.state_dict().values(), after.state_dict().values(), strict=True))
    assert any(not torch.equal(one, other) for one, other in pairs)
    # Training continued, so the weights are still close to the original ones.
    difference = sum(float((one - other).square().sum()) for one, other in pairs)
    assert difference < 0.01 * sum(float(one.square().sum()) for one, _ in pairs)

    description, own = read_config(selected / "models/finetuned"), load_config(PARAMS).model("small").training
    training = description.config.training
    assert (training.total_images, training.seed) == (96, 1)
    assert training.learning_rate == pytest.approx(0.1 * own.learning_rate)
    assert training.batch_images == own.batch_images
    assert description.dataset == read_json("data/prepared/dataset.json")["fingerprint"]
    origin = read_config(selected / "models/selected").sha256[WEIGHTS_FILE]
    assert description.training_summary["started from"] == f"weights {origin}"
    assert load_model(selected / "models/finetuned").shape == description.shape
    assert sorted(path.name for path in (selected / "plots/finetuned").iterdir()) == ["curves.csv", "samples.png"]
    assert read_json("metrics/cost/finetune.json")["images"] == 96


def test_smaller_batches_take_more_and_smaller_steps(selected, capsys):
    own = load_config(PARAMS).model("small").training
    change_params(finetune={"batch_images": own.batch_images // 4})
    finetune.main()
    description = read_config(selected / "models/finetuned")
    assert description.training_summary["steps"] == -(-96 // (own.batch_images // 4))
    assert description.config.training.learning_rate == pytest.approx(0.1 * own.learning_rate / 2)
    assert f"batches of {own.batch_images // 4} instead of {own.batch_images}" in capsys.readouterr().out


def test_a_fine_tuned_model_is_continued_at_the_same_rate(selected):
    """Production is continued again and again: a tenth of a tenth of the learning rate would soon be nothing."""
    own = load_config(PARAMS).model("small").training
    change_params(finetune={"batch_images": own.batch_images // 4})
    finetune.main()
    first = read_config(selected / "models/finetuned").config.training
    shutil.rmtree("models/selected")
    write_selection("models/selected", "models/finetuned", "small")
    finetune.main()
    assert read_config(selected / "models/finetuned").config.training == first
    change_params(finetune={"batch_images": None})
    finetune.main()
    third = read_config(selected / "models/finetuned").config.training
    assert third.batch_images == own.batch_images
    assert third.learning_rate == pytest.approx(0.1 * own.learning_rate)


def test_the_new_average_starts_with_the_loaded_one(selected):
    """With a half-life far beyond the run, only the loaded average remains; with one image, nothing of it."""
    loaded, averages = load_model(selected / "models/selected").sampled_network().state_dict(), {}
    for halflife_images in (10**12, 1):
        change_params(finetune={"ema_halflife_images": halflife_images})
        finetune.main()
        averages[halflife_images] = load_model(selected / "models/finetuned").sampled_network().state_dict()
    for name, tensor in loaded.items():
        torch.testing.assert_close(averages[10**12][name], tensor)
    assert any(not torch.allclose(averages[1][name], tensor) for name, tensor in loaded.items())


def test_replay_is_for_a_base_and_the_selected_model_gets_all(selected, capsys):
    """A retraining that trains from scratch leaves the rest of `finetune:` as it is."""
    change_params(finetune={"images": "replay"})
    finetune.main()
    assert "finetune.images: replay is for a base; models/selected was trained on all" in capsys.readouterr().out


def test_begins_with_the_optimizer_of_the_training_before(selected, capsys):
    finetune.main()
    (state,) = Path(".genai/cache/optimizers").iterdir()
    assert state.stem == read_config(selected / "models/finetuned").sha256[WEIGHTS_FILE]
    shutil.rmtree("models/selected")
    write_selection("models/selected", "models/finetuned", "small")
    weights, summaries = [], []
    for optimizer in ("fresh", "restored"):
        change_params(finetune={"optimizer": optimizer})
        finetune.main()
        weights.append((selected / "models/finetuned" / WEIGHTS_FILE).read_bytes())
        summaries.append(read_config(selected / "models/finetuned").training_summary)
    assert weights[0] != weights[1]
    assert [summary.get("optimizer") for summary in summaries] == [None, "began as that of these weights"]
    state.unlink()
    capsys.readouterr()
    with pytest.raises(SystemExit):
        finetune.main()
    said = capsys.readouterr().err
    assert f"has no state of the optimizer that trained models/selected (weights {state.stem[:12]})" in said
    assert "Use optimizer: fresh, or train the model here again" in said


def test_a_search_compares_fine_tunings_as_they_are_measured(selected, monkeypatch):
    monkeypatch.setenv("GENAI_RUNGS", json.dumps({"shares": [0.5], "images": 20}))
    selection, distances = Path("models/selected/selection.json"), []
    for truncation in (1.0, 0.1):
        selection.write_text(json.dumps({**read_json(selection), "sampling": {"truncation": truncation}}))
        finetune.main()
        (rung,) = read_json(Path(".genai/progress/finetune.json"))["rungs"]
        distances.append(rung["distance"])
    assert distances[0] != distances[1]


def test_few_states_of_optimizers_are_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in range(KEPT + 2):
        keep_moments(f"{number:064}", {"denoiser/weight/step": torch.tensor(float(number))})
        os.utime(f".genai/cache/optimizers/{number:064}.safetensors", (number, number))
    left = sorted(int(path.stem) for path in Path(".genai/cache/optimizers").iterdir())
    assert left == [*range(2, KEPT + 2)]
    assert kept_moments(f"{KEPT:064}", Path("model"))["denoiser/weight/step"] == KEPT


def test_the_states_of_the_workspace_s_models_are_kept_whatever_a_search_trains(tmp_path, monkeypatch):
    """A stage runs in a checkout whose cache is the workspace's."""
    workspace, checkout = tmp_path / "workspace", tmp_path / "checkout"
    (workspace / ".genai/cache").mkdir(parents=True)
    (checkout / ".genai").mkdir(parents=True)
    (checkout / ".genai/cache").symlink_to(workspace / ".genai/cache")
    models = {"models/selected": 0, "models/trained/gan": 2, ".genai/production/v0.0.1/models/candidate": 4}
    for name, number in models.items():
        (workspace / name).mkdir(parents=True)
        config = {"sha256": {WEIGHTS_FILE: f"{number:064}"}}
        (workspace / name / "config.json").write_text(json.dumps(config))
    (workspace / "models/broken").mkdir()
    (workspace / "models/broken/config.json").write_text("[]")
    monkeypatch.chdir(checkout)
    for number in range(KEPT + 6):
        keep_moments(f"{number:064}", {"denoiser/weight/step": torch.tensor(float(number))})
        os.utime(f".genai/cache/optimizers/{number:064}.safetensors", (number, number))
    left = sorted(int(path.stem) for path in Path(".genai/cache/optimizers").iterdir())
    assert left == [0, 2, 4, *range(6, KEPT + 6)]


def test_a_training_does_not_fail_because_its_optimizer_cannot_be_kept(selected, capsys):
    Path(".genai/cache").mkdir(parents=True)
    Path(".genai/cache/optimizers").write_text("in the way")
    finetune.main()
    assert read_config(selected / "models/finetuned").training_summary["images"] == 96
    assert "note: the state of the optimizer was not kept" in capsys.readouterr().out


def test_two_trainings_that_end_at_once_delete_the_same_old_states(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(optimizers, "KEPT", 1)
    folder = Path(".genai/cache/optimizers")
    folder.mkdir(parents=True)
    # As a file that was listed and then deleted by the other training.
    (folder / "gone.safetensors").symlink_to("nowhere")
    keep_moments("1" * 64, {"denoiser/weight/step": torch.tensor(1.0)})
    assert [path.stem for path in folder.iterdir()] == ["1" * 64]


def test_two_runs_write_equal_bytes(selected):
    outputs = []
    for _ in range(2):
        finetune.main()
        outputs.append(bytes_below("models/finetuned") | bytes_below("plots/finetuned"))
    assert outputs[0] == outputs[1]


def test_a_model_without_classes_is_refused_for_labelled_images(selected, capsys):
    write_model("models/trained/other", labelled=False)
    for path in (selected / "models/trained/other").iterdir():
        (selected / "models/selected" / path.name).write_bytes(path.read_bytes())
    with pytest.raises(SystemExit):
        finetune.main()
    assert (
        "models/selected cannot continue: the images have classes, the model has none; train a model from scratch"
    ) in capsys.readouterr().err
