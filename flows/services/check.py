"""The result of one check of `genai doctor`."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Check:
    """What the check found, and what to do."""

    name: str
    status: Literal["ok", "warn", "fail"]
    found: str
    todo: str = ""
