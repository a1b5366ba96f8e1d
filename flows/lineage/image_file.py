"""A generated image on disk, as a file or an archive member, and the batch that contains it."""

import hashlib
import lzma
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.lineage.drawn_picture import provenance_in
from flows.lineage.production_batches import ProductionBatch, batch_around
from genai_core import GenaiError


class LineageError(GenaiError):
    """The object cannot be found; the message says where it was searched for."""


@dataclass(frozen=True)
class ImageFile:
    """An image by its sha256.

    batch: the batch of production that contains it, even if that was moved. provenance: what the file says of itself,
    if a server made it.
    """

    sha256: str
    batch: ProductionBatch | None
    provenance: dict[str, Any] | None


def find_image_file(thing: str) -> ImageFile | None:
    """The image that `thing` names: FILE, or ARCHIVE:MEMBER; None if there is no such file. Raises LineageError."""
    path, (archive, _, member) = Path(thing), thing.rpartition(":")
    if path.is_file():
        return _image(path.read_bytes(), path)
    if member and Path(archive).is_file():
        return _image(_member(Path(archive), member), Path(archive))
    return None


def _image(content: bytes, path: Path) -> ImageFile:
    return ImageFile(hashlib.sha256(content).hexdigest(), batch_around(path), provenance_in(content))


def _member(archive: Path, name: str) -> bytes:
    try:
        with tarfile.open(archive) as opened:
            file = opened.extractfile(name)
            if file is not None:
                return file.read()
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, KeyError, OSError) as error:
        raise LineageError(f"{archive}:{name}: {error}") from None
    raise LineageError(f"{archive}:{name}: the archive has no file of that name")
