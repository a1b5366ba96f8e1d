"""One training step: a batch through all phases, in parts if it does not fit into memory, and into the average."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import torch
from torch import Tensor
from torch.nn import Parameter

from genai_core.config import TrainingConfig
from genai_core.data.dataset.loader import Batch
from genai_core.models.protocol import GenerativeModel, Part, to_unit
from genai_core.training.curves import Row
from genai_core.training.ema import ema_decay, ema_decay_from_scratch
from genai_core.training.fabric import Fabric
from genai_core.training.noise import WholeBatchNoise, draw_seed
from genai_core.training.ranks import Ranks
from genai_core.training.recording import Recording
from genai_core.training.run import TrainingRun
from genai_core.training.schedule import learning_rate_share

Learn = Callable[[Tensor, Tensor | None], Tensor]  # images and labels -> loss and figures; leaves gradients


class DoesNotFitError(ValueError):
    """Not even a single image fits into the device's memory."""


class Stepper:
    """Runs the steps of one run in one process.

    from_average: whether the run started from averaged weights, which its own average includes, not from random ones.
    """

    def __init__(self, fabric: Fabric, ranks: Ranks, config: TrainingConfig, from_average: bool = False) -> None:
        self._fabric, self._ranks, self._config, self._from_average = fabric, ranks, config, from_average
        # On the GPU: noise from the CPU would take longer than a step of a small network.
        self._generator = torch.Generator(fabric.device)
        self.records = fabric.device.type == "cuda"  # benchmarks disable it for comparison
        self._several = ranks.count > 1
        self._recordings: dict[tuple[str, Part], Recording] = {}
        self._names: dict[str, list[str]] = {}  # names of each phase's figures

    def step(self, run: TrainingRun, batch: Batch, share: float) -> Row:
        """Learn from one batch and return the figures of all phases. share: of the run, done before it.

        batch: this process's part of it. Raises BrokenLossError for a loss that must not be learned from, and
        DoesNotFitError.
        """
        config, model, ranks = self._config, run.model, self._ranks
        whole, images, labels = config.batch_images, to_unit(batch.images), batch.labels
        first = ranks.part(whole).start
        seen = run.step * whole
        rate = config.learning_rate * config.watch.rollback_rate_factor ** len(run.rollbacks)
        rate *= learning_rate_share(
            share, seen + whole, warmup_images=config.warmup_images, decay_share=config.decay_share
        )
        figures: Row = {}
        for index, phase in enumerate(run.phases_at(share)):
            parameters = run.parameters(phase)
            # Only this phase's weights get gradients: others would cost time and be discarded.
            model.requires_grad_(False)
            for parameter in parameters:
                parameter.requires_grad_(True)
            seed = draw_seed(config.seed, run.step, index, len(run.rollbacks))
            names, sums = self._gradients(run, phase, images, labels, first=first, whole=whole, seed=seed)
            # The only place in a phase where the CPU waits for the GPU.
            loss, *values = ranks.sum(sums).tolist()
            run.watches[phase].check(phase, loss)
            ranks.sum_gradients(parameters)
            if config.gradient_clip_norm is not None:
                torch.nn.utils.clip_grad_norm_(parameters, config.gradient_clip_norm, foreach=True)
            optimizer = run.optimizers[phase]
            for group in optimizer.param_groups:
                group["lr"] = rate * model.learning_rate_factor(phase) * group["rate_factor"]
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            figures.update(zip(names, values, strict=True))
        model.end_step(whole, figures)
        ranks.mean_buffers(model)
        run.ema.update(self._decay(seen, share))
        return figures

    def _decay(self, seen: int, share: float) -> float:
        batch_images, halflife_images = self._config.batch_images, self._config.ema_halflife_images
        if self._from_average:
            return ema_decay(batch_images, halflife_images)
        return ema_decay_from_scratch(batch_images, halflife_images, images_seen=seen, share=share)

    def _gradients(
        self, run: TrainingRun, phase: str, images: Tensor, labels: Tensor | None, *, first: int, whole: int, seed: int
    ) -> tuple[list[str], Tensor]:
        """Compute the gradient of this process's part, with fewer images per pass when memory runs out.

        Returns the names of the figures; then the loss and the figures, each times the part's share of the batch.
        """
        while True:
            try:
                return self._accumulate(run, phase, images, labels, first=first, whole=whole, seed=seed)
            except torch.OutOfMemoryError as error:
                tried, reason = min(run.micro_batch_images, len(images)), str(error).partition("\n")[0]
            half = (tried + 1) // 2
            if self._takes_means(run.model):  # the others wait for this process's means
                raise DoesNotFitError(
                    f"{tried} images do not fit into the device's memory ({reason}); set the model's "
                    f"training.micro_batch_images to {half}, or in a fine-tuning finetune.batch_images to "
                    f"{half * self._ranks.count}. Several processes that train a {run.model.family} model cannot find "
                    "it by themselves"
                )
            # Outside the handler: inside it, the traceback still holds the tensors that did not fit.
            run.optimizers[phase].zero_grad(set_to_none=True)
            self._recordings.clear()
            if tried == 1:
                raise DoesNotFitError(
                    f"not even a single image fits into the device's memory ({reason}); reduce the model's network "
                    "size, or data.image_size"
                )
            run.micro_batch_images = half
            print(
                f"{tried} images per pass do not fit into the device's memory; continuing with "
                f"{run.micro_batch_images} per pass and the same batch size",
                flush=True,
            )
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def _accumulate(
        self, run: TrainingRun, phase: str, images: Tensor, labels: Tensor | None, *, first: int, whole: int, seed: int
    ) -> tuple[list[str], Tensor]:
        parts = []
        means = self._takes_means(run.model)
        # A checkpoint of a single process may have a smaller number.
        size = len(images) if means else run.micro_batch_images
        for start in range(0, len(images), size):
            end = min(start + size, len(images))
            part = Part(first + start, first + end, whole, partial(self._mean, len(images) / whole) if means else None)
            inputs = (images[start:end], None if labels is None else labels[start:end])
            learn: Learn = partial(self._learn, run.model, phase, part)
            # Parts are not recorded: their gradients add up, and a replay would overwrite them.
            if self.records and not means and end - start == len(images):
                learn = self._recorded(learn, phase, part, inputs, run.parameters(phase))
            self._generator.manual_seed(seed)
            parts.append(learn(*inputs))
        return self._names[phase], torch.stack(parts).sum(dim=0)

    def _takes_means(self, model: GenerativeModel) -> bool:
        """Whether a loss sums over the processes: each then takes its part of the batch in one pass, as all do."""
        return self._several and model.needs_batch_mean and self._config.micro_batch_images is None

    def _mean(self, share: float, values: Tensor) -> Tensor:
        """Return the mean over the batch of `values`, the mean over this process's part, which is this share of it."""
        return self._ranks.sum(values * share)

    def _recorded(
        self,
        learn: Learn,
        phase: str,
        part: Part,
        inputs: tuple[Tensor, Tensor | None],
        parameters: Sequence[Parameter],
    ) -> Learn:
        """Return `learn` as a recording to replay, or `learn` itself if it cannot be recorded."""
        if (phase, part) not in self._recordings:
            try:
                recording = Recording(learn, inputs, parameters, self._generator, others=self._recordings.values())
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:
                print(f"cannot record a step on this GPU ({error}); continuing without, which is slower", flush=True)
                self.records = False
                return learn
            self._recordings[phase, part] = recording
        return self._recordings[phase, part].replay

    def _learn(self, model: GenerativeModel, phase: str, part: Part, images: Tensor, labels: Tensor | None) -> Tensor:
        """Compute the part's gradient; return its loss and figures, each times its share of the batch."""
        share = (part.end - part.first) / part.whole
        with _noise(part), self._fabric.autocast():
            loss = model.loss(phase, images, labels, self._generator, part)
        # Parts of a mean: gradients and figures add up to those of the whole batch.
        (loss.value * share if share < 1.0 else loss.value).backward()  # type: ignore[no-untyped-call]
        self._names[phase] = list(loss.figures)
        value = loss.value.detach().float()
        # A family may have computed a figure on the CPU.
        return torch.stack([value, *(figure.float().to(value.device) for figure in loss.figures.values())]) * share


def _noise(part: Part) -> AbstractContextManager[object]:
    is_whole = part.end - part.first == part.whole
    return nullcontext() if is_whole else WholeBatchNoise(part.first, part.end, part.whole)
