from pathlib import Path

import numpy as np
import pytest

from genai_core.exploring.directions import Direction
from genai_core.exploring.directions_folder import save_directions
from tasks.serving.errors import InputFault, ModelFault
from tasks.serving.moves import moved


@pytest.fixture
def folder(tmp_path: Path) -> str:
    vector = np.array([0.6, 0.8, 0.0], np.float32)
    directions = (
        Direction("slant", "attribute", "", -3.5, 3.5, 1.0, 1.0, vector),
        Direction("width", "attribute", "", -3.5, 3.5, 1.0, 1.0, np.array([0, 0, 1], np.float32)),
        Direction("towards b", "class", "", 0.0, 1.0, 1.0, 1.0, target=1),
    )
    save_directions(tmp_path / "directions", directions)
    return str(tmp_path / "directions")


def test_moves_add_up(folder: str) -> None:
    noise, weights = np.ones((1, 3), np.float32), np.array([[1, 0]], np.float32)
    amounts = {"slant": 2.0, "width": -1.0, "towards b": 0.25}
    noise, weights = moved(noise, weights, {"folder": folder, "amounts": amounts})
    assert noise == pytest.approx(np.array([[2.2, 2.6, 0.0]]))
    assert weights is not None
    assert weights.tolist() == [[0.75, 0.25]]


def test_an_unknown_direction_is_refused(folder: str) -> None:
    with pytest.raises(InputFault, match="no such direction: 'age'"):
        moved(np.ones((1, 3), np.float32), None, {"folder": folder, "amounts": {"age": 1.0}})


def test_a_missing_folder_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(ModelFault):
        moved(np.ones((1, 3), np.float32), None, {"folder": str(tmp_path / "none"), "amounts": {}})
