"""One step of training: a batch through all phases, in parts where it does not fit, and into the average."""

from contextlib import AbstractContextManager, nullcontext

import torch
from lightning.fabric import Fabric
from torch import Tensor

from genai_core.config import TrainingConfig
from genai_core.data.loader import Batch
from genai_core.models.protocol import Part, to_unit
from genai_core.training.curves import Row
from genai_core.training.ema import ema_decay
from genai_core.training.noise import WholeBatchNoise, draw_seed
from genai_core.training.ranks import Ranks
from genai_core.training.run import Run
from genai_core.training.schedule import learning_rate_share


class DoesNotFitError(ValueError):
    """Not even one image at a time fits into the device's memory."""


class Stepper:
    """Takes the steps of one run on one process."""

    def __init__(self, fabric: Fabric, ranks: Ranks, config: TrainingConfig) -> None:
        self._fabric, self._ranks, self._config = fabric, ranks, config
        # On the GPU: noise drawn by the processor would take longer than a step of a small network.
        self._generator = torch.Generator(fabric.device)

    def step(self, run: Run, batch: Batch, share: float) -> Row:
        """Learn from one batch; `share` of the run was over before it. The figures of all phases.

        Raises BrokenLossError for a loss that must not be learned from, and DoesNotFitError.
        """
        config, model, ranks = self._config, run.model, self._ranks
        whole = len(batch.images)
        part = ranks.part(whole)
        images = to_unit(batch.images[part.start : part.stop])
        labels = None if batch.labels is None else batch.labels[part.start : part.stop]
        seen = run.step * config.batch_images
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
            names, sums = self._gradients(run, phase, images, labels, first=part.start, whole=whole, seed=seed)
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
        run.ema.update(ema_decay(whole, seen, config.ema_halflife_images))
        return figures

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
        names: list[str] = []
        parts = []
        for start in range(0, len(images), run.micro_batch_images):
            end = min(start + run.micro_batch_images, len(images))
            share = (end - start) / whole
            self._generator.manual_seed(seed)
            run.model.part = Part(first + start, first + end, whole)
            with _noise(first + start, first + end, whole), self._fabric.autocast():
                loss = run.model.loss(
                    phase, images[start:end], None if labels is None else labels[start:end], self._generator
                )
            names = list(loss.figures)
            # Parts of a mean: their gradients and figures add up to the whole batch's.
            (loss.value * share if share < 1.0 else loss.value).backward()  # type: ignore[no-untyped-call]
            value = loss.value.detach().float()
            # A family may have made a figure on the processor.
            parts.append(torch.stack([value, *(figure.float().to(value.device) for figure in loss.figures.values())]))
            parts[-1] = parts[-1] * share
        return names, torch.stack(parts).sum(dim=0)


def _noise(first: int, end: int, whole: int) -> AbstractContextManager[object]:
    return nullcontext() if end - first == whole else WholeBatchNoise(first, end, whole)
