"""State of the optimizers of finished trainings, for a fine-tuning with finetune.optimizer: restored.

Not part of a model: it is larger than the model, and of no use but for this. A workspace keeps that of its last
trainings, by the hash of the weights that they ended with. It therefore belongs to these weights or is not there.
"""

import os
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save

from genai_core.training.moments import Moments

FOLDER = Path(".genai/cache/optimizers")
KEPT = 12


def keep_moments(weights: str, moments: Moments) -> None:
    """Keep the moments of the training that ended with these weights (sha256), and delete the oldest ones."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    new = FOLDER / f".new-{os.getpid()}"
    new.write_bytes(save(dict(moments)))
    os.replace(new, _path(weights))
    newest_first = sorted(FOLDER.glob("*.safetensors"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in newest_first[KEPT:]:
        path.unlink(missing_ok=True)


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


def _path(weights: str) -> Path:
    return FOLDER / f"{weights}.safetensors"
