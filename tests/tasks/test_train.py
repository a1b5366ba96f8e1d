import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image
from ruamel.yaml import YAML

from genai_core.config.machine import usable_memory_bytes
from genai_core.models import gan
from genai_core.models.artifact import load_for_training, load_model, read_config
from tasks import train
from tests.evaluation.conftest import SIZE
from tests.tasks.conftest import ROOT
from tests.tasks.small_run import PARAMS, bytes_below, change_params, read_json, write_datasets

STEPS = 60
TRAIN = [sys.executable, "-m", "tasks.train"]


def training_params():
    """Make the models of params.yaml as small as possible, trained for 60 steps."""
    change_params(compute={"accelerator": "cpu", "cpu_threads": 1, "checkpoint_every_s": 1e9})
    yaml = YAML()
    values = yaml.load(PARAMS)
    for model in values["models"].values():
        model["network"].update(width=8, depth=1)
        model["training"].update(total_images=STEPS * 8, batch_images=8, warmup_images=16)
    yaml.dump(values, PARAMS)


def train_here(name, monkeypatch):
    monkeypatch.setattr("sys.argv", ["train", name])
    train.main()


def start(name, checkpoint_every_s=1e-6):
    """Start the task as a separate process, which by default writes a checkpoint after each step."""
    change_params(compute={"checkpoint_every_s": checkpoint_every_s})
    return subprocess.Popen(
        [*TRAIN, name], env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True
    )


def wait_for_checkpoint(after_step=0, timeout_s=200):
    """Return the step of the newest checkpoint as soon as it is later than `after_step`."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        steps = [int(path.name[5:17]) for path in Path(".genai/checkpoints").glob("*/step-*.pt")]
        if steps and max(steps) > after_step:
            return max(steps)
        time.sleep(0.002)
    raise AssertionError("no checkpoint was written")


def wait_for_first_step(name, timeout_s=200):
    """Wait until the run reports that its first batch is done."""
    progress, end = Path(".genai/progress") / f"train@{name}.json", time.monotonic() + timeout_s
    while time.monotonic() < end:
        if progress.exists() and 0 < json.loads(progress.read_text())["done"] < STEPS * 8:
            return
        time.sleep(0.002)
    raise AssertionError("the run did not begin")


@pytest.fixture
def trained(workspace, monkeypatch):
    """A function that returns the outputs of an uninterrupted run of a model, and removes them."""
    write_datasets()
    training_params()

    def outputs(name):
        train_here(name, monkeypatch)
        return take_outputs(name)

    return outputs


def take_outputs(name):
    found = {}
    for room in ("models", "plots"):
        folder = Path(room) / "trained" / name
        found |= bytes_below(folder)
        folder.rename(folder.with_name("taken"))
        assert not list(folder.parent.glob(".*"))
        for path in (folder.with_name("taken")).iterdir():
            path.unlink()
        folder.with_name("taken").rmdir()
    assert not list(Path(".genai/checkpoints").glob("*"))
    Path(".genai/progress", f"train@{name}.json").unlink()
    return found


@pytest.mark.parametrize("name", ["diffusion", "gan", "vae", "vqvae"])
def test_writes_a_model_curves_and_image_grids(workspace, monkeypatch, name):
    write_datasets()
    training_params()
    train_here(name, monkeypatch)
    folder = workspace / "models/trained" / name
    assert sorted(path.name for path in folder.iterdir()) == [
        "card.md",
        "config.json",
        "model.safetensors",
        "training.safetensors",
    ]
    description, dataset = read_config(folder), read_json("data/augmented/dataset.json")
    assert description.config.family == name
    assert description.dataset == dataset["fingerprint"]
    assert description.training_summary["images"] == STEPS * 8
    card = (folder / "card.md").read_text()
    for text in (
        description.dataset,
        "| ended by | images |",
        "### curves",
        "training operations an image",
        "| seed | 0 |",
    ):
        assert text in card
    # Ten of the rows, including the first and the last.
    assert [row["images"] for row in description.training_summary["curves"]][::9] == [8, STEPS * 8]
    assert load_model(folder).shape == load_for_training(folder).shape == description.shape
    rows = (workspace / "plots/trained" / name / "curves.csv").read_text().splitlines()
    assert rows[0].startswith("images,")
    assert len(rows) == STEPS + 1
    with Image.open(workspace / "plots/trained" / name / "samples.png") as picture:
        assert picture.width > 200
    pictures = {path.stem for path in (workspace / "plots/trained" / name).glob("*.png")} - {"samples"}
    assert pictures == {"vae": {"reconstructions", "interpolations"}, "vqvae": {"reconstructions"}}.get(name, set())
    cost = read_json(f"metrics/cost/train@{name}.json")
    assert cost["images"] == STEPS * 8
    assert cost["device"] == "cpu"
    assert cost["images_per_second"] > 0
    assert (cost["ended_by"], cost["devices"], cost["rollbacks"]) == ("images", 1, 0)
    assert cost["sampling_flops_per_image"] > 0
    assert len(list(Path(".genai/follow/tensorboard").glob(f"train@{name}-*/events*"))) == 1
    assert not list((workspace / ".genai/checkpoints").glob("*"))
    assert read_json(f".genai/progress/train@{name}.json")["done"] == STEPS * 8


@pytest.mark.parametrize("name", [pytest.param("diffusion", marks=pytest.mark.long), "gan", "vae", "vqvae"])
def test_a_killed_run_resumes_to_the_same_outputs(trained, monkeypatch, name):
    expected = trained(name)
    process = start(name)
    step = wait_for_checkpoint(after_step=4)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert step < STEPS
    change_params(compute={"checkpoint_every_s": 1e9})
    train_here(name, monkeypatch)
    assert take_outputs(name) == expected


def test_sigterm_saves_a_checkpoint_then_ends(trained, monkeypatch):
    expected = trained("gan")
    process = start("gan", checkpoint_every_s=1e9)
    wait_for_first_step("gan")
    process.terminate()
    process.communicate()
    assert process.returncode == 128 + signal.SIGTERM
    assert not Path("models/trained/gan").exists()
    assert 0 < wait_for_checkpoint(timeout_s=0.1) < STEPS
    train_here("gan", monkeypatch)
    assert take_outputs("gan") == expected


def test_a_batch_that_no_memory_holds_is_refused_before_anything_is_computed(workspace, monkeypatch, capsys):
    write_datasets()
    training_params()
    yaml = YAML()
    values = yaml.load(PARAMS)
    values["models"]["gan"]["training"].update(total_images=10**12, batch_images=10**11)
    yaml.dump(values, PARAMS)
    monkeypatch.setattr("tasks.train.build_model", None)
    with pytest.raises(SystemExit):
        train_here("gan", monkeypatch)
    said = capsys.readouterr().err
    most = usable_memory_bytes() // (8 * SIZE**2)
    assert f"models.gan.training.batch_images: got 100000000000; allowed: at most {most}, because" in said


def test_an_unknown_model(workspace, monkeypatch, capsys):
    with pytest.raises(SystemExit):
        train_here("nobody", monkeypatch)
    assert "models.nobody: no such model" in capsys.readouterr().err


def test_a_non_finite_loss_is_one_clear_line(workspace, monkeypatch, capsys):
    write_datasets()
    training_params()
    own = gan.relativistic_loss
    monkeypatch.setattr(gan, "relativistic_loss", lambda margin: own(margin) * math.nan)
    with pytest.raises(SystemExit):
        train_here("gan", monkeypatch)
    error = capsys.readouterr().err
    assert "the loss of the discriminator became nan after 8 images and 3 rollbacks" in error
    assert "learning_rate" in error
    assert not Path("models/trained/gan").exists()


def test_unlabelled_images(workspace, monkeypatch):
    write_datasets(labelled=False)
    training_params()
    train_here("gan", monkeypatch)
    assert json.loads(Path("models/trained/gan/config.json").read_text())["shape"]["classes"] == []
