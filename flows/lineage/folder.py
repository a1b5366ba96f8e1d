"""Identify a given folder of a model, a dataset or a batch: which version of an output it is."""

import hashlib
import os
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

from flows.data.stores import Stores
from flows.locked import Item

# The file that identifies each kind: a model's has the hash of the weights, a dataset's the fingerprint.
_SAYS_WHAT = ("config.json", "dataset.json", "provenance.json")
_MOST_NAMED = 4


class HeldFolder:
    """A folder with the hashes of its files, each calculated once."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def files(self) -> dict[str, str]:
        """Relative path -> md5, as DVC's listing of a folder has them."""
        found = [Path(place) / name for place, _, names in os.walk(self.path) for name in names]
        return {file.relative_to(self.path).as_posix(): _md5(file) for file in sorted(found) if file.is_file()}

    def version(self, versions: Iterable[Item], held: Stores, place: str) -> Item | None:
        """Among the versions with the same identifying file, one with the same files, else one from `place`.

        versions: the newest first. place: the folder's path in the workspace.
        """
        if (name := self._says_what) is None:
            return None
        md5 = _md5(self.path / name)
        like = [item for item in versions if (held.files(item.md5) or {}).get(name) == md5]
        return max(like, key=lambda item: (held.files(item.md5) == self.files, item.path == place), default=None)

    def difference(self, version: Item, held: Stores) -> str | None:
        """How the folder differs from the version that it was identified as; None if it does not."""
        there = held.files(version.md5) or {}
        said = [f"{name} differs" for name in self.files.keys() & there.keys() if self.files[name] != there[name]]
        said += [f"{name} is not in that version" for name in self.files.keys() - there.keys()]
        said += [f"{name} is missing here" for name in there.keys() - self.files.keys()]
        if not said:
            return None
        more = f" and {len(said) - _MOST_NAMED} more" if len(said) > _MOST_NAMED else ""
        what = "by its weights alone" if self._says_what == "config.json" else f"by its {self._says_what} alone"
        return (
            f"what lies in {self.path} is no version that is known; what follows is of {version.path} with data "
            f"{version.md5[:12]}, found {what}: {', '.join(sorted(said)[:_MOST_NAMED])}{more}"
        )

    @property
    def _says_what(self) -> str | None:
        return next((name for name in _SAYS_WHAT if (self.path / name).is_file()), None)


def _md5(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
