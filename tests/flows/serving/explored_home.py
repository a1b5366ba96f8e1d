"""A workspace whose models have real images: a prepared dataset, an extractor trained on it, and their reference."""

from dataclasses import dataclass
from pathlib import Path

import torch
import yaml

from genai_core.config import PARAMS_FILE
from genai_core.evaluation.extractor import save_extractor
from genai_core.evaluation.extractor_training import train_extractor
from genai_core.image_size import ImageSize
from genai_core.models.artifact import build_model, save_model
from genai_core.models.protocol import ImageShape
from tests.evaluation.conftest import CLASSES, SIZE, extractor_config, make_dataset
from tests.exploring.conftest import write_reference
from tests.models.tiny import gan_recipe

DECODING = {"fit": "pad", "background": [9, 9, 9]}


@dataclass(frozen=True)
class Home:
    """The workspace's folder, and the fingerprint of its dataset."""

    folder: Path
    fingerprint: str


def make_home(folder: Path) -> Home:
    """Make the workspace with a model of random weights, models/gan."""
    dataset = make_dataset(folder / "data/prepared")
    extractor, description = train_extractor(
        extractor_config(), dataset, torch.device("cpu"), lambda _done, _figures: None
    )
    (folder / "models/extractor").mkdir(parents=True)
    description = save_extractor(folder / "models/extractor", extractor, description)
    write_reference(folder / "data/reference", dataset, extractor.eval(), description)
    save_gan(folder / "models/gan", dataset.info.fingerprint)
    lock = {
        "schema": "2.0",
        "stages": {
            "prepare": {
                "cmd": "python -m tasks.prepare",
                "params": {PARAMS_FILE: {"data": DECODING}},
                "outs": [{"path": "data/prepared", "hash": "md5", "md5": "0" * 32 + ".dir"}],
            }
        },
    }
    (folder / "dvc.lock").write_text(yaml.safe_dump(lock))
    return Home(folder, dataset.info.fingerprint)


def save_gan(folder: Path, fingerprint: str) -> Path:
    """Save a model of random weights of the stripes' shape."""
    torch.manual_seed(0)
    folder.mkdir(parents=True)
    shape, recipe = ImageShape(ImageSize.square(SIZE), 1, CLASSES), gan_recipe()
    save_model(folder, build_model(recipe, shape), recipe, dataset=fingerprint, training_summary={})
    return folder
