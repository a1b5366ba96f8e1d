"""Lineage over a short history: two dataset versions with models and batches, and a third without."""

import json
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from flows.data.remote import push_commit as push_data
from flows.data.stores import Stores
from flows.graph import open_repo
from flows.lineage.ancestry import History
from flows.lineage.image_file import LineageError
from flows.lineage.node import Node
from flows.lineage.sightings import sightings
from flows.lineage.trace import Lineage
from flows.registry.generate import sign as sign_drawn
from flows.registry.model_names import ModelFiles
from flows.registry.production import Production
from flows.registry.promotion import promote, rollback
from flows.registry.read import RegistryError, read_registry
from flows.registry.sample_production import sign
from genai_core.data.dataset.dataset import load_dataset
from genai_core.sampling.batch import Provenance, write_batch
from tests.flows.conftest import DVC_WARNS, ROOT, genai, set_parameter, shell

pytestmark = DVC_WARNS

PIPELINE = """
artifacts:
  candidate: {path: models/candidate, type: model}
stages:
  prepare:
    cmd: python work.py prepare
    deps: [data/raw]
    params: [data]
    outs: [data/prepared]
  train:
    foreach: [one, two]
    do:
      cmd: python work.py train ${item}
      deps: [data/prepared/dataset.json]
      outs: ["models/trained/${item}"]
  candidate:
    cmd: python work.py candidate
    deps: [models/trained]
    outs: [models/candidate]
  generate:
    cmd: python work.py generate
    deps: [models/candidate]
    params: [generate]
    outs: [samples/batch]
"""

# The forms that the pipeline writes, without its training.
WORK = """
import hashlib, json, shutil, sys
from pathlib import Path

if sys.argv[1] == "prepare":
    from genai_core.config import load_config
    from genai_core.data.prepare.prepare import prepare

    config = load_config(Path("params.yaml"))
    out = Path("data/prepared")
    out.mkdir()
    prepare(Path("data/raw"), out, config.data, workers=1, cache_folder=Path(".genai/m"), on_decoded=print)
if sys.argv[1] == "train":
    out = Path("models/trained") / sys.argv[2]
    out.mkdir(parents=True)
    dataset = json.loads(Path("data/prepared/dataset.json").read_text())["fingerprint"]
    weights = f"{sys.argv[2]} of {dataset}".encode()
    (out / "model.safetensors").write_bytes(weights)
    hashes = {"model.safetensors": hashlib.sha256(weights).hexdigest()}
    (out / "config.json").write_text(json.dumps({"family": "gan", "dataset": dataset, "sha256": hashes}))
if sys.argv[1] == "candidate":
    shutil.copytree("models/trained/two", "models/candidate")
    chosen = {"family": "gan", "metric": "fd", "figures": {"fd": 2.0}, "reason": "two is the better one"}
    Path("models/candidate/selection.json").write_text(json.dumps(chosen))
if sys.argv[1] == "generate":
    import numpy as np
    from genai_core.sampling.batch import Provenance, write_batch

    out = Path("samples/batch")
    out.mkdir(parents=True)
    described = json.loads(Path("models/candidate/config.json").read_text())
    weights = described["sha256"]["model.safetensors"]
    images = np.random.default_rng(int(weights[:8], 16)).integers(0, 256, (4, 1, 8, 8), dtype=np.uint8)
    origin = Provenance(weights, "gan", described["dataset"], {}, 7)
    write_batch(out, images, None, np.arange(7, 11), [], "tar", origin)
"""


def write_image(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8), dtype=np.uint8)).save(path)


def run(home: Path, message: str, stages: str = "") -> str:
    shell(home, f"dvc add -q data/raw && dvc repro -q {stages}")
    shell(home, f"git add -A && git commit -q -m '{message}'")
    return shell(home, "git rev-parse HEAD").strip()


class Story:
    """The history: commits, fingerprints, the removed image."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.commits: list[str] = []
        self.fingerprints: list[str] = []
        (home / "dvc.yaml").write_text(PIPELINE)
        (home / "work.py").write_text(WORK)
        shutil.copy(ROOT / "params.yaml", home)
        for key, value in (("data.image_size", 8), ("generate.format", "tar")):
            set_parameter(home, key, value)
        (home / ".gitignore").write_text(".genai/\n/data/raw\n/data/prepared\n/models/\n/samples/\n")
        for number in range(20):
            write_image(home / f"data/raw/photos/{number:02d}.png", number)
        shutil.copy(home / "data/raw/photos/00.png", home / "data/raw/photos/00-again.png")
        shell(home, "git init -q -b main && dvc init -q && dvc config core.autostage false")
        self.done(run(home, "first data"))
        self.batch = Path(shutil.copytree(home / "samples/batch", home.parent / "first-batch"))
        manifest = load_dataset(home / "data/prepared").manifest
        self.removed, self.kept = manifest[manifest["split"] == "train"]["source"].iloc[[3, 4]]
        self.held_out = manifest[manifest["split"] == "test"]["source"].iloc[0]
        promote(home, push_data)
        shutil.copy(home / "data/raw" / self.removed, home.parent / "removed.png")
        (home / "data/raw" / self.removed).unlink()
        self.done(run(home, "one image less"))
        promote(home, push_data)
        write_image(home / "data/raw/photos/99.png", 99)
        self.done(run(home, "new data, nothing trained", "prepare"))

    def done(self, commit: str) -> None:
        self.commits.append(commit)
        self.fingerprints.append(load_dataset(self.home / "data/prepared").info.fingerprint)

    def lineage(self, thing: str) -> Any:
        with opened(self.home) as lineage:
            found = lineage.find(thing)
            if isinstance(found, Node):
                return {"made_of": found.values()}
            return {"made_of": lineage.made_of(found).values(), "became": lineage.became(found).values()}

    def saw(self, *images: str) -> list[Any]:
        with opened(self.home) as lineage:
            return [sightings(self.home, lineage.history, lineage, image).values() for image in images]


@contextmanager
def opened(home: Path) -> Iterator[Lineage]:
    with open_repo(home) as repo:
        yield Lineage(home, History(home, Stores(repo)), read_registry(home))


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    home = tmp_path_factory.mktemp("lineage") / "home"
    home.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))  # the home has no code of the project
        yield Story(home)


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


def test_saw_lists_the_models_trained_on_an_image(story: Story) -> None:
    def seen(found: Any) -> tuple[list[int], set[str]]:
        fingerprints = [e["fingerprint"] for e in found["datasets"] if any(s["split"] == "train" for s in e["found"])]
        versions = {name for model in found["models"] for name in model["versions"]}
        return sorted(story.fingerprints.index(fingerprint) for fingerprint in fingerprints), versions

    removed_file = str(story.home.parent / "removed.png")  # known by its pixels only
    equals = ("photos/00.png", "photos/00-again.png")
    names = (story.removed, removed_file, f"data/raw/{story.kept}", story.held_out, *equals)
    removed, by_pixels, kept, held_out, first, again = story.saw(*names)
    assert seen(removed) == seen(by_pixels) == ([0], {"v0.0.1"})
    assert seen(kept) == ([0, 1, 2], {"v0.0.1", "v0.0.2"})
    assert seen(held_out) == ([], set())
    # One of two equal files was left out, and seen through the other.
    (one,), (other,) = first["datasets"][-1]["found"], again["datasets"][-1]["found"]
    assert one["split"] == other["split"]
    assert sorted(bool(place["reason"]) for place in (one, other)) == [False, True]
    assert seen(first) == seen(again)
    answer = genai(story.home, "lineage", "--saw", story.removed)
    assert "in the train split of 1 of 3 versions" in answer.stdout
    assert "version v0.0.1" in answer.stdout
    assert "images generated by them" in answer.stdout


def test_saw_warns_of_versions_decoded_by_other_libraries(story: Story, tmp_path: Path) -> None:
    home = Path(shutil.copytree(story.home, tmp_path / "home", symlinks=True))
    write_image(tmp_path / "foreign.png", 1234)

    def notes() -> list[str]:
        answer = json.loads(genai(home, "lineage", "--json", "--saw", str(tmp_path / "foreign.png")).stdout)
        return [entry["note"] for entry in answer["datasets"]]

    assert notes() == [""] * 3
    one, other, _ = sorted((home / ".genai/cache/lineage").glob("*/decoders.json"))
    versions = json.loads(one.read_text())
    one.write_text(json.dumps({**versions, "pillow": "1.2.3"}))
    other.unlink()  # as of a version that was prepared before this was recorded
    told = [note for note in notes() if note]
    assert len(told) == 2
    assert any(note.startswith(f"decoded by pillow 1.2.3, here {versions['pillow']}: it may contain") for note in told)
    assert any(note.startswith("decoded by unknown libraries: it may contain") for note in told)
    assert "not in it (decoded by pillow 1.2.3" in genai(home, "lineage", "--saw", str(tmp_path / "foreign.png")).stdout
    assert "decoded by" not in genai(home, "lineage", "--saw", story.kept).stdout


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
