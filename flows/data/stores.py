"""Objects from wherever they are: DVC's cache, and a remote for what the cache has not."""

from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from flows.data.objects import RemoteError, content_hash, read_listing, sizes_at, unreachable
from flows.redact import redacted

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc_data.hashfile.db import HashFileDB


class Stores:
    """For reading: nothing is taken into the cache.

    remote: by name; None: the default one, if there is one. Raises RemoteError when there is none of that name.
    """

    def __init__(self, repo: "Repo", remote: str | None = None) -> None:
        check_remote_name(repo, remote)
        self._repo = repo
        self._name = remote
        self.cache: HashFileDB = repo.cache.local

    @cached_property
    def remote(self) -> "HashFileDB | None":
        """The remote, opened when something is first looked for there."""
        from dvc.config import RemoteConfigError

        if self._name is None and not self._repo.config["core"].get("remote"):
            return None
        try:
            store: HashFileDB = self._repo.cloud.get_remote_odb(self._name, "diff")
            return store
        except RemoteConfigError as error:  # one that keeps files under their names has no objects
            if self._name is not None:
                raise RemoteError(redacted(str(error))) from None
            return None

    def listing(self, oid: str | None) -> dict[str, str] | None:
        """The files of a folder, name -> hash; None where it is nowhere."""
        if oid is None:
            return None
        found = read_listing(self.cache, oid)
        if found is None and self.remote is not None:
            found = read_listing(self.remote, oid)
        return found

    def lay_out(self, files: Mapping[str, str], names: Iterable[str], folder: Path) -> list[str]:
        """Put files of a listing below `folder`, as links into the cache or fetched; returns those that are nowhere."""
        lost = []
        for name in names:
            path, source = folder / name, Path(self.cache.oid_to_path(files[name]))
            path.parent.mkdir(parents=True, exist_ok=True)
            if source.is_file():
                path.symlink_to(source.resolve())
            elif not self._fetch(files[name], path):
                lost.append(name)
        return lost

    def _fetch(self, oid: str, path: Path) -> bool:
        if self.remote is None or not sizes_at(self.remote, [oid]):
            return False
        try:
            self.remote.fs.get_file(self.remote.oid_to_path(oid), str(path))
        except Exception as error:
            raise unreachable(self.remote, error) from None
        if content_hash(self.cache, str(path)) != oid:
            raise RemoteError(f"{path.name} ({oid}): damaged at the remote; send it again (genai data push --content)")
        return True


def check_remote_name(repo: "Repo", remote: str | None) -> None:
    """Raises RemoteError when there is no DVC remote of that name; None is the default one."""
    names = list(repo.config["remote"])
    if remote is not None and remote not in names:
        raise RemoteError(f"there is no remote {remote!r}; there are: {', '.join(names) or 'none'}")
