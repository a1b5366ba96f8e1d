"""Speeds of tiny networks, measured for real: positive, and of what the advice chooses."""

import json
from pathlib import Path

import torch
from ruamel.yaml import YAML

from genai_core.advice.facts import DataFacts, MachineFacts
from genai_core.config import TrainedExtractorConfig, load_config
from genai_core.image_size import ImageSize
from genai_core.models.protocol import ImageShape
from tasks import calibrate
from tests.tasks.small_run import PARAMS, small_params

SHAPE = ImageShape(ImageSize(8, 12), 1, ("a", "b"))
CPU = torch.device("cpu")


def test_speed_of_a_model_and_of_the_extractor(workspace: Path, monkeypatch) -> None:
    monkeypatch.setattr(calibrate, "MEASURE_SECONDS", 0.05)
    small_params()
    config = load_config(PARAMS)
    speed = calibrate.model_speed(config.models["small"], SHAPE, CPU)
    assert (speed.family, speed.width, speed.image_size, speed.channels) == ("gan", 8, (8, 12), 1)
    assert speed.images_per_s > 0
    assert speed.samples_per_s > 0
    assert isinstance(config.extractor, TrainedExtractorConfig)
    assert calibrate.extractor_speed(config.extractor, SHAPE, CPU).images_per_s > 0


def test_each_part_of_a_vqvae_counts_by_its_share(workspace: Path, monkeypatch) -> None:
    monkeypatch.setattr(calibrate, "MEASURE_SECONDS", 0.05)
    took = iter((1.0, 3.0))
    monkeypatch.setattr(calibrate, "_seconds_per_step", lambda *_: next(took))
    config = load_config(PARAMS).models["vqvae"]
    speed = calibrate.model_speed(config, SHAPE, CPU)
    assert speed.images_per_s == config.training.batch_images / (0.3 * 1.0 + 0.7 * 3.0)


def test_no_time_measures_nothing(workspace: Path) -> None:
    base = json.loads(json.dumps(YAML(typ="safe").load(PARAMS)))
    machine = MachineFacts(2)
    assert calibrate.calibrated(base, DataFacts(100), machine, 10, max_seconds=0) == machine
