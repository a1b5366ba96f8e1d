"""Models of 32x32 pixels to serve: the GAN and the 12-evaluation diffusion model of fashion_mnist.yaml, untrained.

The time that a network takes does not depend on its weights.
"""

import json
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter
from ruamel.yaml import YAML

from benchmarks.fashion_mnist import CLASSES
from genai_core.config import ModelConfig
from genai_core.image_size import ImageSize
from genai_core.models.artifact import build_model, save_model
from genai_core.models.protocol import ImageShape

RECIPES = Path(__file__).with_name("fashion_mnist.yaml")
SIDE = 32


def untrained(folder: Path, family: str) -> Path:
    """Save a model of random weights in a new folder of `folder`, and return it."""
    recipe: Any = TypeAdapter(ModelConfig).validate_python(YAML(typ="safe").load(RECIPES)[family])
    torch.manual_seed(0)
    model = build_model(recipe, ImageShape(ImageSize.square(SIDE), 1, CLASSES))
    target = folder / f"{family}-{SIDE}"
    target.mkdir()
    save_model(target, model, recipe, dataset="0" * 64, training_summary={})
    # Without it, a model folder draws with the usual options of its family: 46 evaluations of a guided diffusion model.
    (target / "selection.json").write_text(json.dumps({"sampling": recipe.sampling.model_dump(mode="json")}))
    return target
