"""State of a run: the contents of a checkpoint, and the last good state, to which a broken run rolls back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim import AdamW

from genai_core.config import TrainingConfig
from genai_core.models.protocol import GenerativeModel
from genai_core.training.curves import Curves
from genai_core.training.early_stop import EarlyStop
from genai_core.training.ema import Ema
from genai_core.training.moments import Moments, restore_moments
from genai_core.training.muon import Muon, inner_matrices
from genai_core.training.precision import fabric_precision
from genai_core.training.ranks import Ranks
from genai_core.training.rates import FrozenError
from genai_core.training.rungs import Measured
from genai_core.training.watch import BLOCK_STEPS, LossWatch

State = dict[str, Any]

# A state counts as good after this many further steps without a fault: broken weights show in the losses within one
# block, which may start in the middle of another one.
_PROBATION_STEPS = 2 * BLOCK_STEPS
_ANCHORS = 50  # approximate number per run: a rollback loses about a 50th of it


@dataclass(frozen=True)
class Rollback:
    """A rollback to the last good state: when, how far, and why."""

    at_images: int
    to_images: int
    why: str


@dataclass
class TrainingRun:
    """Everything that changes during a run."""

    model: GenerativeModel
    ema: Ema
    optimizers: dict[str, AdamW]
    watches: dict[str, LossWatch]
    curves: Curves = field(default_factory=Curves)
    early_stop: EarlyStop = field(default_factory=EarlyStop)
    rungs: list[Measured] = field(default_factory=list)
    step: int = 0
    previews: list[tuple[int, Tensor]] = field(default_factory=list)  # images seen, images (10, C, H, W)
    previews_share: float = 0.0  # share of the run up to which previews have been generated
    # Not reset by a rollback:
    seconds: float = 0.0
    evaluation_seconds: float = 0.0
    micro_batch_images: int = 0
    rollbacks: list[Rollback] = field(default_factory=list)
    good: State | None = None
    on_probation: State | None = None

    def phases_at(self, share: float) -> Sequence[str]:
        """Return the model's phases after this share of the run. If all weights of those are frozen, the last ones."""
        phases = [phase for phase in self.model.phases_at(share) if phase in self.optimizers]
        return phases or [phase for phase in self.model.phases_at(1.0) if phase in self.optimizers]

    def parameters(self, phase: str) -> Sequence[Parameter]:
        """Return the parameters that a phase trains."""
        return [parameter for group in self.optimizers[phase].param_groups for parameter in group["params"]]


def begin(
    model: GenerativeModel,
    config: TrainingConfig,
    micro_batch_images: int,
    rates: Mapping[str, float] | None = None,
    moments: Moments | None = None,
    ranks: Ranks | None = None,
) -> TrainingRun:
    """Start a run at step 0. Its start is a good state, unless the config allows no rollbacks.

    rates, moments: as in `train`. ranks: the processes that train together; None: this one alone.
    """
    groups = {phase: _groups(model, phase, rates) for phase in model.phases}
    optimizers = {phase: _optimizer(model, own, config, ranks) for phase, own in groups.items() if own}
    for phase in model.phases_at(1.0):
        if phase not in optimizers:  # low-rank changes have only layers to train, and these may be frozen
            raise FrozenError(f"frozen: nothing of the {phase} is left to train; freeze less (finetune.frozen)")
    if moments is not None:
        restore_moments(model, optimizers, moments)
    watches = {phase: LossWatch() for phase in optimizers}
    run = TrainingRun(model, Ema(model.sampled_network()), optimizers, watches, micro_batch_images=micro_batch_images)
    if config.watch.max_rollbacks:
        run.good = _copied(_progress(run))
    return run


def _optimizer(
    model: GenerativeModel, groups: list[dict[str, Any]], config: TrainingConfig, ranks: Ranks | None
) -> AdamW:
    adam: dict[str, Any] = {
        "lr": config.learning_rate,
        "betas": config.adam_betas,
        "weight_decay": config.weight_decay,
        "fused": True,
    }
    if not config.muon:
        return AdamW(groups, **adam)
    device = next(model.parameters()).device
    dtype = torch.bfloat16 if fabric_precision(config.precision, device) == "bf16-mixed" else torch.float32
    return Muon(groups, inner_matrices(model), dtype, ranks, **adam)


def _groups(model: GenerativeModel, phase: str, rates: Mapping[str, float] | None) -> list[dict[str, Any]]:
    """Return the phase's parameters by the factor of their learning rate, without frozen ones."""
    own = model.phase_parameters(phase)
    if rates is None:
        return [{"params": list(own), "rate_factor": 1.0}]
    factors = {id(parameter): rates.get(name) for name, parameter in model.named_parameters()}
    groups: dict[float, list[Parameter]] = {}
    for parameter in own:
        factor = factors[id(parameter)]
        if factor is not None:
            groups.setdefault(factor, []).append(parameter)
    return [{"params": parameters, "rate_factor": factor} for factor, parameters in groups.items()]


def keep_good_state(run: TrainingRun, total_steps: int) -> None:
    """Copy the state at intervals; a copy counts as good after training has continued from it without a fault.

    The config alone decides at which steps, and copies are stored in checkpoints, so a stopped and resumed run rolls
    back to the same state as an uninterrupted one. Copies are in main memory, not on the GPU.
    """
    if run.good is None:
        return
    if run.on_probation is not None and run.step - run.on_probation["step"] >= _PROBATION_STEPS:
        run.good, run.on_probation = run.on_probation, None
    if run.step % max(2 * _PROBATION_STEPS, total_steps // _ANCHORS) == 0:
        run.on_probation = _copied(_progress(run))


def roll_back(run: TrainingRun, images: int, batch_images: int, why: str) -> None:
    """Return to the last good state. images: seen when the fault was found."""
    if run.good is None:
        raise ValueError("no state to roll back to: training.watch.max_rollbacks is 0")
    run.rollbacks.append(Rollback(images, run.good["step"] * batch_images, why))
    run.on_probation = None
    # Copied, because an optimizer continues in the tensors it is given.
    _set_progress(run, _copied(run.good))


def state_of(run: TrainingRun) -> State:
    """Return the whole run as tensors, numbers, strings, lists and dicts, without copying."""
    return {
        "progress": _progress(run),
        "seconds": run.seconds,
        "evaluation_seconds": run.evaluation_seconds,
        "micro_batch_images": run.micro_batch_images,
        "rollbacks": [vars(rollback) for rollback in run.rollbacks],
        "good": run.good,
        "on_probation": run.on_probation,
    }


def restore(run: TrainingRun, state: State) -> None:
    """Restore a state from `state_of`."""
    _set_progress(run, state["progress"])
    run.seconds, run.evaluation_seconds = state["seconds"], state["evaluation_seconds"]
    run.micro_batch_images = state["micro_batch_images"]
    run.rollbacks = [Rollback(**values) for values in state["rollbacks"]]
    run.good, run.on_probation = state["good"], state["on_probation"]


def _progress(run: TrainingRun) -> State:
    """Return the part of the state that a rollback resets."""
    return {
        "step": run.step,
        "model": run.model.state_dict(),
        "ema": run.ema.state_dict(),
        "optimizers": {phase: optimizer.state_dict() for phase, optimizer in run.optimizers.items()},
        "watches": {phase: watch.state_dict() for phase, watch in run.watches.items()},
        "curves": run.curves.state_dict(),
        "early_stop": run.early_stop.state_dict(),
        "rungs": list(run.rungs),
        "previews": list(run.previews),
        "previews_share": run.previews_share,
    }


def _set_progress(run: TrainingRun, state: State) -> None:
    run.step = state["step"]
    run.model.load_state_dict(state["model"])
    run.ema.load_state_dict(state["ema"])
    for phase, optimizer in run.optimizers.items():
        optimizer.load_state_dict(state["optimizers"][phase])
    run.watches = {phase: LossWatch(**values) for phase, values in state["watches"].items()}
    run.curves = Curves(**state["curves"])
    run.early_stop = EarlyStop(**state["early_stop"])
    run.rungs = list(state["rungs"])
    run.previews, run.previews_share = list(state["previews"]), state["previews_share"]


def _copied(value: Any) -> Any:
    """Copy `value` deeply; tensors are copied to main memory."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True, memory_format=torch.preserve_format)
    if isinstance(value, dict):
        return {name: _copied(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_copied(item) for item in value)
    return value
