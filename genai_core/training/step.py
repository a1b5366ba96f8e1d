"""One step of training: a batch through all phases, in parts where it does not fit, and into the average."""

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
from genai_core.training.run import Run
from genai_core.training.schedule import learning_rate_share

Learn = Callable[[Tensor, Tensor | None], Tensor]  # images and labels -> the loss and the figures; leaves gradients


class DoesNotFitError(ValueError):
    """Not even one image at a time fits into the device's memory."""


class Stepper:
    """Takes the steps of one run on one process.

    from_average: whether the run began with an average, which goes into its own, instead of with random weights.
    """

    def __init__(self, fabric: Fabric, ranks: Ranks, config: TrainingConfig, from_average: bool = False) -> None:
        self._fabric, self._ranks, self._config, self._from_average = fabric, ranks, config, from_average
        # On the GPU: noise drawn by the processor would take longer than a step of a small network.
        self._generator = torch.Generator(fabric.device)
        self.records = fabric.device.type == "cuda"  # benchmarks compare with steps that are not recorded
        self._recordings: dict[tuple[str, Part], Recording] = {}
        self._names: dict[str, list[str]] = {}  # of each phase's figures

    def step(self, run: Run, batch: Batch, share: float) -> Row:
        """Learn from one batch; `share` of the run was over before it. The figures of all phases.

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
        for index, phase in enumerate(model.phases_at(share)):
            parameters = model.phase_parameters(phase)
            # Only this phase's weights get gradients: the others' would cost time and be thrown away.
            model.requires_grad_(False)
            for parameter in parameters:
                parameter.requires_grad_(True)
            seed = draw_seed(config.seed, run.step, index, len(run.rollbacks))
            names, sums = self._gradients(run, phase, images, labels, first=first, whole=whole, seed=seed)
            # The one place of a phase where the processor waits for the GPU.
            loss, *values = ranks.sum(sums).tolist()
            run.watches[phase].check(phase, loss)
            ranks.sum_gradients(parameters)
            if config.gradient_clip_norm is not None:
                torch.nn.utils.clip_grad_norm_(parameters, config.gradient_clip_norm, foreach=True)
            optimizer = run.optimizers[phase]
            for group in optimizer.param_groups:
                group["lr"] = rate * model.learning_rate_factor(phase)
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
        self, run: Run, phase: str, images: Tensor, labels: Tensor | None, *, first: int, whole: int, seed: int
    ) -> tuple[list[str], Tensor]:
        """Leave the gradient of this process's part, in fewer images at a time when memory runs out.

        The names of the figures; then the loss and the figures, each times the part's share of the batch.
        """
        while True:
            try:
                return self._accumulate(run, phase, images, labels, first=first, whole=whole, seed=seed)
            except torch.OutOfMemoryError as error:
                tried, reason = min(run.micro_batch_images, len(images)), str(error).partition("\n")[0]
            # Outside of the handler: within it the traceback still holds the tensors that did not fit.
            run.optimizers[phase].zero_grad(set_to_none=True)
            self._recordings.clear()
            if tried == 1:
                raise DoesNotFitError(
                    f"not even one image at a time fits into the device's memory ({reason}); make the model's network "
                    "smaller, or data.image_size"
                )
            run.micro_batch_images = (tried + 1) // 2
            print(
                f"{tried} images at a time do not fit into the device's memory; going on with {run.micro_batch_images} "
                "at a time and the same batch",
                flush=True,
            )
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def _accumulate(
        self, run: Run, phase: str, images: Tensor, labels: Tensor | None, *, first: int, whole: int, seed: int
    ) -> tuple[list[str], Tensor]:
        parts = []
        for start in range(0, len(images), run.micro_batch_images):
            end = min(start + run.micro_batch_images, len(images))
            part = Part(first + start, first + end, whole)
            inputs = (images[start:end], None if labels is None else labels[start:end])
            learn: Learn = partial(self._learn, run.model, phase, part)
            # Parts are not recorded: their gradients are added up, and a replay's are overwritten by the next one.
            if self.records and end - start == len(images):
                learn = self._recorded(learn, phase, part, inputs, run.model.phase_parameters(phase))
            self._generator.manual_seed(seed)
            parts.append(learn(*inputs))
        return self._names[phase], torch.stack(parts).sum(dim=0)

    def _recorded(
        self,
        learn: Learn,
        phase: str,
        part: Part,
        inputs: tuple[Tensor, Tensor | None],
        parameters: Sequence[Parameter],
    ) -> Learn:
        """`learn` to be replayed on the GPU; itself, where it cannot be recorded."""
        if (phase, part) not in self._recordings:
            try:
                recording = Recording(learn, inputs, parameters, self._generator, beside=self._recordings.values())
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:
                print(f"a step cannot be recorded on this GPU ({error}); going on without, which is slower", flush=True)
                self.records = False
                return learn
            self._recordings[phase, part] = recording
        return self._recordings[phase, part].replay

    def _learn(self, model: GenerativeModel, phase: str, part: Part, images: Tensor, labels: Tensor | None) -> Tensor:
        """Leave the part's gradient; its loss and the figures, each times its share of the batch."""
        share = (part.end - part.first) / part.whole
        model.part = part
        with _noise(part), self._fabric.autocast():
            loss = model.loss(phase, images, labels, self._generator)
        # Parts of a mean: their gradients and figures add up to the whole batch's.
        (loss.value * share if share < 1.0 else loss.value).backward()  # type: ignore[no-untyped-call]
        self._names[phase] = list(loss.figures)
        value = loss.value.detach().float()
        # A family may have made a figure on the processor.
        return torch.stack([value, *(figure.float().to(value.device) for figure in loss.figures.values())]) * share


def _noise(part: Part) -> AbstractContextManager[object]:
    is_whole = part.end - part.first == part.whole
    return nullcontext() if is_whole else WholeBatchNoise(part.first, part.end, part.whole)
