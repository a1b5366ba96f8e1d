"""Parts shared by all sections: strictness, and the types of values."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, StringConstraints

from genai_core import GenaiError

PARAMS_FILE = "params.yaml"

# Exit status of a task after a fault in its input or config: a retry without a change would fail again.
NEEDS_MANUAL_ACTION = 2
# Exit status of a task after a fault of its machine, such as a full disk: neither input nor config is at fault. It is
# EX_IOERR of sysexits.h.
MACHINE_FAULT = 74

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Level = Annotated[int, Field(ge=0, le=255)]
PositiveInt = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Beta = Annotated[float, Field(ge=0.0, lt=1.0)]
# At least the first 8 digits, the number that torch's hub puts into file names.
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8,64}$")]
LearningRate = Annotated[float, Field(gt=0.0, le=1.0)]
AUTO = "auto"
Auto = Literal["auto"]


def auto_or_own(value: Any) -> str:
    """Return the tag of the branch that checks a value: AUTO_TAG for the word auto, else OWN_TAG."""
    return AUTO_TAG if value == AUTO else OWN_TAG


# Tags of the two branches of a key that is auto or a value of its own, as in Annotated[Annotated[Auto, Tag(AUTO_TAG)] |
# Annotated[float, Tag(OWN_TAG)], AUTO_OR_OWN]. Without them, a fault would be reported once for each branch.
AUTO_TAG, OWN_TAG = "[auto]", "[own]"
AUTO_OR_OWN = Discriminator(auto_or_own)


def as_written(value: Any) -> str:
    """Return a value for a message, as YAML writes it: null and true instead of Python's None and True."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else repr(value)


class ConfigError(GenaiError, ValueError):
    """params.yaml cannot be used; the message has one line per fault: key, value, what is allowed."""


class Section(BaseModel):
    """A mapping in params.yaml: immutable, no unknown keys, finite numbers only, no silent conversions."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
