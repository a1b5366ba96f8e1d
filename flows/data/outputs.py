"""Versions of an output by DVC's hash, from cache or remote: its files, their contents, is all of it there."""

from pathlib import Path
from typing import TYPE_CHECKING

from flows.data.objects import cached_size, read_listing, sizes_at, unreachable
from flows.data.stores import Stores

if TYPE_CHECKING:
    from dvc.repo import Repo


class Outputs:
    """What the cache and the default remote hold, if there is one. Raises RemoteError when it does not answer."""

    def __init__(self, repo: "Repo") -> None:
        self._stores = Stores(repo)
        self._listings: dict[str, dict[str, str] | None] = {}
        self.remote_name: str | None = repo.config["core"].get("remote")

    def files(self, md5: str) -> dict[str, str] | None:
        """The files below a folder (relative path -> md5); a single file stands under "". None: it is nowhere."""
        if not md5.endswith(".dir"):
            return {"": md5}
        if md5 not in self._listings:
            self._listings[md5] = self._stores.listing(md5)
        return self._listings[md5]

    def read(self, md5: str) -> bytes | None:
        """A file's content from the cache, else from the remote; None where neither has it."""
        path, remote = Path(self._stores.cache.oid_to_path(md5)), self._stores.remote
        if path.is_file():
            return path.read_bytes()
        if remote is None or not sizes_at(remote, [md5]):
            return None
        try:
            content: bytes = remote.fs.cat_file(remote.oid_to_path(md5))
        except Exception as error:
            raise unreachable(remote, error) from None
        return content

    def in_cache(self, md5: str) -> bool:
        """Whether the cache has the whole of an output."""
        files = read_listing(self._stores.cache, md5) if md5.endswith(".dir") else {"": md5}
        return files is not None and all(cached_size(self._stores.cache, oid) is not None for oid in files.values())

    def at_remote(self, md5: str) -> bool:
        """Whether the remote has the whole of an output; asked of the remote, not of DVC's own notes about it."""
        remote = self._stores.remote
        if remote is None:
            return False
        files = read_listing(remote, md5) if md5.endswith(".dir") else {"": md5}
        return files is not None and len(sizes_at(remote, set(files.values()))) == len(set(files.values()))
