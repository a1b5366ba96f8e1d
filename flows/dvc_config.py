"""Edit DVC's configuration files: complete or not at all, in any language."""

import locale
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Any

from genai_core import GenaiError

if TYPE_CHECKING:
    from dvc.config import Config


class ConfigFileError(GenaiError):
    """A value cannot be written into a configuration file of DVC; the file is unchanged."""


@contextmanager
def edited_config(config: "Config", level: str = "repo") -> Iterator[dict[str, Any]]:
    """Yield the settings of .dvc/config ("repo") or .dvc/config.local ("local") and save them after the body.

    DVC's own `edit` truncates the file before it encodes the text as ASCII. A path or an address with other letters
    then leaves an empty file, without the secrets that were in it. Raises ConfigFileError.
    """
    config._save_config = partial(_save, config)
    with config.edit(level) as settings:
        yield settings


def _save(config: "Config", level: str, settings: Mapping[str, Any]) -> None:
    from configobj import ConfigObj  # DVC brings it
    from dvc.config import _pack_named

    path = Path(config.files[level]).resolve()
    encoding = locale.getpreferredencoding(False)  # DVC reads the file with Python's default
    lines = ConfigObj(_pack_named(settings)).write()
    try:
        content = "".join(f"{line}\n" for line in lines).encode(encoding)
    except UnicodeEncodeError as error:
        raise ConfigFileError(
            f"{path}: {error.object[error.start : error.end]!a} cannot be written in {encoding}, this session's "
            "encoding; the file is unchanged. Use a UTF-8 locale (LC_ALL=C.UTF-8), or a path without this character"
        ) from None
    # In the folder for DVC's temporary files, which git ignores: after a kill, no secret is left where git sees it.
    temporary = path.parent / "tmp"
    temporary.mkdir(exist_ok=True)
    with NamedTemporaryFile(dir=temporary, prefix="config-", delete=False) as file:
        file.write(content)
    if path.exists():
        shutil.copymode(path, file.name)
    os.replace(file.name, path)
