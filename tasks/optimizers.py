"""State of the optimizers of finished trainings, for a fine-tuning with finetune.optimizer: restored.

Not part of a model: it is larger than the model, and of no use but for this. A workspace keeps that of its last
trainings and of its models, by the hash of the weights that they ended with. It therefore belongs to these weights or
is not there.
"""

import json
import os
from contextlib import suppress
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save

from genai_core.models.artifact import WEIGHTS_FILE
from genai_core.training.moments import Moments

FOLDER = Path(".genai/cache/optimizers")
KEPT = 12
# The models of the workspace: trained, selected, base, candidate, production's.
_MODELS = ("models/*/config.json", "models/trained/*/config.json", ".genai/production/*/models/*/config.json")


def keep_moments(weights: str, moments: Moments) -> None:
    """Keep the moments of the training that ended with these weights (sha256), and delete the oldest ones.

    Those of the workspace's models stay: the trials of a search are many trainings. A fault, such as a full disk, is
    only printed: the model is trained, and nothing else needs this.
    """
    # Named after the weights: what a kill left is overwritten when the training ends again.
    new = FOLDER / f".new-{weights}"
    try:
        FOLDER.mkdir(parents=True, exist_ok=True)
        new.write_bytes(save(dict(moments)))
        os.replace(new, _path(weights))
    except OSError as error:
        with suppress(OSError):
            new.unlink()
        print(f"note: the state of the optimizer was not kept, so it cannot be restored later: {error}", flush=True)
    old = sorted(FOLDER.glob("*.safetensors"), key=_written, reverse=True)[KEPT:]
    if not old:
        return
    in_use = _weights_of_models()
    for path in old:
        if path.stem not in in_use:
            with suppress(OSError):
                path.unlink()


def kept_moments(weights: str, model: Path) -> Moments:
    """Return the moments of the training that ended with these weights. Raises FileNotFoundError without them.

    model: the folder with the weights, for the message.
    """
    try:
        return load_file(_path(weights))
    except (FileNotFoundError, SafetensorError):
        raise FileNotFoundError(
            f"finetune.optimizer: got restored, but {FOLDER} has no state of the optimizer that trained {model} "
            f"(weights {weights[:12]}): it is kept where a model was trained with its own weights, not by lora or "
            f"few_step, for the last {KEPT} trainings and the models that are there. Use optimizer: fresh, or train "
            "the model here again"
        ) from None


def _weights_of_models() -> set[str]:
    """The hashes of the weights of the workspace's models. A stage runs in a checkout, which shares its cache."""
    workspace, found = FOLDER.resolve().parents[2], set()
    for path in (path for pattern in _MODELS for path in workspace.glob(pattern)):
        with suppress(OSError, ValueError, KeyError, TypeError):
            found.add(str(json.loads(path.read_bytes())["sha256"][WEIGHTS_FILE]))
    return found


def _written(path: Path) -> float:
    """When a file was written; 0 if another training that has just ended deleted it."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _path(weights: str) -> Path:
    return FOLDER / f"{weights}.safetensors"
