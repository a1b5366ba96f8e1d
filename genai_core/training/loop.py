"""Training loop of all model families: phases, averaged weights, exact resume, early stopping."""

import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from genai_core.config import TrainingConfig
from genai_core.data.dataset.loader import Batches
from genai_core.models.protocol import GenerativeModel
from genai_core.progress import Progress
from genai_core.training.allocator import keep_freed_memory
from genai_core.training.checkpoint import Checkpoints
from genai_core.training.compiling import compiled, uncompiled
from genai_core.training.curves import Row, previews_due
from genai_core.training.follow import Followers
from genai_core.training.moments import Moments, moments_of
from genai_core.training.precision import fabric_precision
from genai_core.training.ranks import Ranks, launch
from genai_core.training.result import Previews, TrainingResult
from genai_core.training.run import TrainingRun, begin, keep_good_state, restore, roll_back, state_of
from genai_core.training.rungs import Rungs
from genai_core.training.schedule import Budget, EndedBy
from genai_core.training.step import Stepper
from genai_core.training.watch import BrokenLossError, DivergedError

# Images per preview: few, because they cost time, and from the same noise each time, so that they can be compared.
_PREVIEW_IMAGES = 10

# Distance of a model from the training images; smaller is better. Called with the averaged weights in place.
Evaluate = Callable[[GenerativeModel], float]


class TrainingStoppedError(Exception):
    """Training was asked to stop and has saved a checkpoint, from which the next run resumes."""


class AlarmError(ValueError):
    """The model family reports that training is failing, for example a GAN that collapses."""


@dataclass(frozen=True)
class Hardware:
    """Hardware of a run: `devices` on each of `num_nodes` machines, one process per device."""

    device: torch.device
    devices: int = 1
    num_nodes: int = 1
    compile_on_gpu: bool = False


def train(
    model: GenerativeModel,
    batches: Batches,
    config: TrainingConfig,
    *,
    hardware: Hardware,
    checkpoints: Checkpoints,
    checkpoint_every_s: float,
    progress: Progress,
    stop_requested: Callable[[], bool],
    followers: Callable[[], Followers] = Followers,
    evaluate: Evaluate | None = None,
    rungs: Rungs | None = None,
    from_average: bool = False,
    rates: Mapping[str, float] | None = None,
    moments: Moments | None = None,
) -> TrainingResult:
    """Train `model` in place, from the last checkpoint if there is one. Afterwards it has the averaged weights.

    followers: called in the first process only. evaluate: required for config.early_stop. rungs: additional
    evaluations, which do not affect the result. from_average: the model was loaded, so its weights are an average, and
    the new average starts with them. rates: factor of the learning rate by a weight's name; weights without one are
    frozen; None: 1 for all. moments: state of the optimizers that an earlier training ended with; None: they start
    fresh.
    Raises DivergedError when a loss breaks after the last allowed rollback, AlarmError on a family's alarm,
    DoesNotFitError when the device has too little memory, and TrainingStoppedError, after saving a checkpoint, when
    `stop_requested` returns True. The caller deletes the checkpoints after saving the model.
    """
    if hardware.device.type == "cpu":
        keep_freed_memory()
    precision = fabric_precision(config.precision, hardware.device)
    fabric = launch(hardware.device, precision, hardware.devices, hardware.num_nodes)
    ranks = Ranks(fabric)
    part = ranks.part(config.batch_images)
    run = begin(
        model.to(hardware.device).train(),
        config,
        min(config.micro_batch_images or config.batch_images, config.batch_images),
        rates,
        moments,
        ranks,
    )
    # One process reads: the others may be on machines that do not see its disk, or see another checkpoint.
    state = ranks.state_from_first(checkpoints.load() if ranks.is_first else None)
    if state is not None:
        restore(run, state)
        if ranks.is_first:
            print(f"resuming from the checkpoint at {run.step * config.batch_images:,} images", flush=True)
            if rungs is not None:
                rungs.report_again(run.rungs)
    stepper = Stepper(fabric, ranks, config, from_average)
    loop = _Loop(run, batches, part, config, stepper, ranks, hardware.device, evaluate, rungs)
    compiles = hardware.compile_on_gpu and hardware.device.type == "cuda"
    with compiled(model.sampled_network(), compiles), followers() if ranks.is_first else Followers() as follow:
        ended_by = loop.run_to_end(checkpoints, checkpoint_every_s, progress, stop_requested, follow)
    best = run.early_stop.best_average
    if ended_by == "converged" and best is not None:
        run.ema.load_state_dict(best)
    run.ema.write_to_network()
    return TrainingResult(
        images=run.step * config.batch_images,
        steps=run.step,
        ended_by=ended_by,
        curves=run.curves.rows,
        snapshots=[Previews(images, drawn.numpy()) for images, drawn in run.previews],
        rollbacks=run.rollbacks,
        evaluations=run.early_stop.evaluations,
        micro_batch_images=min(run.micro_batch_images, len(part)),
        processes=ranks.count,
        is_first=ranks.is_first,
        seconds=run.seconds,
        evaluation_seconds=run.evaluation_seconds,
        peak_memory_mb=_memory_mb(hardware.device),
        moments=moments_of(model, run.optimizers),
    )


@dataclass
class _Loop:
    run: TrainingRun
    batches: Batches
    part: range  # this process's places in each batch
    config: TrainingConfig
    stepper: Stepper
    ranks: Ranks
    device: torch.device
    evaluate: Evaluate | None
    rungs: Rungs | None

    def run_to_end(
        self,
        checkpoints: Checkpoints,
        checkpoint_every_s: float,
        progress: Progress,
        stop_requested: Callable[[], bool],
        follow: Followers,
    ) -> EndedBy:
        run, config = self.run, self.config
        budget = Budget(config.total_images, config.batch_images, config.max_seconds)
        total_images = budget.total_steps * config.batch_images
        progress.begin("train", total=total_images, unit="images", done=run.step * config.batch_images)
        began = saved = time.monotonic()
        earlier_seconds = run.seconds
        while (ended_by := self._ended_by(budget)) is None:
            batch, share = self.batches.at(run.step, self.part), budget.share(run.step, run.seconds)
            phases = run.phases_at(share)
            try:
                figures = self.stepper.step(run, batch, share)
            except BrokenLossError as fault:
                self._roll_back(str(fault))
                continue
            run.step += 1
            images = run.step * config.batch_images
            # All processes use the first one's clock, and all stop when one is asked to.
            now = time.monotonic()
            due = now - saved >= checkpoint_every_s
            run.seconds, checkpoint_due = self.ranks.from_first(earlier_seconds + now - began, float(due))
            (stops,) = self.ranks.sum_numbers(float(stop_requested()))
            before, share = share, budget.share(run.step, run.seconds)
            # Families that train one part after another: only the last phases complete the generator.
            complete = phases == run.phases_at(1.0)
            self._evaluate(images, complete=complete)
            self._report_rung(before, share, images, complete=complete)
            last = self._ended_by(budget) is not None
            self._generate_previews(share, images, follow, last=last)
            row = run.curves.add(share, images, figures, last=last)
            if row is not None:
                self._check_alarm(row)
            figures["memory_mb"] = _memory_mb(self.device)
            progress.update(
                images, figures, budget_s=None if config.max_seconds is None else config.max_seconds - run.seconds
            )
            follow.scalars(images, figures, last=row is not None)
            keep_good_state(run, budget.total_steps)
            if stops or checkpoint_due:
                if self.ranks.is_first:
                    checkpoints.save(run.step, state_of(run))
                saved = time.monotonic()
            if stops:
                self.ranks.sum_numbers(0.0)  # wait for the checkpoint: an exit would end the first process too
                raise TrainingStoppedError(f"stopped after {images:,} images; a checkpoint is saved")
        return ended_by

    def _ended_by(self, budget: Budget) -> EndedBy | None:
        if self.config.early_stop is not None and self.run.early_stop.converged(self.config.early_stop):
            return "converged"
        return budget.ended_by(self.run.step, self.run.seconds)

    def _roll_back(self, fault: str) -> None:
        run, config = self.run, self.config
        images = (run.step + 1) * config.batch_images
        if len(run.rollbacks) >= config.watch.max_rollbacks:
            tries = f" and {len(run.rollbacks)} rollbacks" if run.rollbacks else ""
            raise DivergedError(
                f"{fault} after {images:,} images{tries}; lower the model's training.learning_rate, or in a "
                "fine-tuning finetune.learning_rate_share. In a training from scratch, training.gradient_clip_norm or "
                "precision: fp32 may help, too"
            )
        for optimizer in run.optimizers.values():
            optimizer.zero_grad(set_to_none=True)
        roll_back(run, images, config.batch_images, fault)
        factor = config.watch.rollback_rate_factor ** len(run.rollbacks)
        if self.ranks.is_first:
            print(
                f"{fault} after {images:,} images; rolling back to {run.rollbacks[-1].to_images:,} images, with "
                f"{factor:g} of the learning rate",
                flush=True,
            )

    def _check_alarm(self, row: Row) -> None:
        alarm = self.run.model.alarm({name: value for name, value in row.items() if name != "images"})
        if alarm is not None:
            raise AlarmError(f"stopped after {row['images']:,.0f} images: {alarm}")

    def _generate_previews(self, share: float, images: int, follow: Followers, *, last: bool) -> None:
        """Generate previews from the averaged weights, always from the same seeds. The processes divide them."""
        run = self.run
        due = last or previews_due(share) > previews_due(run.previews_share)
        run.previews_share = share
        if not due:
            return
        model, seeds = run.model, torch.arange(_PREVIEW_IMAGES)
        own, classes = seeds[self.ranks.rank :: self.ranks.count], len(model.shape.classes)
        previews = torch.zeros(_PREVIEW_IMAGES, *model.shape.chw, dtype=torch.int32)
        if len(own):
            with self._averaged():
                drawn = model.sample(own % classes if classes else None, own, model.preview_sampling)
            previews[own] = drawn.cpu().int()
        previews = self.ranks.sum(previews.to(self.device)).cpu().to(torch.uint8)
        if self.ranks.is_first:
            run.previews.append((images, previews))
            follow.previews(images, previews.numpy())

    def _evaluate(self, images: int, *, complete: bool) -> None:
        run, config = self.run, self.config.early_stop
        if config is None:
            return
        if not run.early_stop.due(config, images, run.evaluation_seconds, run.seconds, complete=complete):
            return
        assert self.evaluate is not None, "early_stop needs evaluate"
        distance, seconds = self._distance(self.evaluate)
        run.evaluation_seconds += seconds
        run.early_stop.take(config, images, distance, run.ema.state_dict())

    def _report_rung(self, before: float, share: float, images: int, *, complete: bool) -> None:
        rung = self.rungs.passed(before, share) if self.rungs is not None and complete else None
        if self.rungs is not None and rung is not None:
            distance, _ = self._distance(self.rungs.evaluate)
            measured = {"share": rung, "images": images, "distance": distance, "how": dict(self.rungs.how)}
            self.run.rungs.append(measured)
            if self.ranks.is_first:
                self.rungs.report(rung, images, distance)

    def _distance(self, evaluate: Evaluate) -> tuple[float, float]:
        """Return the distance of the averaged weights' images and the seconds it took, the same in all processes."""
        began, distance = time.monotonic(), 0.0
        if self.ranks.is_first:
            with self._averaged():
                distance = evaluate(self.run.model)
        distance, seconds = self.ranks.from_first(distance, time.monotonic() - began)
        return distance, seconds

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        self.run.model.eval()
        with self.run.ema.in_place(), uncompiled():
            yield
        self.run.model.train()


def _memory_mb(device: torch.device) -> float:
    """Return the peak memory of this process in MB: on the GPU, or in total if it runs on the CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10  # bytes on macOS, KiB on Linux
