"""A workspace in which every stage up to training has run, with tiny images and untrained models."""

import json
import shutil
from pathlib import Path

import torch
from ruamel.yaml import YAML

from genai_core.config import load_config
from genai_core.image_size import ImageSize
from genai_core.models.artifact import build_model, save_model
from genai_core.models.protocol import ImageShape
from tests.evaluation.conftest import CLASSES, SIZE, make_dataset

PARAMS = Path("params.yaml")


def change_params(**sections):
    """Change keys of sections of the workspace's params.yaml."""
    yaml = YAML()
    values = yaml.load(PARAMS)
    for section, changes in sections.items():
        values[section].update(changes)
    yaml.dump(values, PARAMS)


def small_params(kind="classifier"):
    change_params(
        extractor={"kind": kind, "width": 8, "feature_dim": 8, "total_images": 1200, "batch_images": 60},
        selection={"metric": f"fd_{kind}"},
        evaluation={"total_images": 20, "batch_images": 8, "is_splits": 2},
        generate={"total_images": 6, "batch_images": 4},
        compute={"accelerator": "cpu", "cpu_threads": 1},
    )
    yaml = YAML()
    values = yaml.load(PARAMS)
    values["models"] = {"small": values["models"]["gan"]}
    values["models"]["small"]["network"].update(width=8, depth=1, latent_dim=4)
    yaml.dump(values, PARAMS)


def write_datasets(labelled=True):
    make_dataset(Path("data/prepared"), labelled=labelled)
    make_dataset(Path("data/augmented"), labelled=labelled)


def write_model(folder, seed=0, labelled=True):
    """Write an untrained model to `folder`, in the form that training writes."""
    config = load_config(PARAMS).model("small")
    folder = Path(folder)
    folder.mkdir(parents=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build_model(config, ImageShape(ImageSize.square(SIZE), 1, CLASSES if labelled else ()))
    save_model(folder, model, config, dataset="d" * 64, training_summary={})
    return config


def write_selection(folder, model, name):
    """Copy `model` into `folder`, as the stages select and candidate do."""
    shutil.copytree(model, folder)
    sampling = load_config(PARAMS).model("small").sampling.model_dump(mode="json")
    selection = {
        "model": name,
        "metric": "fd_classifier",
        "figures": {},
        "sampling": sampling,
        "reason": "it is the best",
    }
    (Path(folder) / "selection.json").write_text(json.dumps(selection))


def read_json(path):
    return json.loads(Path(path).read_text())


def bytes_below(folder):
    """Return the content of every file by its path."""
    files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    return {str(path): path.read_bytes() for path in files}


def ready_to_finetune(monkeypatch):
    """Write datasets and a selected model by params.yaml, and set the command line of the task."""
    write_datasets()
    write_model("models/trained/small")
    write_selection("models/selected", "models/trained/small", "small")
    monkeypatch.setattr("sys.argv", ["finetune"])
