"""Learning rates by layer, and weights that do not learn.

Early layers hold what is common to all images, and a fine-tuning may want to keep it: layer-wise decay of the learning
rate (Clark et al. 2020, arXiv 2003.10555, appendix B), or frozen weights.
"""

import copy
import re
from collections.abc import Sequence
from fnmatch import fnmatchcase

import torch
from torch import nn

from genai_core.models.networks.class_embedding import ClassEmbedding
from genai_core.models.protocol import GenerativeModel

_GROUP = re.compile(r"(?<=\.)networks\.\d+\.")  # in names of a model whose classes are drawn by several networks


class FrozenError(ValueError):
    """A pattern of frozen weights fits nothing, or leaves nothing to train."""


def learning_rates(
    model: GenerativeModel, first_layer_rate: float, frozen: Sequence[str], class_rate: float = 1.0
) -> dict[str, float]:
    """Return the factor of the learning rate for each weight that is trained, by its name in the model.

    first_layer_rate: factor of the layer that is the first to run in a phase; the last one's is 1, and those between
    are geometric. class_rate: factor of class embeddings: what is new about a class is there. frozen: patterns of names
    that get no factor; those of a network for all classes fit each group's, too. Raises FrozenError.
    """
    _check_patterns(model, frozen)
    factors: dict[str, float] = {}
    for phase in model.phases:
        trained = {id(parameter) for parameter in model.phase_parameters(phase)}
        places = _places_of_layers(model, phase, trained) if first_layer_rate < 1.0 else {}
        own = 0
        for name, parameter in model.named_parameters():
            if id(parameter) not in trained or any(_fits(name, pattern) for pattern in frozen):
                continue
            layer = name.rpartition(".")[0]
            is_class = isinstance(model.get_submodule(layer), ClassEmbedding)
            factors[name] = class_rate if is_class else first_layer_rate ** (1.0 - places.get(layer, 1.0))
            own += 1
        if not own and phase in model.phases_at(1.0):
            raise FrozenError(f"frozen: {', '.join(frozen)} leaves nothing of the {phase} to train")
    return factors


def _check_patterns(model: GenerativeModel, frozen: Sequence[str]) -> None:
    names = [name for name, _ in model.named_parameters()]
    for pattern in frozen:
        if not any(_fits(name, pattern) for name in names):
            parts = sorted({".".join(_in_its_group(name).split(".")[:2]) + ".*" for name in names})
            raise FrozenError(f"frozen: {pattern} fits no weights of this model; its parts are {', '.join(parts)}")


def _fits(name: str, pattern: str) -> bool:
    """Return whether a pattern fits a weight. Without "networks.", it is for a network of all classes."""
    return fnmatchcase(name if "networks." in pattern else _in_its_group(name), pattern)


def _in_its_group(name: str) -> str:
    """The name that a weight, or layer, would have if there was one network for all classes."""
    return _GROUP.sub("", name)


def _places_of_layers(model: GenerativeModel, phase: str, trained: set[int]) -> dict[str, float]:
    """Return how far along each layer is, from 0 to 1, by its name; each group of classes has its own first layer."""
    by_group: dict[tuple[str, ...], list[str]] = {}
    for name in _order_of_layers(model, phase):
        if _has_one_of(model.get_submodule(name), trained):
            by_group.setdefault(tuple(_GROUP.findall(name)), []).append(name)
    return {name: index / max(1, len(layers) - 1) for layers in by_group.values() for index, name in enumerate(layers)}


def _order_of_layers(model: GenerativeModel, phase: str) -> list[str]:
    """Names of the modules in the order in which a step first runs them; found by running one on a copy."""
    probe = copy.deepcopy(model).to("cpu").train()
    found: dict[str, None] = {}
    hooks = [
        module.register_forward_pre_hook(lambda _module, _inputs, name=name: found.setdefault(name))
        for name, module in probe.named_modules()
    ]
    classes = [*probe.classes_of_all_weights()]
    classes = classes if len(classes) > 1 else classes * 2
    labels = torch.tensor(classes) if probe.shape.classes else None
    images = torch.zeros((len(classes), *probe.shape.chw))
    probe.loss(phase, images, labels, torch.Generator().manual_seed(0))
    for hook in hooks:
        hook.remove()
    return list(found)


def _has_one_of(module: nn.Module, parameters: set[int]) -> bool:
    return any(id(parameter) in parameters for parameter in module.parameters(recurse=False))
