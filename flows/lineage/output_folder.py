"""Identify which version of an output (model, dataset or batch) a folder contains."""

import hashlib
import os
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

from flows.data.stores import Stores
from flows.dvc_lock import Item

# The file that identifies each kind: config.json has the hash of the weights, dataset.json the fingerprint.
_IDENTIFYING_FILES = ("config.json", "dataset.json", "provenance.json")
_MAX_LISTED = 4


class OutputFolder:
    """A folder with the hashes of its files. Each file is hashed once."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def files(self) -> dict[str, str]:
        """Relative path -> md5, as in DVC's listing of a folder."""
        found = [Path(place) / name for place, _, names in os.walk(self.path) for name in names]
        return {file.relative_to(self.path).as_posix(): _md5(file) for file in sorted(found) if file.is_file()}

    def version(self, versions: Iterable[Item], stores: Stores, place: str) -> Item | None:
        """Return a version with the same identifying file: one with the same files, else one from `place`.

        versions: newest first. place: the folder's path in the workspace.
        """
        if (name := self._identifying_file) is None:
            return None
        md5 = _md5(self.path / name)
        like = [item for item in versions if (stores.files(item.md5) or {}).get(name) == md5]
        return max(like, key=lambda item: (stores.files(item.md5) == self.files, item.path == place), default=None)

    def difference(self, version: Item, stores: Stores) -> str | None:
        """How the folder differs from the version that it was identified as; None if it does not."""
        there = stores.files(version.md5) or {}
        differing = [f"{name} differs" for name in self.files.keys() & there.keys() if self.files[name] != there[name]]
        differing += [f"{name} is not in that version" for name in self.files.keys() - there.keys()]
        differing += [f"{name} is missing here" for name in there.keys() - self.files.keys()]
        if not differing:
            return None
        more = f" and {len(differing) - _MAX_LISTED} more" if len(differing) > _MAX_LISTED else ""
        name = "weights" if self._identifying_file == "config.json" else self._identifying_file
        return (
            f"{self.path} differs from every known version. Below is {version.path} with data {version.md5[:12]}, "
            f"which has the same {name}; differences: {', '.join(sorted(differing)[:_MAX_LISTED])}{more}"
        )

    @property
    def _identifying_file(self) -> str | None:
        return next((name for name in _IDENTIFYING_FILES if (self.path / name).is_file()), None)


def _md5(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
