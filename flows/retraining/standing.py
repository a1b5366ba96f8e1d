"""What is in production when a retraining ends. It ran for hours, and its own promotion may be followed by an error."""

from dataclasses import dataclass
from pathlib import Path

from flows.git import remote_of
from flows.registry.read import read_registry
from flows.registry.write import newer_tags
from genai_core import GenaiError


@dataclass(frozen=True)
class Standing:
    """version: what is in production, "" for nothing, None if it could not be read. sentence: for people."""

    version: str | None
    sentence: str


def standing_now(workspace: Path, before: str) -> Standing:
    """Read the registry again. before: the version in production when the retraining began; "": none.

    Asks the git remote too, as another clone may have moved production. If it does not answer, this clone's tags count.
    Raises nothing that a user can act on: an error is part of the sentence.
    """
    fault = ""
    try:
        remote = remote_of(workspace)
        if remote:
            newer_tags(workspace, remote)
    except GenaiError as error:
        fault = f" (by this clone alone: {error})"
    try:
        move = read_registry(workspace).production()
    except GenaiError as error:
        return Standing(None, f"What is in production is unknown: {error}; see genai history")
    version = move.version if move else ""
    if version == before:
        return Standing(version, f"Production is unchanged: {before or 'none'}{fault}")
    return Standing(version, f"Production has moved: {version or 'none'}, before {before or 'none'}{fault}")
