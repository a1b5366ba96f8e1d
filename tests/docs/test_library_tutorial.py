"""The tutorial of the library, block by block, with an untrained model in the place of the demo's."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from genai_core.config import load_config
from genai_core.image_size import ImageSize
from genai_core.models.artifact import build_model, save_model
from genai_core.models.protocol import ImageShape
from tests.docs.tutorials import FOLDER, execute
from tests.test_rooms import ROOT

DIGITS = ImageShape(image_size=ImageSize.square(16), channels=1, classes=tuple("0123456789"))


def test_every_block_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _write_model(tmp_path / "models" / "candidate")
    left = execute(FOLDER / "library.md", tmp_path)
    assert len(left["images"]) == 30
    with Image.open("seven.png") as seven:
        assert seven.size == (128, 128)
    assert left["images"].provenance.model_sha256 in Path("drawn/provenance.json").read_text()
    assert left["distance"].compute() > 0


def _write_model(folder: Path) -> None:
    """A small diffusion model that has learned nothing, with the demo's sampling options in three steps."""
    folder.mkdir(parents=True)
    recipe = load_config(ROOT / "params.yaml").model("diffusion")
    small = recipe.model_copy(update={"network": recipe.network.model_copy(update={"width": 8})})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        save_model(folder, build_model(small, DIGITS), small, dataset="d" * 64, training_summary={})
    sampling = {**recipe.sampling.model_dump(mode="json"), "steps": 3}
    (folder / "selection.json").write_text(json.dumps({"sampling": sampling}))
