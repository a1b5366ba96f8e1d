"""The models that this process holds, by the key that the server gives them."""

from dataclasses import dataclass, field
from pathlib import Path

from genai_core.model import Model
from genai_core.models.artifact import WEIGHTS_FILE
from tasks.own_models import load_own
from tasks.serving.errors import ModelFault


@dataclass
class Models:
    """Loaded models on one device. threads: how many of its threads are divided among requests; 1 on a GPU."""

    device: str
    threads: int = 1
    held: dict[str, Model] = field(default_factory=dict)

    def load(self, key: str, folder: Path, expected_sha256: str | None) -> Model:
        """Load a model; the same key again replaces it.

        expected_sha256: of its weights, when the server knows it. Raises ModelFault when the folder holds no whole
        model or other weights than expected.
        """
        try:
            model = load_own(folder, self.device)
        except (FileNotFoundError, ValueError) as error:
            raise ModelFault(str(error)) from None
        found = model.description.sha256[WEIGHTS_FILE]
        if expected_sha256 not in (None, found):
            raise ModelFault(
                f"the weights have changed: expected sha256 {str(expected_sha256)[:12]}, found {found[:12]}",
                code="model_changed",
            )
        self.held[key] = model
        return model

    def unload(self, key: str) -> None:
        """Unload a model; without effect if it is not held."""
        self.held.pop(key, None)

    def get(self, key: str) -> Model:
        """Raises ModelFault for a model that is not held."""
        if key not in self.held:
            raise ModelFault(f"no model {key!r} is loaded")
        return self.held[key]
