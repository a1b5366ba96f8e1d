"""Directions on disk: directions.json says what they do, vectors.safetensors has their vectors."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from genai_core.exploring.directions import Direction

FORMAT = 2  # raised too when a search finds other directions or ranges, so that those in caches are found anew
DIRECTIONS_FILE, VECTORS_FILE = "directions.json", "vectors.safetensors"


def save_directions(folder: Path, directions: Sequence[Direction]) -> None:
    """Write both files into a new folder. Raises FileExistsError when it exists."""
    folder.mkdir(parents=True)
    vectors = {direction.name: direction.vector for direction in directions if direction.vector is not None}
    save_file(vectors, folder / VECTORS_FILE)
    values = [{key: value for key, value in asdict(item).items() if key != "vector"} for item in directions]
    (folder / DIRECTIONS_FILE).write_text(json.dumps({"format": FORMAT, "directions": values}, indent=2) + "\n")


def load_directions(folder: Path) -> tuple[Direction, ...]:
    """Read both files. Raises FileNotFoundError or ValueError when one is missing or damaged."""
    try:
        values = json.loads((folder / DIRECTIONS_FILE).read_text())
        if values["format"] != FORMAT:
            raise ValueError(f"expected format {FORMAT}, got {values['format']!r}")
        vectors = load_file(folder / VECTORS_FILE)
        found = tuple(Direction(**item) for item in values["directions"])
        return tuple(replace(item, vector=None if item.kind == "class" else vectors[item.name]) for item in found)
    except (KeyError, TypeError, ValueError, SafetensorError) as error:
        raise ValueError(f"{folder}: not the directions of a model ({error}); delete it, and ask again") from None
