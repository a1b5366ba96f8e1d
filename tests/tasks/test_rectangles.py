"""Rectangular images through every stage, from files to the report, with all four families."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from ruamel.yaml import YAML

import genai_core
from genai_core.data.dataset.dataset import load_dataset
from genai_core.sampling.batch import read_images, read_manifest
from tasks import (
    augment,
    candidate,
    evaluate,
    extractor,
    finetune,
    generate,
    prepare,
    reference,
    report,
    report_parts,
    select,
    train,
)
from tests.tasks.conftest import ROOT
from tests.tasks.small_run import PARAMS, change_params, read_json, small_params

HEIGHT, WIDTH = 8, 12
FAMILIES = ("diffusion", "gan", "vae", "vqvae")


def write_photographs(folder):
    """Colour photographs of other sizes: bright on the left in one class, on the right in the other."""
    generator = np.random.default_rng(0)
    for name in ("left", "right"):
        (folder / name).mkdir(parents=True)
        for number in range(60):
            height, width = generator.integers(20, 40, 2)
            pixels = generator.integers(0, 120, (height, width, 3))
            half = slice(None, width // 2) if name == "left" else slice(width // 2, None)
            pixels[:, half] += generator.integers(60, 130, 3)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{number}.png")


@pytest.fixture
def rectangular(workspace):
    models = YAML(typ="safe").load(PARAMS)["models"]
    small_params()
    change_params(
        data={"image_size": [HEIGHT, WIDTH], "channels": 3, "test_share": 0.3},
        augment={"expand": 1.5, "policy": ["flip", "move", "crop", "colour", "randaugment"]},
        finetune={"total_images": 16, "warmup_images": 8, "ema_halflife_images": 8},
        robustness={"noise": [0.1], "blur_px": [1.0], "jpeg_loss": [50]},
    )
    yaml = YAML()
    values = yaml.load(PARAMS)
    values["models"] = {family: models[family] for family in FAMILIES}
    for model in values["models"].values():
        model["network"].update(width=8, depth=1)
        model["training"].update(total_images=16, batch_images=8, warmup_images=8)
    values["models"]["diffusion"]["objective"].update(augment=["flip", "translation", "scale"], augment_share=0.5)
    values["models"]["diffusion"]["sampling"].update(steps=2)
    yaml.dump(values, PARAMS)
    Path("genai_core").symlink_to(ROOT / "genai_core")  # select reads the code of the families
    write_photographs(workspace / "data/raw/photos")
    return workspace


def test_from_files_to_the_report(rectangular, monkeypatch):
    def run(stage, *arguments, name=""):
        monkeypatch.setenv("DVC_STAGE", name or stage.__name__.rpartition(".")[2])
        monkeypatch.setattr("sys.argv", ["task", *arguments])
        stage.main()

    for stage in (prepare, augment, extractor, reference):
        run(stage)
    for family in FAMILIES:
        run(train, family, name=f"train@{family}")
        run(evaluate, f"trained/{family}", name=f"evaluate@{family}")
    for stage in (select, finetune):
        run(stage)
    run(evaluate, "finetuned", name="evaluate-finetuned")
    run(candidate)
    run(generate)
    monkeypatch.setattr(report_parts, "stage_edges", lambda: [("prepare", "report")])
    run(report)

    for folder in ("data/prepared", "data/augmented"):
        dataset = load_dataset(Path(folder))
        assert dataset.info.image_size == (HEIGHT, WIDTH)
        assert dataset.images("train").shape[1:] == (3, HEIGHT, WIDTH)
    assert "8 x 12 (height x width) pixels, colour" in Path("data/prepared/card.md").read_text()
    for path in ("models/candidate/config.json", "samples/batch/provenance.json"):
        values = read_json(path)
        assert values.get("image_size", values.get("shape", {}).get("image_size")) == [HEIGHT, WIDTH]
    for family in FAMILIES:
        values = read_json(f"metrics/trained/{family}.json")
        assert values["protocol"]["image_size"] == [HEIGHT, WIDTH]
        assert np.isfinite(values["fd_classifier"])
        with Image.open(f"plots/evaluated/trained/{family}/samples.png") as picture:
            assert picture.mode == "RGB"
    batch = Path("samples/batch")
    assert read_images(batch, read_manifest(batch)).shape == (6, 3, HEIGHT, WIDTH)
    assert "8 x 12 (height x width), colour" in Path("reports/report.html").read_text()

    images = genai_core.load_model("models/candidate", device="cpu").draw(2)
    assert images.pixels.shape == (2, 3, HEIGHT, WIDTH)
    assert images[0].size == (WIDTH, HEIGHT)
    with Image.open(io.BytesIO(images._repr_png_())) as grid:
        assert grid.width > 0
