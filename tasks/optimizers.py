"""State of the optimizers of finished trainings, for a fine-tuning with finetune.optimizer: restored.

Not part of a model: it is larger than the model, and of no use but for this. A workspace keeps that of its last
trainings, by the hash of the weights that they ended with. It therefore belongs to these weights or is not there.
"""

import os
from contextlib import suppress
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save

from genai_core.training.moments import Moments

FOLDER = Path(".genai/cache/optimizers")
KEPT = 12


def keep_moments(weights: str, moments: Moments) -> None:
    """Keep the moments of the training that ended with these weights (sha256), and delete the oldest ones.

    A fault, such as a full disk, is only printed: the model is trained, and nothing else needs this.
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
    for path in sorted(FOLDER.glob("*.safetensors"), key=_written, reverse=True)[KEPT:]:
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
            f"few_step, and for the last {KEPT} trainings only. Use optimizer: fresh, or train the model here again"
        ) from None


def _written(path: Path) -> float:
    """When a file was written; 0 if another training that has just ended deleted it."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _path(weights: str) -> Path:
    return FOLDER / f"{weights}.safetensors"
