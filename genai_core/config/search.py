"""What `genai search` tries: `search:`. No stage depends on it."""

import math
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from genai_core.config.section import PositiveInt, Section, Seed, as_written

# A key of params.yaml by its dotted name, such as models.gan.training.learning_rate.
DottedName = Annotated[str, StringConstraints(pattern=r"^[a-z_]+(\.[a-z0-9_-]+)+$")]
Scalar = bool | int | float | str | None


def _number(value: Any) -> Any:
    """Check a number here: of a union, pydantic reports a fault once for each member."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("a number")
    if not math.isfinite(value):
        raise ValueError("a finite number")
    return value


def _choice(value: Any) -> Any:
    """Check a choice here, likewise."""
    if not all(isinstance(part, Scalar) for part in (value if isinstance(value, list) else [value])):
        raise ValueError("a number, text, true, false, null, or a list of these")
    return value


Number = Annotated[int | float, BeforeValidator(_number)]
Choice = Annotated[Scalar | list[Scalar], BeforeValidator(_choice)]
_LAST_SHARE = 0.5  # of a training, for rungs behind the first one
Objective = Literal["distance", "seconds_per_image"]


def is_same(one: Any, other: Any) -> bool:
    """Whether two values of params.yaml are the same. In Python, 1 and true are, too."""
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


class RangeConfig(Section):
    """The values to try for one key: a range (low, high), or choices. `when`: only with these values of another key."""

    low: Number | None = None
    high: Number | None = None
    log: bool = False
    step: Number | None = None
    choices: list[Choice] | None = None
    when: dict[DottedName, Annotated[list[Choice], Field(min_length=1)]] | None = None

    @model_validator(mode="before")
    @classmethod
    def _has_known_keys(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            raise ValueError("a range such as {low: 0.1, high: 0.9}, or {choices: [1, 2]}")
        if unknown := [str(key) for key in values if key not in cls.model_fields]:
            raise ValueError(f"unknown: {', '.join(unknown)}; allowed: {', '.join(cls.model_fields)}")
        return values

    @model_validator(mode="after")
    def _is_a_range_or_choices(self) -> "RangeConfig":
        if self.choices is not None:
            if any(value is not None for value in (self.low, self.high, self.step)) or self.log:
                raise ValueError("choices stand alone: no low, high, log or step beside them")
            if len(self.choices) < 2:
                raise ValueError(f"choices: got {len(self.choices)}; allowed: two or more values")
            if len({repr(choice) for choice in self.choices}) < len(self.choices):
                raise ValueError("choices: the same value stands there twice")
            return self
        if self.low is None or self.high is None:
            raise ValueError("write low and high, or choices")
        if not self.low < self.high:
            raise ValueError(f"low is {self.low:g} and high is {self.high:g}; allowed: low below high")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError("log: true needs low above 0, and no step")
        if self.step is not None and not 0 < self.step <= self.high - self.low:
            raise ValueError(f"step: got {self.step:g}; allowed: above 0, at most high - low")
        if self.is_int and self.step is not None and not isinstance(self.step, int):
            raise ValueError(f"step: got {self.step:g}; allowed: a whole number, as low and high are")
        if self.step is not None and not self.is_at_a_step(self.high):
            raise ValueError(f"step: got {self.step:g}; allowed: steps that lead from low, {self.low:g}, to high")
        return self

    def is_at_a_step(self, value: float) -> bool:
        """Whether a value between low and high is one that is tried. Without a step, each is."""
        if self.step is None or self.low is None:
            return True
        steps = (value - self.low) / self.step
        return abs(steps - round(steps)) < 1e-6

    @property
    def is_int(self) -> bool:
        """Whether only whole numbers are tried: low and high are written as such."""
        return isinstance(self.low, int) and isinstance(self.high, int)


class PruningConfig(Section):
    """Successive halving: at each rung, trials outside the best 1/reduction end. Rungs are reduction times apart.

    There is none in the second half of a training: it saves little, and the best trials are so close to each other by
    then that the rung's few images confuse them (benchmarks/README.md).
    """

    first_share: float = Field(gt=0.0, lt=1.0, description="share of the training at the first rung")
    reduction: int = Field(ge=2, le=10)
    images: int = Field(ge=2, description="generated at a rung, and compared with as many training images")

    @property
    def rungs(self) -> tuple[float, ...]:
        """The shares of a training at which it is compared with the others, rising: 0.1, 0.3."""
        further = math.floor(math.log(_LAST_SHARE / self.first_share, self.reduction) + 1e-9)
        return tuple(self.first_share * self.reduction**rung for rung in range(max(0, further) + 1))


class SearchConfig(Section):
    """A search for better settings (flows/search). The options of `genai search` say how long."""

    space: dict[DottedName, RangeConfig] = Field(description="ranges by dotted name; {}: nothing to search yet")
    model: str | None = Field(description="whose figures count; null: the model whose keys are in the space")
    objectives: tuple[Objective, ...] = Field(min_length=1, max_length=2, strict=False, description="distance first")
    sampler: Literal["tpe", "random"] = Field(description="tpe learns from the trials before; random does not")
    pruning: PruningConfig | None = Field(description="null: every trial trains to its end")
    startup_trials: PositiveInt = Field(description="random trials before tpe begins to learn")
    seed: Seed = Field(description="of the sampler")
    fresh_seed: Seed = Field(description="evaluation.seed with which the winner is measured again")

    @model_validator(mode="after")
    def _distance_comes_first(self) -> "SearchConfig":
        if self.objectives[0] != "distance" or len(set(self.objectives)) < len(self.objectives):
            raise ValueError("objectives: allowed: [distance], or [distance, seconds_per_image]")
        return self

    @model_validator(mode="after")
    def _conditions_name_earlier_keys(self) -> "SearchConfig":
        before: list[str] = []
        for key, values in self.space.items():
            for other, allowed in (values.when or {}).items():
                if other not in before:
                    raise ValueError(f"space.{key}.when: {other} is not a key of the space above this one")
                choices = self.space[other].choices
                if choices is None:
                    raise ValueError(f"space.{key}.when: {other} has no choices; conditions name some of them")
                if missing := [value for value in allowed if not any(is_same(value, choice) for choice in choices)]:
                    raise ValueError(f"space.{key}.when: {as_written(missing[0])} is not among the choices of {other}")
            before.append(key)
        return self
