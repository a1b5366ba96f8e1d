import json

import numpy as np
import pytest

from genai_core.exploring.directions import Direction
from genai_core.exploring.directions_folder import load_directions, save_directions

DIRECTIONS = (
    Direction("slant", "attribute", "from left to right", -3.5, 3.5, 1.2, 1.0, np.eye(3, dtype=np.float32)[0]),
    Direction("towards a", "class", "from the picture's own class to a", 0.0, 1.0, 0.9, 1.0, target=0),
)


def test_directions_are_read_as_they_were_written(tmp_path):
    save_directions(tmp_path / "d", DIRECTIONS)
    slant, towards = load_directions(tmp_path / "d")
    assert np.array_equal(slant.vector, DIRECTIONS[0].vector)
    assert (slant.name, slant.high, slant.effect, slant.accuracy) == ("slant", 3.5, 1.2, None)
    assert towards == DIRECTIONS[1]


def test_none_at_all_can_be_written(tmp_path):
    save_directions(tmp_path / "d", ())
    assert load_directions(tmp_path / "d") == ()


def test_missing_and_damaged_files_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_directions(tmp_path)
    save_directions(tmp_path / "d", DIRECTIONS)
    path = tmp_path / "d" / "directions.json"
    values = json.loads(path.read_text())
    for damaged in ("{", json.dumps({**values, "format": 0}), json.dumps({**values, "directions": [{"a": 1}]})):
        path.write_text(damaged)
        with pytest.raises(ValueError, match="not the directions of a model"):
            load_directions(tmp_path / "d")
    path.write_text(json.dumps(values))
    (tmp_path / "d" / "vectors.safetensors").write_bytes(b"1234567890")
    with pytest.raises(ValueError, match="not the directions of a model"):
        load_directions(tmp_path / "d")
