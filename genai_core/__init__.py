"""What generative modelling is here: data, models, training, evaluation, sampling. A pure library.

A model is loaded and drawn from by `load_model("models/candidate").draw(16, seed=0).save("drawn")`.
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
    # Only when it is asked for: `import genai_core` stays quick for those who want no model, the processes that decode
    # images first of all; torch takes seconds to import.
    if name == "__version__":
        from importlib.metadata import version

        return version("genai-pipeline")
    if name in __all__:
        return getattr(import_module("genai_core.model"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
