"""The whole pipeline on real images, as a user runs it: with `genai run` and with plain `dvc repro`."""

import csv
import gzip
import hashlib
import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from ruamel.yaml import YAML

from flows.graph import dvc_stages, open_repo, path_of
from genai_core.data.dataset.dataset import load_dataset
from tests.flows.conftest import DVC_WARNS, Server
from tests.flows.opened import opened, watched
from tests.project import change_parameters, dvc, genai, git, new_checkout, run

# Whichever test comes first makes the checkout that all share, and a loaded machine takes minutes for it.
pytestmark = pytest.mark.timeout(900)

STAGES = [
    "prepare",
    "augment",
    "extractor",
    "reference",
    "train@diffusion",
    "train@gan",
    "evaluate@diffusion",
    "evaluate@gan",
    "select",
    "finetune",
    "evaluate-finetuned",
    "candidate",
    "generate",
    "report",
]
MADE = ("data/", "models/", "metrics/", "plots/", "samples/")  # by the stages and data sources


@pytest.fixture(scope="module")
def opened_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("opened")


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory, opened_in: Path) -> Path:
    """A checkout in which the pipeline ran once on the built-in digits, with a temporary server."""
    folder = new_checkout(tmp_path_factory.mktemp("digits") / "checkout")
    genai(folder, "data", "add", "builtin:digits")
    assert actions(folder) == {"data/raw.dvc": "keep", **dict.fromkeys(STAGES, "run")}
    answer = genai(folder, "run", **watched(opened_in))
    assert "Report: " in answer.stdout
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "a run")
    return folder


def actions(folder: Path) -> dict[str, str]:
    return {entry["stage"]: entry["action"] for entry in json.loads(genai(folder, "plan", "--json").stdout)}


def lock_file(folder: Path) -> Any:
    return YAML(typ="safe").load(folder / "dvc.lock")["stages"]


def test_every_image_is_traceable_to_its_model_and_data(digits: Path) -> None:
    batch = digits / "samples" / "batch"
    manifest = pd.read_parquet(batch / "manifest.parquet")
    assert len(manifest) == 20
    for row in manifest.itertuples():
        assert hashlib.sha256((batch / row.file).read_bytes()).hexdigest() == row.sha256
    weights = hashlib.sha256((digits / "models/candidate/model.safetensors").read_bytes()).hexdigest()
    assert set(manifest["model_sha256"]) == {weights}
    provenance = json.loads((batch / "provenance.json").read_text())
    assert (
        provenance["dataset"] == load_dataset(digits / "data/augmented").info.fingerprint
        or provenance["dataset"] == load_dataset(digits / "data/prepared").info.fingerprint
    )


def test_figures_are_finite_and_the_candidate_is_the_better_model(digits: Path) -> None:
    figures = {
        name: json.loads((digits / "metrics" / f"{name}.json").read_text())["fd_classifier"]
        for name in ("trained/diffusion", "trained/gan", "finetuned")
    }
    assert all(np.isfinite(value) and value > 0 for value in figures.values())
    selected = json.loads((digits / "models/selected/selection.json").read_text())
    assert selected["figures"]["fd_classifier"] == min(figures["trained/diffusion"], figures["trained/gan"])
    candidate = json.loads((digits / "models/candidate/selection.json").read_text())
    assert candidate["figures"]["fd_classifier"] == min(selected["figures"]["fd_classifier"], figures["finetuned"])


@DVC_WARNS
def test_what_a_stage_opens_is_there_on_a_machine_that_fetches_only_what_it_declares(
    digits: Path, opened_in: Path
) -> None:
    files = opened(opened_in)
    with open_repo(digits) as repo:
        for stage in [stage for stage, _ in dvc_stages(repo) if stage.cmd]:
            there = {path_of(each) for each in (*stage.deps, *stage.outs)} | set(stage.meta.get("reads", ()))
            made = {path for path in files[stage.cmd.removeprefix("python -m ")] if path.startswith(MADE)}
            assert made, f"{stage.addressing} opened nothing"
            lacking = {path for path in made if not any(path == one or path.startswith(f"{one}/") for one in there)}
            assert not lacking, f"dvc.yaml: {stage.addressing}: neither among its deps nor in meta: reads"


def test_nothing_runs_twice(digits: Path) -> None:
    assert set(actions(digits).values()) == {"keep"}
    answer = genai(digits, "run")
    assert "15 to keep" in answer.stdout
    assert dvc(digits, "status").stdout.strip() == "Data and pipelines are up to date."


def test_figures_of_another_branch_are_restored_from_the_cache(digits: Path, tmp_path: Path, server: Server) -> None:
    """Measured on this branch and on another one: back here the stage is restored, in the plan and by DVC."""
    folder = Path(shutil.copytree(digits, tmp_path / "checkout", symlinks=True))
    git(folder, "switch", "--quiet", "--create", "other")

    def sampled_otherwise(values: Any) -> None:
        values["models"]["gan"]["sampling"]["truncation"] = 0.5

    change_parameters(folder, sampled_otherwise)
    replicates = folder / "metrics/replicates/trained/gan.csv"
    before = replicates.read_bytes()
    genai(folder, "run", "evaluate@gan", PREFECT_API_URL=server.url)
    assert replicates.read_bytes() != before
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "sampled otherwise")
    git(folder, "switch", "--quiet", "-")
    entries = {entry["stage"]: entry for entry in json.loads(genai(folder, "plan", "--json").stdout)}
    assert {name: entry["action"] for name, entry in entries.items() if entry["action"] != "keep"} == {
        "evaluate@gan": "restore"
    }
    assert "metrics/replicates/trained/gan.csv was changed by hand" in entries["evaluate@gan"]["reasons"]
    said = dvc(folder, "repro", "evaluate@gan").stdout
    assert "Stage 'evaluate@gan' is cached - skipping run, checking out outputs" in said
    assert "Running stage" not in said
    assert replicates.read_bytes() == before
    assert set(actions(folder).values()) == {"keep"}


def test_plain_dvc_repro_makes_the_same_bytes(digits: Path, tmp_path: Path) -> None:
    """The stages that prepare, train and evaluate, run again; all but the costs, which measure time."""
    again = ("prepare", "train@gan", "evaluate@gan")
    other = Path(shutil.copytree(digits, tmp_path / "checkout", symlinks=True))
    shutil.rmtree(other / ".genai")
    shutil.rmtree(other / "data/prepared")  # `prepare` would build on it
    said = dvc(other, "repro", "--force", "--single-item", *again).stdout
    assert re.findall(r"Running stage '(.+)'", said) == list(again)

    def reproducible(folder: Path) -> Any:
        stages = {name: lock_file(folder)[name] for name in again}
        for stage in stages.values():
            stage["outs"] = [out for out in stage["outs"] if not out["path"].startswith("metrics/cost/")]
        return stages

    assert reproducible(other) == reproducible(digits)


def test_changed_parameter_runs_exactly_its_descendants(digits: Path) -> None:
    def other_grid(values: Any) -> None:
        values["generate"]["seed"] += 1

    change_parameters(digits, other_grid)
    try:
        planned = {stage for stage, action in actions(digits).items() if action != "keep"}
        assert planned == {"generate", "report"}
        entries = json.loads(genai(digits, "plan", "--json").stdout)
        reasons = {entry["stage"]: entry["reasons"] for entry in entries}
        assert reasons["generate"] == ["params.yaml generate.seed: 20000 -> 20001"]
    finally:
        git(digits, "checkout", "params.yaml")


def test_changed_gan_runs_only_its_descendants(digits: Path) -> None:
    path = digits / "genai_core" / "models" / "gan.py"
    before = path.read_text()
    path.write_text(f"{before}\n# a change\n")
    try:
        changed = {stage for stage, action in actions(digits).items() if action != "keep"}
    finally:
        path.write_text(before)
    assert {"train@gan", "evaluate@gan", "select"} <= changed
    assert not changed & {"prepare", "augment", "extractor", "reference", "train@diffusion", "evaluate@diffusion"}


@pytest.mark.long
def test_folder_of_fashion_images_with_its_own_model(test_data: Path, tmp_path: Path, server: Server) -> None:
    """A thousand files in class folders; another model is a block in params.yaml and nothing else."""
    source = tmp_path / "fashion"
    write_class_folders(test_data / "fashion-mnist", source, images=1_000)
    folder = new_checkout(tmp_path / "checkout", augment={"expand": 1.0})

    def another_model(values: Any) -> None:
        values["models"]["gan-two"] = values["models"].pop("gan")

    change_parameters(folder, another_model)
    added = genai(folder, "data", "add", str(source))
    assert "1,000 images added" in added.stdout
    genai(folder, "run", "train@gan-two", PREFECT_API_URL=server.url)
    assert (folder / "models/trained/gan-two/model.safetensors").is_file()
    dataset = load_dataset(folder / "data" / "prepared").info
    assert len(dataset.classes) == 10
    assert sum(dataset.counts.values()) == pytest.approx(1_000, abs=10)
    left = {stage for stage, action in actions(folder).items() if action == "run"}
    assert {"train@diffusion", "evaluate@gan-two", "select", "report"} <= left


def write_class_folders(idx: Path, target: Path, images: int) -> None:
    """The first images of Fashion-MNIST's training file as PNG files in a folder a class."""
    with gzip.open(idx / "train-images-idx3-ubyte.gz") as file:
        pixels = np.frombuffer(file.read(16 + images * 784), np.uint8)[16:].reshape(-1, 28, 28)
    with gzip.open(idx / "train-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(8 + images), np.uint8)[8:]
    for number, (image, label) in enumerate(zip(pixels, labels, strict=True)):
        folder = target / f"class-{label}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{number}.png")


# One process for all of them.
PRODUCTION = """
from flows.services.server import ensure_prefect_api

ensure_prefect_api()
from flows.measuring.backfill import backfill
from flows.registry.sample_production import sample_production
from flows.watching.measure_production import measure_production

twice = (sample_production, {}), (sample_production, {})
for flow, given in (*twice, (measure_production, {}), (backfill, {"revisions": "HEAD~2..HEAD"})):
    state = flow(".", **given, return_state=True)
    print("STATE", state.name, state.message)
"""


def test_production_generates_batches_and_is_measured_on_other_data(
    digits: Path, tmp_path: Path, server: Server
) -> None:
    """Promoted, drawn from twice, measured on newer data, then over all versions of the data."""
    folder = Path(shutil.copytree(digits, tmp_path / "checkout", symlinks=True))
    answer = genai(folder, "backfill", "--revisions", "HEAD~1..HEAD", check=False, PREFECT_API_URL=server.url)
    assert "nothing is in production yet" in answer.stderr
    git(folder, "config", "user.name", "Test")
    git(folder, "config", "user.email", "test@example.com")
    genai(folder, "promote")
    noise = tmp_path / "noise"
    numbers = np.random.default_rng(0)
    for index in range(400):
        path = noise / str(index % 10) / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(numbers.integers(0, 256, (8, 8), dtype=np.uint8)).save(path)
    genai(folder, "data", "add", str(noise))
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "noise")
    before = lock_file(folder)

    lines = run([sys.executable, "-c", PRODUCTION], folder, PREFECT_API_URL=server.url).stdout.splitlines()
    first, second, measured, over = [line.removeprefix("STATE ") for line in lines if line.startswith("STATE ")]
    assert first == "Completed 20 images of v0.0.1 in samples/production/v0.0.1-20000"
    assert second == "Completed 20 images of v0.0.1 in samples/production/v0.0.1-20020"
    assert over == "Completed 2 versions of the data, in backfill"
    provenance = json.loads((folder / "samples/production/v0.0.1-20020/provenance.json").read_text())
    assert (provenance["seed"], provenance["production"]["version"]) == (20020, "v0.0.1")
    weights = hashlib.sha256((folder / "models/candidate/model.safetensors").read_bytes()).hexdigest()
    assert provenance["model"]["sha256"] == weights
    # The pipeline's own batch, and production's of the same seeds, are the same images.
    same = [
        pd.read_parquet(folder / f"samples/{name}/manifest.parquet") for name in ("batch", "production/v0.0.1-20000")
    ]
    assert list(same[0]["sha256"]) == list(same[1]["sha256"])
    # After so few steps, the images are close to noise. test_measure_production.py tests the verdict.
    found = re.fullmatch(
        r"\w+ v0.0.1: fd_classifier (\S+) \[.+\] to the newest test images, (\S+) \[.+\] to as many test images of .*",
        measured,
    )
    assert found, measured
    assert lock_file(folder) == before, "nobody's working tree is touched"
    assert not any((folder / ".genai/worktrees").iterdir())

    with (folder / "backfill/quality.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["model"] for row in rows] == ["v0.0.1", "v0.0.1"]
    # The same images, features and test images as `measure-production` had.
    assert [float(row["value"]) for row in rows] == pytest.approx([float(found[2]), float(found[1])], rel=1e-3)
    assert int(rows[1]["test_images"]) > int(rows[0]["test_images"])
    assert "data:image/png;base64," in (folder / "backfill/quality.html").read_text()


@pytest.mark.long
def test_compares_two_models_and_a_revision_with_itself(digits: Path) -> None:
    found = json.loads(genai(digits, "compare", "diffusion", "gan", "--json").stdout)
    assert (found["a"]["family"], found["b"]["family"]) == ("diffusion", "gan")
    measured = json.loads((digits / "metrics/trained/gan.json").read_text())
    assert found["b"]["figures"]["fd_classifier"] == pytest.approx(measured["fd_classifier"], rel=1e-4)
    assert (digits / ".genai/compare/samples.png").is_file()
    same = genai(digits, "compare", "HEAD", "candidate", "--out", str(digits / ".genai/same"))
    assert "no winner" in same.stdout
    assert "within the noise" in same.stdout
    assert [path for path in (digits / ".genai/scratch").iterdir() if path.is_dir()] == []
