"""Whether an executor's library is installed: each is an extra of the package."""

from importlib.util import find_spec

from genai_core.config import ConfigError

_LIBRARIES = {"ray": "ray", "dask": "distributed"}


def check_installed(executor: str) -> None:
    """Raise ConfigError if the library of an executor is not installed."""
    library = _LIBRARIES.get(executor)
    if library is not None and find_spec(library) is None:
        raise ConfigError(
            f"executor {executor} needs the package {library}, here and on every worker: "
            f"pip install 'genai-pipeline[{executor}]'"
        )
