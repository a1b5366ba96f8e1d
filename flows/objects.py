"""What DVC's cache and remote hold: the files of an output by its hash, without a checkout of it."""

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dvc.repo import Repo


class Objects:
    """The objects of a repo's cache, and of its default remote if there is one."""

    def __init__(self, repo: "Repo") -> None:
        self._cache: Any = repo.cache.local
        self._repo = repo
        self._listings: dict[str, dict[str, str] | None] = {}

    @property
    def remote_name(self) -> str | None:
        """The default remote's name; None when there is none."""
        name: str | None = self._repo.config["core"].get("remote")
        return name

    def read(self, md5: str) -> bytes | None:
        """An object's content from the cache, else from the remote; None where neither has it."""
        if self._cache.exists(md5):
            return self._content(self._cache, md5)
        remote = self._remote()
        return self._content(remote, md5) if remote is not None and remote.exists(md5) else None

    def files(self, md5: str) -> dict[str, str] | None:
        """The files below a folder (relative path -> md5); a single file stands under "". None: no such object."""
        if not md5.endswith(".dir"):
            return {"": md5}
        if md5 not in self._listings:
            content = self.read(md5)
            entries = None if content is None else json.loads(content)
            self._listings[md5] = None if entries is None else {entry["relpath"]: entry["md5"] for entry in entries}
        return self._listings[md5]

    def in_cache(self, md5: str) -> bool:
        """Whether the cache has the whole of an output."""
        return self._has(self._cache, md5)

    def at_remote(self, md5: str) -> bool:
        """Whether the remote has the whole of an output; asked of the remote, not of DVC's own notes about it."""
        remote = self._remote()
        return remote is not None and self._has(remote, md5)

    def _has(self, store: Any, md5: str) -> bool:
        if not store.exists(md5):
            return False
        if not md5.endswith(".dir"):
            return True
        listing: Iterable[dict[str, str]] = json.loads(self._content(store, md5))
        return all(store.exists(entry["md5"]) for entry in listing)

    def _content(self, store: Any, md5: str) -> bytes:
        content: bytes = store.fs.cat_file(store.oid_to_path(md5))
        return content

    def _remote(self) -> Any:
        return self._repo.cloud.get_remote_odb() if self.remote_name else None
