"""Training with two processes over gloo: the stage itself, started by Fabric and by torchrun."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
from ruamel.yaml import YAML

from genai_core.models.artifact import load_for_training
from tasks import train as task
from tests.slurm import in_a_slurm_job
from tests.tasks.conftest import ROOT
from tests.tasks.small_run import PARAMS, bytes_below, change_params, read_json, write_datasets

STEPS = 40
OUTPUTS = Path("models/trained/small"), Path("plots/trained/small")


@pytest.fixture
def stage(workspace, monkeypatch, tmp_path_factory):
    """A GAN with penalties on a share of the batch and with ADA, in a Slurm job."""
    in_a_slurm_job(monkeypatch, tmp_path_factory.mktemp("slurm"), tasks=4)
    write_datasets()
    yaml = YAML()
    values = yaml.load(PARAMS)
    model = values["models"]["gan"]
    model["network"].update(width=8, depth=1, latent_dim=4)
    model["objective"].update(penalty_share=0.5, augment_policy=["translation"], ada_target=0.5, ada_images=400)
    model["training"].update(total_images=STEPS * 6, batch_images=6, warmup_images=16)
    values["models"] = {"small": model}
    values["compute"].update(accelerator="cpu", cpu_threads=1, checkpoint_every_s=1e9)
    yaml.dump(values, PARAMS)


def start(devices, *launcher, **compute):
    change_params(compute={"devices": devices, **compute})
    command = [sys.executable, *launcher, "-m", "tasks.train", "small"]
    # In its own session, so that the test can end leftover processes.
    return subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def train(devices, *launcher, **compute):
    process = start(devices, *launcher, **compute)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    return output


def curves():
    with (OUTPUTS[1] / "curves.csv").open() as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def outputs():
    return {path: content for folder in OUTPUTS for path, content in bytes_below(folder).items()}


@pytest.mark.long
def test_two_processes_train_the_same_model_as_one_even_after_a_crash(stage, monkeypatch):
    monkeypatch.setattr("sys.argv", ["train", "small"])
    task.main()
    alone, model = curves(), load_for_training(OUTPUTS[0]).state_dict()
    output = train(2)
    # Only one of them prints and writes.
    assert output.count("parameters") == 1
    cost = read_json("metrics/cost/train@small.json")
    assert (cost["devices"], cost["images"]) == (2, STEPS * 6)
    for one, other in zip(alone, curves(), strict=True):
        for row in (one, other):  # of pairs within a process's part, so no means over images
            del row["pair_distance"], row["pair_distance_real"]
        assert other == pytest.approx(one, rel=1e-3, abs=1e-4)
    together = load_for_training(OUTPUTS[0]).state_dict()
    for name in model.keys() - {"discriminator.score.bias"}:  # its gradient is only rounding errors
        assert torch.allclose(together[name], model[name], rtol=1e-2, atol=1e-3), name
    expected = outputs()
    for path in expected:
        Path(path).unlink()

    process = start(2, checkpoint_every_s=1e-6)
    checkpoints, end = Path(".genai/checkpoints"), time.monotonic() + 60
    while not list(checkpoints.glob("*/step-*.pt")) and time.monotonic() < end:
        time.sleep(0.01)
    (helper,) = psutil.Process(process.pid).children()
    helper.send_signal(signal.SIGKILL)
    began = time.monotonic()
    process.communicate(timeout=60)
    assert process.returncode != 0
    assert time.monotonic() - began < 30
    assert not outputs()
    # torchrun starts the same two processes, and they resume.
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    assert "resuming from the checkpoint at" in train(2, *torchrun)
    assert outputs() == expected
