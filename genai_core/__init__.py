"""Generative modelling library: data, models, training, evaluation, sampling.

Load a model and generate images: `load_model("models/candidate").draw(16, seed=0).save("drawn")`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genai_core.model import Images, Model, ModelError, load_model

    __version__: str


class GenaiError(Exception):
    """An error that a user can act on: its message says what is wrong, where, and what to do."""


__all__ = ["GenaiError", "Images", "Model", "ModelError", "__version__", "load_model"]


def __getattr__(name: str) -> Any:
    # Import on demand: `import genai_core` stays fast for code that needs no model, above all the decoding processes;
    # torch takes seconds to import.
    if name == "__version__":
        from importlib.metadata import version

        return version("genai-pipeline")
    if name in __all__:
        return getattr(import_module("genai_core.model"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
