"""Notice that the files of a served folder changed: what is drawn would no longer be what the folder holds."""

import asyncio
import hashlib
import logging
from pathlib import Path

from flows.registry.model_names import WEIGHTS_FILE
from flows.serving.background import in_background
from flows.serving.generation import Generation
from flows.serving.models import Models

log = logging.getLogger("genai.serve")

LOOK_EVERY_S = 1.0

Stamp = tuple[int, int, int]


async def watch_files(models: Models) -> None:
    """Poll until cancelled at the weights of models without a version; the registry looks after those of versions.

    A model whose weights changed gets a fault, and its requests are refused until the server is started again.
    """
    watched = [model for model in models if model.version is None]
    # Empty at first, so that each file is read once: it may have changed between its loading and now.
    stamps: dict[Generation, Stamp | None] = {}
    while watched:
        for model in watched:
            now = _stamp(model.folder)
            if model.fault is not None or (model in stamps and now == stamps[model]):
                continue
            stamps[model] = now
            found = await in_background(_sha256, model.folder)
            if found != model.sha256:
                model.has_changed()
                log.error("%s", model.fault)
        await asyncio.sleep(LOOK_EVERY_S)


def _stamp(folder: Path) -> Stamp | None:
    try:
        stat = (folder / WEIGHTS_FILE).stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


def _sha256(folder: Path) -> str | None:
    try:
        with (folder / WEIGHTS_FILE).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
