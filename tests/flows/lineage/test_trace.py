"""Lineage of images, models and datasets, over a short history."""

import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from flows.lineage.image_file import LineageError
from flows.lineage.node import Node
from flows.lineage.sightings import sightings
from flows.registry.generate import sign as sign_drawn
from flows.registry.model_names import ModelFiles
from flows.registry.production import Production
from flows.registry.promotion import rollback
from flows.registry.read import RegistryError, read_registry
from flows.registry.sample_production import sign
from genai_core.sampling.batch import Provenance, write_batch
from tests.flows.conftest import DVC_WARNS, genai
from tests.flows.lineage.history import Story, opened, write_image

pytestmark = DVC_WARNS


def path_of(node: dict[str, Any]) -> list[dict[str, Any]]:
    """The node and its chain of single links."""
    return [node] + (path_of(node["links"][0]) if len(node["links"]) == 1 else [])


def test_traces_an_image_to_its_data(story: Story, tmp_path: Path) -> None:
    """Find the first batch, whose folder is gone, by file, archive member, hash and weights."""
    rows = pd.read_parquet(story.batch / "manifest.parquet")
    archive = story.batch / rows["archive"][1]
    with tarfile.open(archive) as opened:
        opened.extract(rows["file"][1], tmp_path, filter="data")
    for thing in (str(tmp_path / rows["file"][1]), f"{archive}:{rows['file'][1]}", rows["sha256"][1][:10]):
        path = path_of(story.lineage(thing)["made_of"])
        assert [node["kind"] for node in path] == ["image", "batch", "model", "model", "dataset", "data"]
        image, batch, model, trained, dataset, data = path
        assert (image["sha256"], image["seed"]) == (rows["sha256"][1], 8)
        assert batch["parameters"]["generate"]["format"] == "tar"
        assert model["weights"] == batch["model"] == rows["model_sha256"][1]
        assert model["versions"] == ["v0.0.1"]
        assert trained["name"] == "models/trained/two"  # the one that was copied, not the one beside it
        assert dataset["fingerprint"] == trained["trained_on"] == story.fingerprints[0]
        assert dataset["parameters"]["data"]["image_size"] == 8
        assert {node["commit"] for node in (batch, model, trained, dataset, data)} == {story.commits[0]}
    answer = genai(story.home, "lineage", f"{archive}:{rows['file'][1]}")
    assert "version v0.0.1, in production" in answer.stdout
    assert f"commit {story.commits[0][:12]}" in answer.stdout


def test_traces_a_dataset_to_everything_made_from_it(story: Story) -> None:
    def below(thing: str) -> list[tuple[str, str]]:
        def walk(node: dict[str, Any]) -> list[tuple[str, str]]:
            return [(n["name"], n["commit"]) for n in node["links"]] + [x for n in node["links"] for x in walk(n)]

        return sorted(walk(story.lineage(thing)["became"]))

    names = ["models/candidate", "models/trained/one", "models/trained/two", "samples/batch"]
    for fingerprint, commit in zip(story.fingerprints[:2], story.commits[:2], strict=True):
        assert below(fingerprint) == [(name, commit) for name in names]
    # The third commit's dvc.lock holds the new data beside the old models: these did not come of it.
    assert story.lineage(story.fingerprints[2])["became"]["links"] == []
    assert below("v0.0.2") == [("samples/batch", story.commits[1])]
    assert below(str(story.home / "data/prepared")) == []
    assert story.lineage("prod")["made_of"]["versions"] == ["v0.0.2"]


def test_traces_batches_of_production_outside_git(story: Story, tmp_path: Path) -> None:
    """Find a batch of samples/production from each of its images, even when moved, and from model and data."""
    home = Path(shutil.copytree(story.home, tmp_path / "home", symlinks=True))
    version = next(v for v in read_registry(home).versions if v.name == "v0.0.1")
    with opened(home) as lineage:
        model = lineage.find("v0.0.1")
        assert not isinstance(model, Node)
        described = lineage.made_of(model).facts
    batch = home / "samples/production/v0.0.1-50"
    batch.mkdir(parents=True)
    images = np.random.default_rng(50).integers(0, 256, (3, 1, 8, 8), dtype=np.uint8)
    origin = Provenance(described["weights"], "gan", described["trained_on"], {}, 50)
    write_batch(batch, images, None, np.arange(50, 53), [], "png", origin)
    sign(batch, Production(version.name, version.commit, home), version.commit)

    moved = Path(shutil.copytree(batch, tmp_path / "elsewhere"))
    sha256 = str(pd.read_parquet(batch / "manifest.parquet")["sha256"][2])
    with opened(home) as lineage:
        for thing in (str(batch / "images/000002.png"), str(moved / "images/000002.png"), sha256[:12]):
            found = lineage.find(thing)
            assert isinstance(found, Node)
            path = path_of(found.values())
            assert [node["kind"] for node in path] == ["image", "batch", "model", "model", "dataset", "data"]
            assert (path[0]["seed"], path[1]["drawn_from"], path[1]["commit"]) == (52, "v0.0.1", story.commits[0])
            assert (path[2]["versions"], path[2]["weights"]) == (["v0.0.1"], path[1]["model"])
            assert path[4]["fingerprint"] == story.fingerprints[0] == path[1]["trained_on"]
        assert lineage.find(str(batch)) == found.links[0]
        drew = [node.name for node in lineage.became(model).links]
        assert drew == ["samples/batch", "samples/production/v0.0.1-50"]
        seen = sightings(home, lineage.history, lineage, story.removed)
        assert "samples/production/v0.0.1-50" in [node.name for node in seen.batches]
    shown = genai(home, "lineage", str(batch / "images/000002.png")).stdout
    assert "generated with v0.0.1 at 20" in shown
    assert "version v0.0.1, in production" in shown
    shutil.rmtree(batch)
    with (
        opened(home) as lineage,
        pytest.raises(LineageError, match="no image, model or dataset in git's history or"),
    ):
        lineage.find(sha256)


def test_unknown_objects_are_errors(story: Story, tmp_path: Path) -> None:
    write_image(tmp_path / "foreign.png", 1234)
    (tmp_path / "no.png").write_text("no image")
    faults = {
        str(
            tmp_path / "foreign.png"
        ): "none of the 2 batches in git's history, dvc.lock and samples/production has an image with",
        "nothing": "6 or more digits of a hash",
        "0123456789ab": "has a hash with these first digits",
        f"{story.batch / 'images-00000.tar'}:nothing.png": "not found",
        str(tmp_path): "not a model, dataset or batch from git's history or dvc.lock",
    }
    for thing, message in faults.items():
        with pytest.raises(LineageError, match=message):
            story.lineage(thing)
    with pytest.raises(LineageError, match="cannot be read as an image: not_an_image"):
        story.saw(str(tmp_path / "no.png"))
    assert "expected either THING or --saw IMAGE" in genai(story.home, "lineage").stderr
    # Data that is gone is said to be gone, and is no "not in it".
    home = Path(shutil.copytree(story.home, tmp_path / "home", symlinks=True))
    shutil.rmtree(home / ".dvc/cache")
    shutil.rmtree(home / ".genai/cache", ignore_errors=True)
    answer = genai(home, "lineage", "--saw", story.kept)
    assert answer.stdout.count("unknown, because its data") == 3
    with pytest.raises(RegistryError, match="not complete in DVC's cache, and there is no DVC remote"):
        rollback(home)


def test_traces_a_batch_of_a_model_that_is_no_version(story: Story, tmp_path: Path) -> None:
    """`genai generate --model one` knows no commit: the model is found by its weights."""
    with opened(story.home) as lineage:
        branch = lineage.find(str(story.home / "models/trained/one"))
        assert not isinstance(branch, Node)
        facts = lineage.made_of(branch).facts
        images = np.random.default_rng(60).integers(0, 256, (2, 1, 8, 8), dtype=np.uint8)
        write_batch(
            tmp_path,
            images,
            None,
            np.arange(2),
            [],
            "png",
            Provenance(facts["weights"], "gan", facts["trained_on"], {}, 0),
        )
        files = ModelFiles("one", story.home, None, None, facts["weights"], "gan", ())
        sign_drawn(tmp_path, files, "c" * 40)
        found = lineage.find(str(tmp_path / "images/000001.png"))
        assert isinstance(found, Node)
        path = path_of(found.values())
        assert (path[1]["drawn_from"], path[1]["commit"], path[1]["drawn_with_code"]) == ("one", None, "c" * 40)
        assert (path[2]["kind"], path[2]["weights"]) == ("model", facts["weights"])
