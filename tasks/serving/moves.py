"""Noise and class weights of a drawing, moved along directions that `tasks.directions` found."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from genai_core.exploring.directions import Direction
from genai_core.exploring.directions_folder import load_directions
from genai_core.exploring.population import Noise, Weights
from tasks.serving.errors import InputFault, ModelFault

_KEPT = 16  # models: a vector is as large as one image


def moved(noise: Noise, weights: Weights, moves: Mapping[str, Any]) -> tuple[Noise, Weights]:
    """Return noise (N, *noise_shape) and class weights (N, classes) after all moves.

    moves: `folder` of the directions, and `amounts` by name. Raises InputFault for a name that is not in the folder,
    ModelFault for a damaged folder.
    """
    try:
        known = _known(moves["folder"])
    except (FileNotFoundError, ValueError) as error:
        raise ModelFault(str(error), code="no_directions") from None
    for name, amount in moves["amounts"].items():
        if name not in known:
            raise InputFault(f"directions: no such direction: {name!r}", param="directions")
        noise, weights = known[name].move(noise, weights, amount)
    return noise, weights


@lru_cache(_KEPT)
def _known(folder: str) -> dict[str, Direction]:
    return {direction.name: direction for direction in load_directions(Path(folder))}
