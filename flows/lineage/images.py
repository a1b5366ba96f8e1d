"""A given generated image: a file or a member of an archive, and the batch around it."""

import hashlib
import tarfile
from dataclasses import dataclass
from pathlib import Path

from flows.lineage.drawn import ProductionBatch, batch_around
from genai_core import GenaiError


class LineageError(GenaiError):
    """The requested thing cannot be found; the message says what was searched."""


@dataclass(frozen=True)
class Held:
    """The sha256 of its file. around: the batch of production that contains it, also if that was moved."""

    sha256: str
    around: ProductionBatch | None


def held_image(thing: str) -> Held | None:
    """The image that `thing` names: FILE, or ARCHIVE:MEMBER; None if there is no such file. Raises LineageError."""
    path, (archive, _, member) = Path(thing), thing.rpartition(":")
    if path.is_file():
        return Held(hashlib.sha256(path.read_bytes()).hexdigest(), batch_around(path))
    if member and Path(archive).is_file():
        content = _member(Path(archive), member)
        return Held(hashlib.sha256(content).hexdigest(), batch_around(Path(archive)))
    return None


def _member(archive: Path, name: str) -> bytes:
    try:
        with tarfile.open(archive) as opened:
            file = opened.extractfile(name)
            if file is not None:
                return file.read()
    except (tarfile.TarError, KeyError, OSError) as error:
        raise LineageError(f"{archive}:{name}: {error}") from None
    raise LineageError(f"{archive}:{name}: no file of that name in the archive")
