"""What generative modelling is here: data, models, training, evaluation, sampling. A pure library."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from genai_core.models.protocol import GenerativeModel


def load_model(folder: "str | Path", device: str = "cpu") -> "GenerativeModel":
    """The trained model in `folder`, ready for `model.sample(labels, seeds, sampling)`.

    Raises FileNotFoundError or ValueError that say what is wrong with the folder.
    """
    # Here, not above: `import genai_core` stays quick for those who want no model, the processes that decode images
    # first of all; torch takes seconds to import.
    from pathlib import Path

    from genai_core.models.artifact import load_model as load

    return load(Path(folder), device)


__all__ = ["load_model"]
