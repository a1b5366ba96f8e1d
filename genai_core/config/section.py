"""What all sections share: how strict they are, and the types of their values."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from genai_core import GenaiError

PARAMS_FILE = "params.yaml"

# A task's exit status for a fault of its input or config: running it again without a change would only fail again.
NEEDS_A_PERSON = 2

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Level = Annotated[int, Field(ge=0, le=255)]
PositiveInt = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Beta = Annotated[float, Field(ge=0.0, lt=1.0)]
# The first 8 digits or more: torch's hub names files by as many.
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8,64}$")]
LearningRate = Annotated[float, Field(gt=0.0, le=1.0)]


class ConfigError(GenaiError, ValueError):
    """params.yaml cannot be used; the message has one line a fault: the key, its value, what is allowed."""


class Section(BaseModel):
    """One mapping of params.yaml: immutable, unknown keys refused, finite numbers only, no silent conversions."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
