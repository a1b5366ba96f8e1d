"""A trained model on disk: two safetensors files, config.json and card.md. Loading it runs no code from the files."""

import hashlib
import importlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from genai_core.config import (
    DiffusionRecipe,
    DistilledRecipe,
    GroupedDistilledRecipe,
    GroupedRecipe,
    ModelConfig,
    ModelRecipe,
    SamplingConfig,
    described,
)
from genai_core.image_size import ImageSize
from genai_core.models.protocol import GenerativeModel, ImageShape

FORMAT = 1
WEIGHTS_FILE = "model.safetensors"  # the sampled network, averaged over training
TRAINING_FILE = "training.safetensors"  # what training needs in addition, such as a GAN's discriminator
CONFIG_FILE = "config.json"
CARD_FILE = "card.md"
SELECTION_FILE = "selection.json"  # beside a model that was chosen: why, and how it draws

# Without the sampling section: it may change after training, and the file would then be out of date.
_RECIPE_KEYS = ("family", "network", "objective", "training")
# Further ones, which only some models of the family diffusion have.
_DISTILLED_KEY, _GROUPED_KEY = "few_step", "class_groups"
_SPECIAL_RECIPES: dict[tuple[str, ...], type[DiffusionRecipe]] = {
    (_DISTILLED_KEY,): DistilledRecipe,
    (_GROUPED_KEY,): GroupedRecipe,
    (_DISTILLED_KEY, _GROUPED_KEY): GroupedDistilledRecipe,
}
_RECIPE: TypeAdapter[ModelRecipe] = TypeAdapter(ModelRecipe)


@dataclass(frozen=True)
class ModelDescription:
    """Contents of a model's config.json."""

    config: ModelRecipe
    shape: ImageShape
    dataset: str  # fingerprint of the dataset it was trained on
    parameters: int  # of the network that generates images
    training_summary: dict[str, Any]
    sha256: dict[str, str]  # of the weights and of what else belongs to the model, by file name


def recipe_values(config: ModelRecipe) -> dict[str, Any]:
    """Return what determines a model's weights as JSON values: the config without its sampling section."""
    return _of_recipe(config.model_dump(mode="json"))


def _of_recipe(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is the recipe's among the values of a config. Raises KeyError where something is missing."""
    return {name: values[name] for name in (*_RECIPE_KEYS, *_special_keys(values))}


def _special_keys(values: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(name for name in (_DISTILLED_KEY, _GROUPED_KEY) if name in values)


def build_model(config: ModelRecipe, shape: ImageShape) -> GenerativeModel:
    """Build a model with random weights from torch's global generator."""
    family = importlib.import_module(f"genai_core.models.{config.family}")
    return cast(GenerativeModel, family.build(config, shape))


def save_model(
    folder: Path,
    model: GenerativeModel,
    config: ModelRecipe,
    *,
    dataset: str,
    training_summary: dict[str, Any],
    arrays: Mapping[str, npt.NDArray[Any]] | None = None,
) -> None:
    """Write `model` into the existing `folder`. Equal arguments give equal bytes.

    dataset: fingerprint of the training data. training_summary: JSON values that are the same in every run of the same
    training (no times). arrays: what belongs to the model beside its weights, by the name of its .npy file.
    """
    drawing, rest = _split_state(model)
    # Not save_file: the files it creates are readable only by their owner.
    (folder / WEIGHTS_FILE).write_bytes(save(drawing))
    (folder / TRAINING_FILE).write_bytes(save(rest))
    for name, array in (arrays or {}).items():
        np.save(folder / name, array)
    description = ModelDescription(
        config=config,
        shape=model.shape,
        dataset=dataset,
        parameters=sum(parameter.numel() for parameter in model.sampled_network().parameters()),
        training_summary=training_summary,
        sha256={name: _sha256(folder / name) for name in (WEIGHTS_FILE, TRAINING_FILE, *(arrays or {}))},
    )
    (folder / CONFIG_FILE).write_text(json.dumps(_to_json(description), indent=2, allow_nan=False) + "\n")
    (folder / CARD_FILE).write_text(_card(description))


def load_model(folder: Path, device: str = "cpu") -> GenerativeModel:
    """Load the model in `folder`, ready to sample.

    Raises FileNotFoundError or ValueError that say what is wrong with the folder.
    """
    description = read_config(folder)
    model = build_model(description.config, description.shape)
    _load_weights(model, description, folder, (WEIGHTS_FILE,))
    return model.to(device).eval().requires_grad_(False)


def load_for_training(folder: Path) -> GenerativeModel:
    """Load the model in `folder` with everything needed to continue training. Raises as load_model does."""
    description = read_config(folder)
    model = build_model(description.config, description.shape)
    _load_weights(model, description, folder, (WEIGHTS_FILE, TRAINING_FILE))
    return model


def read_config(folder: Path) -> ModelDescription:
    """Read config.json in `folder`. Raises FileNotFoundError or ValueError."""
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise FileNotFoundError(f"{folder}: no model found: expected a folder with {CONFIG_FILE} and {WEIGHTS_FILE}")
    try:
        values = json.loads(path.read_text())
        if "family" not in values:
            raise KeyError("family")  # an extractor's, for example
        found = values.get("format")
        if found != FORMAT:
            raise ValueError(f"expected format {FORMAT}, got {found!r}: made by another version of this project")
        recipe, shape = _parse_recipe(_of_recipe(values)), values["shape"]
        if isinstance(recipe, GroupedRecipe):
            recipe.class_groups.numbers(shape["classes"])
        return ModelDescription(
            config=recipe,
            shape=ImageShape(ImageSize.from_json(shape["image_size"]), int(shape["channels"]), tuple(shape["classes"])),
            dataset=str(values["dataset"]),
            parameters=int(values["parameters"]),
            training_summary=dict(values["training_summary"]),
            sha256=dict(values["sha256"]),
        )
    except ValidationError as error:
        fault = error.errors()[0]
        key = ".".join(map(str, fault["loc"]))
        raise ValueError(f"{path}: {key}: {fault['msg']}; not a model of this version") from None
    except (AttributeError, KeyError, TypeError, UnicodeDecodeError, ValueError) as error:
        why = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{path}: not the config of a generative model: {why}") from None


def _parse_recipe(values: dict[str, Any]) -> ModelRecipe:
    # Models that were made before this option existed were trained without.
    text = json.dumps({**values, "training": {"muon": False, **values["training"]}})
    special = _SPECIAL_RECIPES.get(_special_keys(values))
    return _RECIPE.validate_json(text) if special is None else special.model_validate_json(text)


def parse_sampling(family: str, values: dict[str, Any]) -> SamplingConfig:
    """Parse `values`, for example from selection.json, as a family's sampling section. Raises ValueError."""
    # Diffusion models promoted before these options existed are sampled as they were.
    earlier = {"guidance_interval": None, "noise_levels": None} if family == "diffusion" else {}
    try:
        return _sampling_section(family).model_validate(earlier | values)
    except ValidationError as error:
        raise ValueError(f"sampling of {family}: {described(error.errors()[0])}") from None


def selected_sampling(folder: Path) -> SamplingConfig:
    """Return how a chosen model draws. Raises FileNotFoundError or ValueError."""
    path = folder / SELECTION_FILE
    if not path.is_file():
        raise FileNotFoundError(f"{folder}: {SELECTION_FILE} is missing, so nothing says how this model draws")
    family = read_config(folder).config.family
    try:
        return parse_sampling(family, json.loads(path.read_text())["sampling"])
    except (KeyError, TypeError, UnicodeDecodeError, ValueError) as error:
        raise ValueError(f"{path}: not the sampling options of a {family} model: {error}") from None


def _sampling_section(family: str) -> type[SamplingConfig]:
    # ModelConfig is Annotated[A | B | ..., ...]; each member names its family in a Literal.
    fields = {
        get_args(member.model_fields["family"].annotation)[0]: member.model_fields
        for member in get_args(get_args(ModelConfig)[0])
    }
    if family not in fields:
        raise ValueError(f"no such model family: {family!r}; available: {', '.join(fields)}")
    return cast(type[SamplingConfig], fields[family]["sampling"].annotation)


def _split_state(model: GenerativeModel) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the state of the image-generating network, under its own names, and the rest of the model's state."""
    network = model.sampled_network()
    prefix = next(name for name, module in model.named_modules() if module is network) + "."
    # Contiguous: safetensors rejects other memory formats, such as channels_last.
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    drawing = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
    return drawing, {name: tensor for name, tensor in state.items() if not name.startswith(prefix)}


def _load_weights(model: GenerativeModel, description: ModelDescription, folder: Path, names: tuple[str, ...]) -> None:
    for name in names:
        path = checked_file(folder, name, description)
        expected = _split_state(model)[0 if name == WEIGHTS_FILE else 1]
        try:
            found = load_file(path)
        except SafetensorError as error:
            raise ValueError(f"{path}: not a safetensors file: {error}") from None
        _check_same_tensors(path, expected, found)
        target = model.sampled_network() if name == WEIGHTS_FILE else model
        target.load_state_dict(found, strict=name == WEIGHTS_FILE)


def checked_file(folder: Path, name: str, description: ModelDescription) -> Path:
    """Return the path of a model's file. Raises FileNotFoundError or ValueError unless it is the one in config.json."""
    path = folder / name
    if not path.is_file():
        raise FileNotFoundError(f"{folder}: {name} is missing; the model was copied or pulled only in part")
    if _sha256(path) != description.sha256.get(name):
        raise ValueError(
            f"{path}: its sha256 differs from the one in {CONFIG_FILE}; it is damaged or belongs to another model"
        )
    return path


def _check_same_tensors(path: Path, expected: dict[str, Tensor], found: dict[str, Tensor]) -> None:
    missing, unknown = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    if missing or unknown:
        raise ValueError(f"{path}: expected the tensors of its config; missing {missing[:3]}, unknown {unknown[:3]}")
    for name, tensor in expected.items():
        if found[name].shape != tensor.shape:
            raise ValueError(f"{path}: {name}: expected shape {tuple(tensor.shape)}, got {tuple(found[name].shape)}")


def _to_json(description: ModelDescription) -> dict[str, Any]:
    shape = description.shape
    return {
        "format": FORMAT,
        **recipe_values(description.config),
        "shape": {"image_size": shape.image_size.to_json(), "channels": shape.channels, "classes": list(shape.classes)},
        "dataset": description.dataset,
        "parameters": description.parameters,
        "training_summary": description.training_summary,
        "sha256": description.sha256,
    }


def _card(description: ModelDescription) -> str:
    shape, config = description.shape, recipe_values(description.config)
    lines = [
        f"# A {description.config.family} model of images",
        "",
        "| | |",
        "|---|---|",
        f"| images | {shape.image_size} pixels, {'colour' if shape.channels == 3 else 'grey'} |",
        f"| classes | {', '.join(shape.classes) or 'none: unconditional'} |",
        f"| parameters | {description.parameters:,} in the network that generates images |",
        f"| dataset | fingerprint `{description.dataset}` |",
        f"| weights | sha256 `{description.sha256[WEIGHTS_FILE]}` |",
        "",
        "## Training",
        "",
        *_training(description.training_summary),
        "",
        "## Configuration",
        "",
    ]
    for section in list(config)[1:]:
        lines += [f"### {section}", "", *_table(config[section]), ""]
    use = ["from genai_core import load_model", "", 'load_model("this folder").draw(16).save("drawn")']
    lines += ["## Use", "", "```python", *use, "```"]
    return "\n".join(lines) + "\n"


def _training(summary: dict[str, Any]) -> list[str]:
    """Format the summary's values, then each of its lists, such as curves, as its own table."""
    lists = {name: rows for name, rows in summary.items() if rows and isinstance(rows, list)}
    lines = _table({name: value for name, value in summary.items() if name not in lists})
    for name, rows in lists.items():
        columns = list(dict.fromkeys(column for row in rows for column in row))
        lines += ["", f"### {name}", "", f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
        lines += [f"| {' | '.join(_cell(row.get(column, '')) for column in columns)} |" for row in rows]
    return lines


def _table(values: dict[str, Any]) -> list[str]:
    return ["| | |", "|---|---|", *(f"| {name} | {_cell(value)} |" for name, value in values.items())]


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_cell(item)}" for name, item in value.items())
    if isinstance(value, list):
        return ("; " if any(isinstance(item, list) for item in value) else ", ").join(map(_cell, value))
    if isinstance(value, float):
        return f"{value:.6g}"
    return f"{value:,}" if type(value) is int else str(value)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
