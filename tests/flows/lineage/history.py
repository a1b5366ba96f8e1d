"""A short history for lineage: two dataset versions with models and batches, and a third without."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from flows.data.remote import push_commit as push_data
from flows.data.stores import Stores
from flows.graph import open_repo
from flows.lineage.ancestry import History
from flows.lineage.node import Node
from flows.lineage.sightings import sightings
from flows.lineage.trace import Lineage
from flows.registry.promotion import promote
from flows.registry.read import read_registry
from genai_core.data.dataset.dataset import load_dataset
from tests.flows.conftest import ROOT, set_parameter
from tests.flows.toy_home import shell

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
        (home / ".gitignore").write_text(".genai/\n/data/raw\n/data/prepared\n/models/*\n!/models/*.dvc\n/samples/\n")
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
