"""The training loop of all model families: phases, averaged weights, exact resume."""

import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from lightning.fabric import Fabric
from torch import Tensor
from torch.optim import AdamW

from genai_core.config import TrainingConfig
from genai_core.data.loader import Batch, Batches
from genai_core.models.protocol import GenerativeModel, to_unit
from genai_core.progress import Progress
from genai_core.training.checkpoint import Checkpoints
from genai_core.training.ema import Ema, ema_decay
from genai_core.training.precision import fabric_precision
from genai_core.training.schedule import learning_rate_share
from genai_core.training.watch import Curves, Row, check_finite, snapshot_steps

# The images of every picture taken: few, as they cost time, and the same noise each time, so that they can be compared.
_SNAPSHOT_IMAGES = 10


class TrainingStoppedError(Exception):
    """Training was asked to stop, and has saved a checkpoint; the next run goes on from it."""


@dataclass(frozen=True)
class Snapshot:
    """What the averaged weights drew at one moment: images (10, C, H, W) uint8."""

    images_seen: int
    images: npt.NDArray[np.uint8]


@dataclass(frozen=True)
class TrainingResult:
    """What a whole run came to, resumed or not; all but `seconds` is the same in every run."""

    images: int
    steps: int
    curves: list[Row]
    snapshots: list[Snapshot]
    seconds: float  # in the loop, over all processes that worked on the run


@dataclass
class _Run:
    """All that changes during a run; what a checkpoint holds."""

    model: GenerativeModel
    ema: Ema
    optimizers: dict[str, AdamW]
    generator: torch.Generator
    curves: Curves
    step: int = 0
    snapshots: list[tuple[int, Tensor]] = field(default_factory=list)
    seconds: float = 0.0


def train(
    model: GenerativeModel,
    batches: Batches,
    config: TrainingConfig,
    *,
    device: torch.device,
    checkpoints: Checkpoints,
    checkpoint_every_s: float,
    progress: Progress,
    stop_requested: Callable[[], bool],
) -> TrainingResult:
    """Train `model` in place, from the last checkpoint if there is one; it ends with the averaged weights, to be saved.

    Raises DivergedError for a loss that is no number and TrainingStoppedError, once a checkpoint is saved, when
    `stop_requested` says so. The caller deletes the checkpoints when it has saved the model.
    """
    fabric = Fabric(accelerator=device.type, devices=1, precision=fabric_precision(config.precision, device))
    fabric.launch()
    total_steps = -(-config.total_images // config.batch_images)
    run = _begin(model.to(device).train(), config, total_steps)
    state = checkpoints.load()
    if state is not None:
        _restore(run, state)
        print(f"going on from the checkpoint at {run.step * config.batch_images:,} images", flush=True)
    pictures = set(snapshot_steps(total_steps))
    progress.begin("train", total=total_steps * config.batch_images, unit="images", done=run.step * config.batch_images)
    began = saved = time.monotonic()
    earlier_seconds = run.seconds
    while run.step < total_steps:
        figures = _step(fabric, run, batches.at(run.step), config, total_steps)
        run.step += 1
        images = run.step * config.batch_images
        run.curves.add(run.step, images, figures)
        if run.step in pictures:
            run.snapshots.append((images, _draw(run)))
        now = time.monotonic()
        run.seconds = earlier_seconds + now - began
        progress.update(images, {**figures, "memory_mb": _memory_mb(device)})
        stop = stop_requested()
        if stop or now - saved >= checkpoint_every_s:
            checkpoints.save(run.step, _state(run))
            saved = time.monotonic()
        if stop:
            raise TrainingStoppedError(f"stopped after {images:,} images; a checkpoint is saved")
    run.ema.write_to_network()
    return TrainingResult(
        images=total_steps * config.batch_images,
        steps=total_steps,
        curves=run.curves.rows,
        snapshots=[Snapshot(images, drawn.numpy()) for images, drawn in run.snapshots],
        seconds=run.seconds,
    )


def _begin(model: GenerativeModel, config: TrainingConfig, total_steps: int) -> _Run:
    return _Run(
        model=model,
        ema=Ema(model.sampled_network()),
        optimizers={
            phase: AdamW(
                model.phase_parameters(phase),
                lr=config.learning_rate,
                betas=config.adam_betas,
                weight_decay=config.weight_decay,
                fused=True,
            )
            for phase in model.phases
        },
        generator=torch.Generator().manual_seed(config.seed),
        curves=Curves(total_steps, rows=[], sums={}),
    )


def _step(fabric: Fabric, run: _Run, batch: Batch, config: TrainingConfig, total_steps: int) -> Row:
    """One batch through all phases, and into the average. The figures of all phases."""
    seen = run.step * config.batch_images
    share = learning_rate_share(
        seen + config.batch_images,
        total_images=total_steps * config.batch_images,
        warmup_images=config.warmup_images,
        decay_share=config.decay_share,
    )
    images = to_unit(batch.images)
    figures: Row = {}
    for phase in run.model.phases_at(run.step / total_steps):
        optimizer = run.optimizers[phase]
        # Only this phase's weights get gradients: the others' would cost time and be thrown away.
        run.model.requires_grad_(False)
        for parameter in run.model.phase_parameters(phase):
            parameter.requires_grad_(True)
        with fabric.autocast():
            loss = run.model.loss(phase, images, batch.labels, run.generator)
        numbers = {name: float(value) for name, value in loss.figures.items()}
        check_finite(phase, float(loss.value.detach()), seen + config.batch_images)
        fabric.backward(loss.value)
        if config.gradient_clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(run.model.phase_parameters(phase), config.gradient_clip_norm, foreach=True)
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * run.model.learning_rate_factor(phase) * share
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        figures.update(numbers)
    run.ema.update(ema_decay(config.batch_images, seen, config.ema_halflife_images))
    return figures


def _draw(run: _Run) -> Tensor:
    """What the averaged weights draw at this moment, from the seeds that are the same at every moment."""
    model, classes = run.model, len(run.model.shape.classes)
    labels = torch.arange(_SNAPSHOT_IMAGES) % classes if classes else None
    model.eval()
    with run.ema.in_place():
        images = model.sample(labels, torch.arange(_SNAPSHOT_IMAGES), model.preview_sampling)
    model.train()
    return images.cpu()


def _state(run: _Run) -> dict[str, Any]:
    return {
        "step": run.step,
        "seconds": run.seconds,
        "model": run.model.state_dict(),
        "ema": run.ema.state_dict(),
        "optimizers": {phase: optimizer.state_dict() for phase, optimizer in run.optimizers.items()},
        "generator": run.generator.get_state(),
        "curves": {"rows": run.curves.rows, "sums": run.curves.sums, "steps": run.curves.steps},
        "snapshots": run.snapshots,
    }


def _restore(run: _Run, state: dict[str, Any]) -> None:
    run.step, run.seconds = state["step"], state["seconds"]
    run.model.load_state_dict(state["model"])
    run.ema.load_state_dict(state["ema"])
    for phase, optimizer in run.optimizers.items():
        optimizer.load_state_dict(state["optimizers"][phase])
    run.generator.set_state(state["generator"])
    curves = state["curves"]
    run.curves.rows, run.curves.sums, run.curves.steps = curves["rows"], curves["sums"], curves["steps"]
    run.snapshots = state["snapshots"]


def _memory_mb(device: torch.device) -> float:
    """The most memory that this process has held at once: on the GPU, or in all on a processor."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10  # bytes on macOS, KiB on Linux
