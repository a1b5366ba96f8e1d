"""Parts shared by all sections: strictness, and the types of values."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from genai_core import GenaiError

PARAMS_FILE = "params.yaml"

# Exit status of a task after a fault in its input or config: a retry without a change would fail again.
NEEDS_MANUAL_ACTION = 2

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Level = Annotated[int, Field(ge=0, le=255)]
PositiveInt = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Beta = Annotated[float, Field(ge=0.0, lt=1.0)]
# At least the first 8 digits, the number that torch's hub puts into file names.
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8,64}$")]
LearningRate = Annotated[float, Field(gt=0.0, le=1.0)]


class ConfigError(GenaiError, ValueError):
    """params.yaml cannot be used; the message has one line per fault: key, value, what is allowed."""


class Section(BaseModel):
    """A mapping in params.yaml: immutable, no unknown keys, finite numbers only, no silent conversions."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
