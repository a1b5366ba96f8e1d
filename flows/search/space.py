"""The space of a search: which keys of params.yaml vary, over which values, for whose figures."""

import json
import math
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.dvc_lock import parsed_yaml
from flows.search import SearchError
from flows.workspace import checked_config
from genai_core.config import AUTO, PARAMS_FILE, Config, RangeConfig, fault_at
from genai_core.config.search import is_same
from genai_core.config.section import as_written

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

_DIGITS = 3  # significant ones of a number that is tried
_MOST_CHECKED = 64  # of the whole numbers in a range
# Keys that change nothing unless another key has one of these values.
_ONLY_WITH = (
    ("finetune.lora.", "finetune.kind", ("lora",)),
    ("finetune.few_step.", "finetune.kind", ("few_step",)),
    ("finetune.images", "finetune.start", ("base",)),  # the selected model was trained on this very split
    ("finetune.old_classes", "finetune.start", ("base",)),  # and has no new classes
    ("finetune.old_classes", "finetune.kind", ("full", "lora")),  # a few-step model has the classes of its teacher
    ("finetune.replay_share", "finetune.images", ("replay",)),
    ("finetune.replay_share", "finetune.start", ("base",)),
)
# Only the stage candidate reads these keys, and no trial makes one.
_AFTER_TRIALS = ("finetune.few_step.worst_ratio",)
# Keys of these sections decide how good a model's figures look, not how good it is.
_YARDSTICK = ("data", "extractor", "evaluation", "robustness", "selection")


@dataclass(frozen=True)
class Target:
    """Whose figures a search improves. stage: the last one that a trial needs. metrics, cost: its files."""

    model: str
    stage: str
    trains: str

    @property
    def metrics(self) -> str:
        return "metrics/finetuned.json" if self.stage == "evaluate-finetuned" else f"metrics/trained/{self.model}.json"

    @property
    def cost(self) -> str:
        return f"metrics/cost/{self.stage}.json"

    @property
    def samples(self) -> str:
        where = "finetuned" if self.stage == "evaluate-finetuned" else f"trained/{self.model}"
        return f"plots/evaluated/{where}/samples.png"


@dataclass(frozen=True)
class Settings:
    """What a search reads in params.yaml. values: the whole file as plain values."""

    config: Config
    values: Mapping[str, Any]
    target: Target


def checked_settings(workspace: Path) -> Settings:
    """Read params.yaml. Raises ConfigError, or SearchError with one line per fault of the space."""
    config = checked_config(workspace)
    values = parsed_yaml((workspace / PARAMS_FILE).read_bytes(), PARAMS_FILE)
    return Settings(config, values, checked_target(config, values))


def checked_target(config: Config, values: Mapping[str, Any]) -> Target:
    """Return what the search of a params.yaml is for. Raises SearchError with one line per fault.

    values: the file's contents as plain values, in which each key of the space must be.
    """
    search = config.search
    if not search.space:
        raise SearchError(
            f"search.space in {PARAMS_FILE} is empty; write ranges there, such as "
            "models.gan.training.learning_rate: {low: 1.0e-4, high: 1.0e-2, log: true} (docs/search.md)"
        )
    faults = [fault for key, given in search.space.items() if (fault := _fault(key, given, values))]
    faults += filter(None, (_without_effect(key, search.space, values) for key in search.space))
    if fault := _seeds_fault(config):
        faults.append(fault)
    if faults:
        raise SearchError("\n".join(faults))
    varied = {key.split(".")[1] for key in search.space if key.startswith("models.")}
    if search.model is not None:
        if search.model not in config.models:
            raise SearchError(f"search.model: no model {search.model}; available: {', '.join(config.models)}")
        if others := varied - {search.model}:
            raise SearchError(
                f"search.space has keys of {', '.join(sorted(others))}, which do not change the figures of "
                f"search.model, {search.model}"
            )
        varied = {search.model}
    if any(key.startswith("finetune.") for key in search.space):
        if search.model is not None:
            raise SearchError(
                f"search.model is {search.model}, but with keys of finetune in search.space the fine-tuned model's "
                "figures count; write null"
            )
        return Target("finetuned", "evaluate-finetuned", "finetune")
    if not varied and len(config.models) == 1:
        varied = set(config.models)
    if len(varied) != 1:
        what = f"keys of {', '.join(sorted(varied))}" if varied else "no key of a model"
        raise SearchError(f"search.space has {what}; a search improves one model: name it in search.model")
    (model,) = varied
    return Target(model, f"evaluate@{model}", f"train@{model}")


def _fault(key: str, given: RangeConfig, values: Mapping[str, Any]) -> str | None:
    section = key.partition(".")[0]
    where = f"search.space: {key}"
    if section in _YARDSTICK:
        return f"{where}: {section} is part of the yardstick, so trials could not be compared; take it out"
    if section not in ("models", "augment", "finetune"):
        return f"{where}: no trained model depends on {section}; allowed: keys of models, augment and finetune"
    try:
        present = value_at(values, key)
    except KeyError:
        return f"{where}: {PARAMS_FILE} has no such key"
    if key in _AFTER_TRIALS:
        return f"{where}: it changes no trial, only which model becomes the candidate afterwards; take it out"
    if section == "models" and key.endswith(".family"):
        return f"{where}: other keys depend on it; add a model of the other family, and `genai run` compares both"
    if isinstance(present, dict):
        return f"{where}: this is a section; name a key in it, such as {key}.{next(iter(present), 'KEY')}"
    is_number = not isinstance(present, bool) and isinstance(present, int | float | None)
    if given.choices is None and not is_number and not (section == "finetune" and present == AUTO):
        return f"{where}: low and high are for numbers, and the value is {as_written(present)}; write choices"
    if isinstance(present, int) and not isinstance(present, bool) and given.choices is None and not given.is_int:
        return f"{where}: whole numbers only, such as {present}; write low and high as whole numbers"
    return next(_forbidden(key, given, values), None)


def _without_effect(key: str, space: Mapping[str, RangeConfig], values: Mapping[str, Any]) -> str | None:
    """Say that a key changes nothing in any trial, so that they would all measure the same."""
    for start, other, needed in _ONLY_WITH:
        if not key.startswith(start):
            continue
        found = space[other].choices if other in space else [value_at(values, other)]
        if not set(needed) & set(found or ()):
            has = ", ".join(map(str, found or ()))
            return f"search.space: {key}: it changes nothing unless {other} is {' or '.join(needed)}, and it is {has}"
    return None


def _seeds_fault(config: Config) -> str | None:
    """What is wrong with the seeds that the winner is measured again with: no trial may have used them."""
    first, images, fresh = config.evaluation.seed, config.evaluation.total_images, config.search.fresh_seed
    after = first + images
    if not first - images < fresh < after:
        return None
    return (
        f"search.fresh_seed: got {fresh}; the winner is measured again with {images:,} seeds from there on, and the "
        f"trials with {first} to {after - 1} (evaluation.seed, evaluation.total_images). Some are the same; write "
        f"{after}"
    )


def _forbidden(key: str, given: RangeConfig, values: Mapping[str, Any]) -> Iterator[str]:
    """Values of a range that params.yaml may not have, whatever its other keys are: each of their trials would fail."""
    tried = given.choices if given.choices is not None else [given.low, given.high]
    if isinstance(given.low, int) and isinstance(given.high, int):
        # Whole numbers may have to be multiples, or some of a few.
        tried = [*tried, *range(given.low, given.high, int(given.step or 1))[:_MOST_CHECKED]]
    for value in tried:
        changed = deepcopy(dict(values))
        section, _, name = key.rpartition(".")
        value_at(changed, section)[name] = value
        if (fault := fault_at(changed, key)) is not None:
            yield f"search.space: {fault.removeprefix(f'{PARAMS_FILE}: ')}"


def value_at(values: Mapping[str, Any], key: str) -> Any:
    """Return the value of a dotted name. Raises KeyError."""
    found: Any = values
    for name in key.split("."):
        if not isinstance(found, Mapping):
            raise KeyError(key)
        found = found[name]
    return found


def suggested(trial: "BaseTrial", space: Mapping[str, RangeConfig], *, exact: bool = False) -> dict[str, Any]:
    """Ask the study for a trial's values, by dotted name. A key whose `when` does not hold is left out.

    exact: do not round: the values are the present ones, which nobody drew.
    """
    found: dict[str, Any] = {}
    for key, given in space.items():
        if not _applies(given, found):
            continue
        if given.choices is not None:
            label = trial.suggest_categorical(key, [label_of(choice) for choice in given.choices])
            found[key] = next(choice for choice in given.choices if label_of(choice) == label)
        elif given.is_int:
            assert isinstance(given.low, int)
            assert isinstance(given.high, int)
            step = given.step if isinstance(given.step, int) else 1
            found[key] = trial.suggest_int(key, given.low, given.high, step=step, log=given.log)
        else:
            assert given.low is not None
            assert given.high is not None
            value = trial.suggest_float(key, given.low, given.high, step=given.step, log=given.log)
            found[key] = value if exact else min(max(_rounded(value, given), given.low), given.high)
    return found


def _rounded(value: float, given: RangeConfig) -> float:
    """Round to what a person can read and compare, but so that a narrow range still has a hundred values."""
    assert given.low is not None
    assert given.high is not None
    if given.step is not None:  # only what adding steps left behind the 12th digit
        return float(f"{value:.12g}")
    size = min(abs(value), given.high - given.low) or 1.0
    return round(value, _DIGITS - 1 - math.floor(math.log10(size)))


def present_in(values: Mapping[str, Any], space: Mapping[str, RangeConfig]) -> dict[str, Any] | str:
    """Return the present settings as values to suggest; or, if they lie outside the space, the first key that does."""
    suggestions: dict[str, Any] = {}
    found: dict[str, Any] = {}
    for key, given in space.items():
        if not _applies(given, found):
            continue
        value = value_at(values, key)
        if given.choices is not None:
            same = [choice for choice in given.choices if is_same(choice, value)]
            if not same:
                return key
            suggestions[key] = label_of(same[0])
        else:
            assert given.low is not None
            assert given.high is not None
            if value in (None, AUTO) or not given.low <= value <= given.high or not given.is_at_a_step(value):
                return key
            suggestions[key] = value
        found[key] = value
    return suggestions


def values_otherwise(values: Mapping[str, Any], space: Mapping[str, RangeConfig]) -> dict[str, Any]:
    """The present values of keys with `when`, which the trials have for which that does not hold."""
    return {key: value_at(values, key) for key, given in space.items() if given.when}


def label_of(choice: Any) -> str:
    """The name of a choice in the study, which keeps texts only: 0 and false stay different."""
    return choice if isinstance(choice, str) else json.dumps(choice)


def _applies(given: RangeConfig, found: Mapping[str, Any]) -> bool:
    return all(
        key in found and any(is_same(found[key], value) for value in allowed)
        for key, allowed in (given.when or {}).items()
    )
