from pathlib import Path

import torch

from genai_core.exploring.directions_folder import load_directions
from genai_core.models.artifact import build_model, save_model
from tasks.directions import write_directions
from tests.models.tiny import SHAPE, gan_recipe


def test_the_directions_of_a_model_are_written_as_a_whole(tmp_path: Path) -> None:
    torch.manual_seed(1)
    recipe = gan_recipe()
    (tmp_path / "gan").mkdir()
    save_model(tmp_path / "gan", build_model(recipe, SHAPE), recipe, dataset="d" * 64, training_summary={})
    out = tmp_path / "cache" / "found"
    write_directions(tmp_path / "gan", out, "cpu")
    assert [path.name for path in out.parent.iterdir()] == ["found"]
    found = load_directions(out)
    assert [direction.name for direction in found if direction.kind == "class"] == [
        "towards a",
        "towards b",
        "towards c",
    ]
    vectors = [direction.vector for direction in found if direction.vector is not None]
    assert vectors
    assert all(vector.shape == (4,) for vector in vectors)
    # Another server may have been as quick.
    write_directions(tmp_path / "gan", out, "cpu")
    assert [path.name for path in out.parent.iterdir()] == ["found"]
