"""One thing that `genai doctor` looked at."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Check:
    """What was found, and what to do."""

    name: str
    status: Literal["ok", "warn", "fail"]
    found: str
    todo: str = ""
