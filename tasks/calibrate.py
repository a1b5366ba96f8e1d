"""Measure this machine's speed: `python -m tasks.calibrate DATA BASE OUT --minutes N`. Writes MachineFacts as JSON.

Not a stage of dvc.yaml: `genai init` runs it for its proposal, in as many processes at once as a run has stages side by
side, because these slow each other down. It measures the networks that the advice would choose with the speeds known so
far, until the advice chooses none that was not measured: training steps of the project's own loop, and samples.
"""

import argparse
import json
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from genai_core.advice.facts import DataFacts, MachineFacts, Speed, from_json, to_json
from genai_core.advice.networks import EXTRACTOR, Candidate, is_measured
from genai_core.advice.propose import propose
from genai_core.config import Config, TrainedExtractorConfig
from genai_core.config.machine import usable_cores, usable_memory_bytes
from genai_core.config.models import ModelConfig
from genai_core.data.dataset.dataset import Dataset, load_dataset
from genai_core.data.dataset.loader import Batch
from genai_core.data.dataset.writer import DatasetWriter
from genai_core.evaluation.extractor import trained_extractor
from genai_core.evaluation.extractor_training import train_extractor
from genai_core.evaluation.feature_network import ExtractorDescription
from genai_core.evaluation.features import extract_features
from genai_core.models.artifact import build_model
from genai_core.models.protocol import GenerativeModel, ImageShape
from genai_core.training.allocator import keep_freed_memory
from genai_core.training.precision import fabric_precision
from genai_core.training.ranks import Ranks, launch
from genai_core.training.run import begin
from genai_core.training.step import Stepper
from tasks.device import torch_device
from tasks.errors import one_line

MAX_SECONDS = 22.0  # without the start; a measurement that has begun is finished
MEASURE_SECONDS = 1.5
WARM_UP_STEPS = 2
SAMPLES = 32
EXTRACTOR_IMAGES, EXTRACTOR_BATCH = 256, 64
MOST_CLASSES = 1_000  # more hardly change the speed


class _EnoughError(Exception):
    pass


def main() -> None:
    parser = argparse.ArgumentParser(prog="tasks.calibrate", description=__doc__)
    parser.add_argument("data", type=Path, help="DataFacts as JSON, written by tasks.look")
    parser.add_argument("base", type=Path, help="the values of a complete params.yaml as JSON")
    parser.add_argument("out", type=Path, help="the JSON file to write")
    parser.add_argument("--minutes", type=float, required=True, help="of the run that is proposed")
    arguments = parser.parse_args()
    start_s = time.time() - psutil.Process().create_time()  # mostly the import of torch
    with one_line("calibrate"):
        data = from_json(DataFacts, json.loads(arguments.data.read_text()))
        machine = calibrated(json.loads(arguments.base.read_text()), data, this_machine(start_s), arguments.minutes)
    arguments.out.write_text(json.dumps(to_json(machine)))


def this_machine(start_s: float) -> MachineFacts:
    """Return what is known of this machine without measuring."""
    machine = MachineFacts(cores=usable_cores(), memory_gb=round(usable_memory_bytes() / 2**30, 1), start_s=start_s)
    if not torch.cuda.is_available():
        return machine
    properties = torch.cuda.get_device_properties(0)
    memory = round(properties.total_memory / 2**30, 1)
    return replace(machine, gpus=torch.cuda.device_count(), gpu=properties.name, gpu_memory_gb=memory)


def calibrated(
    base: dict[str, Any], data: DataFacts, machine: MachineFacts, minutes: float, max_seconds: float = MAX_SECONDS
) -> MachineFacts:
    """Return the machine with the measured speeds of what the advice chooses. Raises AdviceError as `propose` does."""
    keep_freed_memory()
    began = time.monotonic()
    while time.monotonic() - began < max_seconds:
        advice = propose(base, data, machine, minutes)
        config = Config.model_validate(advice.values)
        size, channels = config.data.image_size, config.data.channels
        assert isinstance(config.extractor, TrainedExtractorConfig)
        wanted = {**advice.networks, EXTRACTOR: Candidate(EXTRACTOR, config.extractor.width, 1, 0)}
        new = [name for name, network in wanted.items() if not is_measured(network, size, channels, machine)]
        if not new:
            break
        device = torch_device(config)
        shape = ImageShape(size, channels, tuple(data.classes)[:MOST_CLASSES])
        if new[0] == EXTRACTOR:
            speed = extractor_speed(config.extractor, shape, device)
        else:
            speed = model_speed(config.models[new[0]], shape, device)
        machine = replace(machine, speeds=(*machine.speeds, speed))
    return machine


def model_speed(config: ModelConfig, shape: ImageShape, device: torch.device) -> Speed:
    """Measure training steps and samples of a model with random weights."""
    training = config.training
    fabric = launch(device, fabric_precision(training.precision, device), 1, 1)
    model = build_model(config, shape).to(device).train()
    run = begin(model, training, training.batch_images)
    stepper, batch = Stepper(fabric, Ranks(fabric), training), _batch(shape, training.batch_images, device)

    def step(share: float) -> None:
        stepper.step(run, batch, share)
        run.step += 1

    # A VQ-VAE trains one part after another: each takes its share of the run.
    shares = Counter(tuple(model.phases_at(percent / 100)) for percent in range(100))
    seconds = 0.0
    for phases, percents in shares.items():
        share = next(percent / 100 for percent in range(100) if tuple(model.phases_at(percent / 100)) == phases)
        seconds += percents / 100 * _seconds_per_step(lambda share=share: step(share), MEASURE_SECONDS / len(shares))
    network = config.network
    return Speed(
        config.family,
        network.width,
        network.depth,
        shape.image_size,
        shape.channels,
        training.batch_images / seconds,
        _samples_per_s(model, config, shape),
    )


def extractor_speed(config: TrainedExtractorConfig, shape: ImageShape, device: torch.device) -> Speed:
    """Measure the extractor's training, and features per second."""
    times: list[float] = []

    def on_progress(_done: int, _figures: object) -> None:
        times.append(time.monotonic())
        if len(times) == 2:
            raise _EnoughError

    probe = config.model_copy(update={"total_images": 1_000_000, "batch_images": EXTRACTOR_BATCH})
    reported = 20 * EXTRACTOR_BATCH  # it reports every 20 steps
    with tempfile.TemporaryDirectory(prefix="genai-") as folder:
        dataset = _noise_dataset(Path(folder), shape)
        with suppress(_EnoughError):
            train_extractor(probe, dataset, device, on_progress)
        images = dataset.images("train")
    description = ExtractorDescription(
        kind="self_supervised",
        width=config.width,
        feature_dim=config.feature_dim,
        outputs=4,
        image_size=shape.image_size,
        channels=shape.channels,
        resize="none",
        mean=(0.5,) * shape.channels,
        std=(0.25,) * shape.channels,
        sha256="",
    )
    network = trained_extractor(description).to(device).eval().requires_grad_(False)
    extract_features(network, images[:EXTRACTOR_BATCH], EXTRACTOR_BATCH)
    began = time.monotonic()
    extract_features(network, images, EXTRACTOR_BATCH)
    features = len(images) / (time.monotonic() - began)
    trained = reported / (times[1] - times[0])
    return Speed(EXTRACTOR, config.width, 1, shape.image_size, shape.channels, trained, features)


def _seconds_per_step(step: Any, seconds: float) -> float:
    for _ in range(WARM_UP_STEPS):
        step()
    began, steps = time.monotonic(), 0
    while time.monotonic() - began < seconds or steps < 2:
        step()
        steps += 1
    return (time.monotonic() - began) / steps


def _samples_per_s(model: GenerativeModel, config: ModelConfig, shape: ImageShape) -> float:
    model.eval()
    seeds = torch.arange(SAMPLES)
    labels = torch.arange(SAMPLES) % len(shape.classes) if shape.classes else None
    model.sample(None if labels is None else labels[:2], seeds[:2], config.sampling)
    began = time.monotonic()
    model.sample(labels, seeds, config.sampling).cpu()
    return SAMPLES / (time.monotonic() - began)


def _batch(shape: ImageShape, count: int, device: torch.device) -> Batch:
    images = torch.randint(0, 256, (count, *shape.chw), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(count) % len(shape.classes) if shape.classes else None
    return Batch(images.to(device), None if labels is None else labels.to(device))


def _noise_dataset(folder: Path, shape: ImageShape) -> Dataset:
    """Write a dataset of noise in this shape: the speed does not depend on what images show."""
    writer = DatasetWriter(
        folder, image_size=shape.image_size, channels=shape.channels, classes=shape.classes, shard_images=1_000
    )
    batch = _batch(shape, EXTRACTOR_IMAGES, torch.device("cpu"))
    labels = None if batch.labels is None else batch.labels.numpy()
    for split in ("train", "test"):
        writer.add(split, np.asarray(batch.images), labels)
    writer.finish()
    return load_dataset(folder)


if __name__ == "__main__":
    main()
