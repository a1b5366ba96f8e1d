"""The library's public interface."""

import json
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import genai_core
from genai_core.model import SELECTION_FILE, load_model
from genai_core.models.artifact import build_model, save_model
from genai_core.models.artifact import load_model as load_network
from genai_core.sampling.batch import read_images, read_manifest
from tests.models.tiny import RECIPES, SHAPE

FAMILIES = sorted(RECIPES)


def saved(folder: Path, family: str = "gan", **selection) -> Path:
    torch.manual_seed(0)
    folder.mkdir()
    save_model(folder, build_model(RECIPES[family](), SHAPE), RECIPES[family](), dataset="abc", training_summary={})
    if selection:
        (folder / SELECTION_FILE).write_text(json.dumps(selection))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return saved(tmp_path / "model")


def test_the_public_names():
    assert genai_core.__all__ == ["GenaiError", "Images", "Model", "ModelError", "__version__", "load_model"]
    assert dir(genai_core) == genai_core.__all__
    assert all(getattr(genai_core, name) for name in genai_core.__all__)
    assert genai_core.__version__ == version("genai-pipeline")
    with pytest.raises(AttributeError, match="no attribute 'other'"):
        genai_core.other  # noqa: B018
    assert (Path(genai_core.__file__).parent / "py.typed").is_file()


def test_importing_it_does_not_load_torch():
    code = "import sys, genai_core; genai_core.__version__; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("family", FAMILIES)
def test_drawn_images_are_those_of_the_network(tmp_path: Path, family: str):
    folder = saved(tmp_path / "m", family)
    model = genai_core.load_model(folder, device="cpu")
    images = model.draw(3, classes="c", seed=7, batch_images=2)
    network = load_network(folder)
    labels, seeds = torch.full((3,), SHAPE.classes.index("c")), torch.arange(7, 10)
    assert np.array_equal(images.pixels, network.sample(labels, seeds, network.preview_sampling).numpy())
    assert (model.family, model.classes, model.shape) == (family, SHAPE.classes, (1, 8, 8))
    assert str(model.device) == "cpu"
    assert (images.seeds.tolist(), images.labels.tolist()) == ([7, 8, 9], labels.tolist())


def test_classes_by_name_by_number_and_in_rotation(folder: Path):
    model = load_model(folder)
    assert model.draw(4).labels.tolist() == [index % len(SHAPE.classes) for index in range(4)]
    assert model.draw(2, classes=[SHAPE.classes[1], 0]).labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"classes": "bird"}, "classes: no such class: 'bird'; available: a, b, c"),
        ({"classes": 3}, "classes: no such class: 3; available: a, b, c"),
        ({"classes": -1}, "classes: no such class: -1"),
        ({"classes": ["a"]}, "expected one, or one for each of 16 images, got 1"),
        ({"images": 0}, "images: expected at least 1, got 0"),
        ({"temperature": 1.0}, "gan has no option temperature; available: truncation"),
        ({"truncation": -1}, "sampling of gan: truncation: "),
    ],
)
def test_arguments_that_do_not_fit_the_model_are_refused(folder: Path, given: dict, message: str):
    with pytest.raises(genai_core.ModelError, match=message):
        load_model(folder).draw(**given)


def test_a_model_without_classes(tmp_path: Path):
    shape = replace(SHAPE, classes=())
    (tmp_path / "m").mkdir()
    save_model(tmp_path / "m", build_model(RECIPES["gan"](), shape), RECIPES["gan"](), dataset="", training_summary={})
    model = load_model(tmp_path / "m")
    assert model.draw(2).labels is None
    with pytest.raises(genai_core.ModelError, match="this model has none"):
        model.draw(2, classes="a")


def test_the_selected_sampling_is_used_and_can_be_replaced(tmp_path: Path):
    folder = saved(tmp_path / "m", sampling={"truncation": 0.5})
    model = load_model(folder)
    assert model.draw(1).provenance.sampling == {"truncation": 0.5}
    other = model.draw(1, truncation=0.25)
    assert other.provenance.sampling == {"truncation": 0.25}
    assert not np.array_equal(other.pixels, model.draw(1).pixels)
    assert model.draw(1).provenance.sampling == {"truncation": 0.5}


@pytest.mark.parametrize("text", ["{", "{}", "[]", '{"sampling": {"truncation": "much"}}'])
def test_a_damaged_selection_is_named(folder: Path, text: str):
    (folder / SELECTION_FILE).write_text(text)
    with pytest.raises(genai_core.ModelError, match=r"selection\.json: not the sampling options of a gan model"):
        load_model(folder)


def test_another_dtype(folder: Path):
    with pytest.raises(genai_core.ModelError, match="expected float32 or bfloat16, got 'float8'"):
        load_model(folder, dtype="float8")
    exact, rounded = load_model(folder).draw(8), load_model(folder, dtype="bfloat16").draw(8)
    assert not np.array_equal(exact.pixels, rounded.pixels)
    assert np.abs(exact.pixels.astype(int) - rounded.pixels).max() < 16


def test_images_are_saved_with_their_origin(folder: Path, tmp_path: Path):
    images = load_model(folder).draw(5, seed=3)
    out = images.save(tmp_path / "some" / "drawn")
    manifest = read_manifest(out)
    assert manifest["seed"].tolist() == [3, 4, 5, 6, 7]
    assert np.array_equal(read_images(out, manifest), images.pixels)
    assert json.loads((out / "provenance.json").read_text())["model"]["family"] == "gan"
    with Image.open(out / "grid.png") as grid:
        assert grid.size == images.grid().size
    with pytest.raises(FileExistsError):
        images.save(out)


def test_an_image_and_a_notebooks_picture(folder: Path):
    images = load_model(folder).draw(2)
    assert len(images) == 2
    assert np.array_equal(np.asarray(images[1]), images.pixels[1, 0])
    assert images._repr_png_().startswith(b"\x89PNG")


@pytest.mark.parametrize("form", ["png", "tar"])
@pytest.mark.parametrize("classes", [None, [2, 0, 2, 2, 0, 1, 0]])
def test_images_drawn_into_a_folder_are_those_that_are_drawn_at_once(folder: Path, tmp_path: Path, form, classes):
    model, done = load_model(folder, device="cpu"), []
    for name in ("whole", "pieces"):
        (tmp_path / name).mkdir()
    model.draw(7, classes=classes, seed=4, batch_images=3, truncation=0.5).write(tmp_path / "whole", form)
    options = {"form": form, "classes": classes, "seed": 4, "batch_images": 3, "on_progress": done.append}
    model.draw_into(tmp_path / "pieces", 7, **options, truncation=0.5)
    assert done == [3, 6, 7]
    written = [
        {path.relative_to(place): path.read_bytes() for path in place.rglob("*") if path.is_file()}
        for place in (tmp_path / "whole", tmp_path / "pieces")
    ]
    assert written[0] == written[1]
