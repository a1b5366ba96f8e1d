"""`python -m tasks.score`: any images against any others."""

import hashlib
import json
import sys
import zipfile

import numpy as np
import pytest
from PIL import Image

from genai_core.config import NEEDS_MANUAL_ACTION
from genai_core.evaluation.protocol import comparable
from genai_core.sampling.batch import Provenance, write_batch
from tasks import extractor, score
from tests.evaluation.conftest import CLASSES, stripes
from tests.tasks.small_run import small_params, write_datasets


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with an extractor, a dataset, and the same 60 images as .npy, zip and class folders."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        (folder / "params.yaml").write_text((score.Path(__file__).parents[2] / "params.yaml").read_text())
        small_params()
        write_datasets()
        extractor.main()
        images, labels = stripes(60, seed=4)
        np.save(folder / "images.npy", images[:, 0])
        for number, (image, label) in enumerate(zip(images, labels, strict=True)):
            place = folder / "classes" / CLASSES[label]
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image[0]).save(place / f"{number:03}.png")
        with zipfile.ZipFile(folder / "images.zip", "w") as archive:
            for path in sorted((folder / "classes").rglob("*.png")):
                archive.write(path, path.relative_to(folder / "classes"))
    return folder


@pytest.fixture
def here(made, monkeypatch):
    monkeypatch.chdir(made)
    return made


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["score", *map(str, arguments)])
    score.main()


def fails(monkeypatch, capsys, *arguments):
    with pytest.raises(SystemExit) as stopped:
        run(monkeypatch, *arguments)
    assert stopped.value.code == NEEDS_MANUAL_ACTION
    return capsys.readouterr().err


def test_figures_do_not_depend_on_the_file_format(here, monkeypatch, capsys):
    figures = []
    for source in ("images.npy", "images.zip", "classes"):
        run(monkeypatch, source, "--against", "data/prepared", "--out", "out/figures.json")
        figures.append(json.loads((here / "out/figures.json").read_text()))
    # The files are in another order, so they are shuffled differently: only resamples and splits differ.
    for name in ("fd_classifier", "precision_classifier", "recall_classifier", "density_classifier", "kid_classifier"):
        values = [found[name] for found in figures]
        assert values == pytest.approx([values[0]] * 3, rel=1e-4, abs=1e-6), name
    assert figures[0]["interval"]["fd_classifier"]["low"] <= figures[0]["fd_classifier"]
    assert "fd_classifier_class" not in figures[0]
    assert set(figures[1]["fd_classifier_class"]) == set(CLASSES)
    assert figures[1]["protocol"]["reference_images"] == 240
    assert "95% interval" in capsys.readouterr().out


@pytest.mark.parametrize("form", ["png", "tar"])
def test_generated_batch_is_measured_by_its_manifest(form, here, monkeypatch, capsys, tmp_path):
    """Its folder also has a preview, a file as an image would be."""
    images, labels = stripes(60, seed=4)
    seeds, provenance = np.arange(60), Provenance("0" * 64, "tiny", "f" * 64, {}, 0)
    write_batch(tmp_path, images, labels.astype(np.int64), seeds, CLASSES, form, provenance)
    Image.fromarray(images[0, 0]).save(tmp_path / "grid.png")
    run(monkeypatch, tmp_path, "--against", "data/prepared", "--out", "out/batch.json")
    run(monkeypatch, "classes", "--against", "data/prepared", "--out", "out/classes.json")
    batch, classes = (json.loads((here / "out" / f"{name}.json").read_text()) for name in ("batch", "classes"))
    assert batch["protocol"]["generated_images"] == 60
    assert batch["fd_classifier"] == pytest.approx(classes["fd_classifier"], rel=1e-4)
    assert set(batch["fd_classifier_class"]) == set(CLASSES)
    capsys.readouterr()
    assert "no split" in fails(monkeypatch, capsys, "images.npy", "--against", tmp_path, "--split", "test")


def test_at_most_makes_a_larger_test_split_comparable(here, monkeypatch, capsys):
    """More images of the same kind have a smaller distance, by bias alone; equally many have the same distance."""
    for count in (60, 600):
        np.save(here / f"{count}.npy", stripes(count, seed=count)[0][:, 0])
    found = {}
    for source, options in (("60", ()), ("600", ()), ("600", ("--at-most", "60"))):
        arguments = (f"{source}.npy", *options, "--against", "images.npy", "--out", "out/tests.json")
        run(monkeypatch, *arguments)
        found[source, *options] = json.loads((here / "out/tests.json").read_text())
    few, many, as_many = found.values()
    assert as_many["protocol"]["generated_images"] == 60
    ends = few["interval"]["fd_classifier"]
    assert ends["low"] <= as_many["fd_classifier"] <= ends["high"]
    assert many["fd_classifier"] < min(few["fd_classifier"], as_many["fd_classifier"])
    assert "expected 2 to 60 images, got 61" in fails(
        monkeypatch, capsys, "60.npy", "--at-most", "61", "--against", "images.npy"
    )
    run(monkeypatch, "data/prepared", "--images-split", "test", "--against", "data/prepared", "--out", "out/split.json")
    protocol = json.loads((here / "out/split.json").read_text())["protocol"]
    assert (protocol["generated_images"], protocol["reference_images"]) == (80, 240)


def test_planted_training_images_are_near_copies(here, monkeypatch):
    run(monkeypatch, "data/prepared", "--against", "data/augmented", "--out", "copies.json")
    found = json.loads((here / "copies.json").read_text())
    assert found["near_copies_classifier"] == 1
    assert found["fd_classifier"] == pytest.approx(0, abs=1e-6)


def test_few_images_cause_a_warning(here, monkeypatch, capsys):
    np.save("few.npy", stripes(7)[0][:, 0])
    run(monkeypatch, "few.npy", "--against", "data/prepared", "--split", "test")
    warnings = capsys.readouterr().err
    assert "7 images for 8 features" in warnings
    assert "no distance at infinitely many images (fd_inf): 7 images are fewer than 50" in warnings


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((9, 12, 12), np.float32), "expected uint8 pixels from 0 to 255, got float32"),
        (
            np.zeros((9, 16, 12), np.uint8),
            "is 16 x 12 (height x width), and the extractor takes 12 x 12; pass --resize",
        ),
        (np.zeros((9, 12, 12, 3), np.uint8), "wrong-000000.png: has colour, but the extractor takes grey images; use"),
        (np.zeros((9, 12, 12, 4), np.uint8), "wrong-000000.png: has transparent pixels; pass --resize clean"),
        (np.zeros((1, 12, 12), np.uint8), "at least two images"),
        (np.zeros((4, 12, 12), np.uint8), "expected more than 5 images"),
    ],
)
def test_unsuitable_images_are_refused(here, monkeypatch, capsys, array, message):
    np.save("wrong.npy", array)
    assert message in fails(monkeypatch, capsys, "wrong.npy", "--against", "data/prepared")


def test_files_of_different_sizes_are_refused(here, monkeypatch, capsys, tmp_path):
    for number, size in enumerate((12, 12, 14)):
        Image.new("L", (size, size)).save(tmp_path / f"{number}.png")
    message = fails(monkeypatch, capsys, tmp_path, "--against", "data/prepared")
    assert "2.png is 14 x 14 (height x width), and the extractor takes 12 x 12; pass --resize clean" in message


def test_any_sizes_and_modes_are_measured_by_a_rule_that_stands_in_the_protocol(here, monkeypatch, capsys, tmp_path):
    """Enlarged by whole numbers, and made smaller again, images stay nearly the same."""
    images, labels = stripes(60, seed=4)
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        factors = ((1, 1), (2, 2), (3, 2))[number % 3]
        picture = Image.fromarray(np.kron(image[0], np.ones(factors, np.uint8)))
        if number % 2:
            picture.putalpha(255)
        if number == 7:
            picture = Image.merge("LA", (picture.getchannel("L"), Image.new("L", picture.size, 254)))
        place = tmp_path / CLASSES[label]
        place.mkdir(exist_ok=True)
        picture.convert("LA" if number == 7 else "L").save(place / f"{number:03}.png")
    figures = {}
    for name, source, options in (
        ("plain", "images.npy", ()),
        ("equal", "images.npy", ("--resize", "clean")),
        ("clean", tmp_path, ("--size", "12")),
        ("legacy", tmp_path, ("--size", "12x12", "--resize", "legacy")),
    ):
        run(monkeypatch, source, "--against", "data/prepared", "--out", tmp_path / "x.json", *options)
        figures[name] = json.loads((tmp_path / "x.json").read_text())
    assert "images_resize" not in figures["plain"]["protocol"]
    assert figures["equal"]["fd_classifier"] == figures["plain"]["fd_classifier"]
    assert figures["clean"]["protocol"]["images_resize"].startswith("clean to 12 x 12: bicubic with antialias")
    assert figures["legacy"]["protocol"]["images_resize"].startswith("legacy to 12 x 12: bilinear without antialias")
    assert figures["clean"]["fd_classifier"] != figures["legacy"]["fd_classifier"]
    with pytest.raises(ValueError, match=r"cannot be compared: images_resize clean to .* and legacy to"):
        comparable(figures["clean"], figures["legacy"])
    with pytest.raises(ValueError, match=r"cannot be compared: images_resize None and clean"):
        comparable(figures["plain"], figures["equal"])
    assert "images_resize: clean to 12 x 12" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--size", "0"), "--size 0: expected H or HxW (height x width), each from 1 to 2048 pixels"),
        (("--size", "12 x 12"), "expected H or HxW"),
        (("--size", "12x4000"), "expected H or HxW"),
        (("--size", "16"), "--size 16: the extractor takes images of 12 x 12; omit --size, or use --extractor"),
    ],
)
def test_impossible_sizes_are_named(here, monkeypatch, capsys, options, message):
    assert message in fails(monkeypatch, capsys, "images.npy", "--against", "data/prepared", *options)


def test_without_an_extractor_the_error_names_the_choices(here, monkeypatch, capsys, tmp_path):
    (tmp_path / "params.yaml").write_text((here / "params.yaml").read_text())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    message = fails(monkeypatch, capsys, here / "images.npy", "--against", here / "data/prepared")
    assert "--weights FILE" in message
    assert "genai run extractor" in message


def test_weights_with_another_hash_are_refused(here, monkeypatch, capsys, tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(b"no weights")
    digest = hashlib.sha256(b"no weights").hexdigest()
    message = fails(monkeypatch, capsys, "images.npy", "--against", "data/prepared", "--weights", path)
    assert f"has the sha256 {digest}, expected 6726825d" in message


def test_the_selfcheck_lists_what_it_could_not_check(here, monkeypatch, capsys, tmp_path):
    with pytest.raises(SystemExit) as stopped:
        run(monkeypatch, "--selfcheck", "--weights", tmp_path / "none.pth")
    assert stopped.value.code == 0
    out = capsys.readouterr().out
    assert out.count("not checked") == 3
    assert "FID of train against test 3.15" in out
    assert "Inception's weights are missing" in out
