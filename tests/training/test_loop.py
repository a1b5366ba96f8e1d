import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from genai_core.data.dataset.loader import ResidentBatches
from genai_core.models.artifact import build_model
from genai_core.progress import Progress
from genai_core.training.checkpoint import Checkpoints
from genai_core.training.loop import Hardware, TrainingStoppedError, train
from tests.models.tiny import RECIPES, SHAPE, training_config
from tests.training.small_run import CPU, after, model_of, run, same_weights

FAMILIES = sorted(RECIPES)


@pytest.mark.parametrize("family", FAMILIES)
def test_training_changes_the_weights_and_records_the_run(family, tmp_path):
    model, first = model_of(family), model_of(family).state_dict()
    result = run(model, tmp_path)
    assert (result.images, result.steps) == (64, 8)
    assert [snapshot.images_seen for snapshot in result.snapshots] == [8, 16, 32, 64]
    assert all(snapshot.images.shape == (10, 1, 8, 8) for snapshot in result.snapshots)
    assert [row["images"] for row in result.curves] == list(range(8, 65, 8))
    moved = [not torch.equal(first[name], tensor) for name, tensor in model.state_dict().items()]
    assert sum(moved) > 0.9 * len(moved)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("stops", [(3,), (1, 2, 3)])
def test_a_resumed_run_equals_an_uninterrupted_one(family, stops, tmp_path):
    straight = model_of(family)
    expected = run(straight, tmp_path / "straight")
    for steps in stops:
        with pytest.raises(TrainingStoppedError, match="a checkpoint is saved"):
            run(model_of(family), tmp_path / "stopped", stop_requested=after(steps))
    # Start with other weights: all must come from the checkpoint.
    resumed = model_of(family, seed=99)
    result = run(resumed, tmp_path / "stopped")
    assert result.curves == expected.curves
    assert all(
        np.array_equal(one.images, other.images)
        for one, other in zip(result.snapshots, expected.snapshots, strict=True)
    )
    assert same_weights(straight, resumed)


def test_checkpoints_do_not_change_the_result(tmp_path):
    models = [model_of(), model_of()]
    results = [
        run(model, tmp_path / str(every), checkpoint_every_s=every)
        for model, every in zip(models, (1e9, 1e-9), strict=True)
    ]
    assert results[0].curves == results[1].curves
    assert same_weights(*models)


def test_a_run_stopped_at_its_last_step_resumes_without_training(tmp_path):
    straight, resumed = model_of(), model_of()
    run(straight, tmp_path / "straight")
    with pytest.raises(TrainingStoppedError):
        run(model_of(), tmp_path / "stopped", stop_requested=after(8))
    assert run(resumed, tmp_path / "stopped").steps == 8
    assert same_weights(straight, resumed)


def test_unlabelled_images(tmp_path):
    shape = replace(SHAPE, classes=())
    images = np.zeros((4, 1, 8, 8), dtype=np.uint8)
    for family in FAMILIES:
        result = train(
            build_model(RECIPES[family](), shape),
            ResidentBatches(images, None, batch_images=4, seed=0, device=CPU),
            training_config(total_images=8, batch_images=4),
            hardware=Hardware(CPU),
            checkpoints=Checkpoints(tmp_path, family, {}),
            checkpoint_every_s=1e9,
            progress=Progress(silent=True),
            stop_requested=lambda: False,
        )
        assert result.steps == 2


def test_bf16_trains_too(tmp_path):
    result = run(model_of("diffusion"), tmp_path, precision="bf16", total_images=16)
    assert all(math.isfinite(row["loss"]) for row in result.curves)


def test_progress_counts_images(tmp_path):
    lines = []

    class Recorder(Progress):
        def update(self, done, figures=None, *, budget_s=None):  # noqa: ARG002
            lines.append((done, sorted(figures)))

    images = np.zeros((4, 1, 8, 8), dtype=np.uint8)
    train(
        model_of("diffusion"),
        ResidentBatches(images, np.zeros(4, dtype=np.int64), batch_images=4, seed=0, device=CPU),
        training_config(total_images=8, batch_images=4),
        hardware=Hardware(CPU),
        checkpoints=Checkpoints(tmp_path, "run", {}),
        checkpoint_every_s=1e9,
        progress=Recorder(silent=True),
        stop_requested=lambda: False,
    )
    assert lines == [(4, ["loss", "memory_mb"]), (8, ["loss", "memory_mb"])]
