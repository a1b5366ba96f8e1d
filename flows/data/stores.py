"""DVC's object stores: the cache and the remotes of a checkout. Read objects from the first one that has them."""

import os
import shutil
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from flows.data.objects import (
    FOLDER_SUFFIX,
    RemoteError,
    cached_size,
    content_hash,
    read_listing,
    unreachable,
)
from flows.data.sizes import sizes_at
from flows.dvc_config import edited_config
from flows.graph import open_repo
from flows.redact import redacted, without_secrets

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc_data.hashfile.db import HashFileDB

DEFAULT_NAME = "storage"

_indexes_in_use: Counter[Path] = Counter()
_indexes_lock = threading.Lock()


class Stores:
    """The cache, and a remote for what the cache lacks. Reads only: nothing is added to the cache.

    remote: by name; None: the default remote, if there is one. Raises RemoteError if no remote has that name, and from
    every method if the remote does not answer.
    """

    def __init__(self, repo: "Repo", remote: str | None = None) -> None:
        _check_remote_name(repo, remote)
        self._repo = repo
        self._listings: dict[str, dict[str, str] | None] = {}
        self.cache: HashFileDB = repo.cache.local
        self.remote_name: str | None = remote or repo.config["core"].get("remote")
        self._is_default = remote is None

    @cached_property
    def remote(self) -> "HashFileDB | None":
        """The remote, opened when it is first needed."""
        from dvc.config import RemoteConfigError

        if not self.remote_name:
            return None
        try:
            store: HashFileDB = self._repo.cloud.get_remote_odb(self.remote_name, "diff")
            return store
        except RemoteConfigError as error:  # a remote that stores files under their names has no objects
            if self._is_default:
                return None
            raise RemoteError(redacted(str(error))) from None

    def listing(self, oid: str | None) -> dict[str, str] | None:
        """The files of a folder, name -> hash; None if neither the cache nor the remote has the listing."""
        if oid is None:
            return None
        if oid not in self._listings:
            found = read_listing(self.cache, oid)
            self._listings[oid] = read_listing(self.remote, oid) if found is None and self.remote else found
        return self._listings[oid]

    def files(self, oid: str) -> dict[str, str] | None:
        """The files of an output, relative path -> hash; a single file has the path "". None if missing."""
        return self.listing(oid) if oid.endswith(FOLDER_SUFFIX) else {"": oid}

    def read(self, oid: str) -> bytes | None:
        """A file's content from the cache, else from the remote; None if neither has it."""
        path = Path(self.cache.oid_to_path(oid))
        if path.is_file():
            return path.read_bytes()
        if self.remote is None or not sizes_at(self.remote, [oid]):
            return None
        try:
            content: bytes = self.remote.fs.cat_file(self.remote.oid_to_path(oid))
        except Exception as error:
            raise unreachable(self.remote, error) from None
        return content

    def in_cache(self, oid: str) -> bool:
        """Whether the cache has an output completely."""
        files = _files_in(self.cache, oid)
        return files is not None and all(cached_size(self.cache, file) is not None for file in files)

    def at_remote(self, oid: str) -> bool:
        """Whether the remote has an output completely. Asks the remote, not DVC's index of it."""
        files = _files_in(self.remote, oid) if self.remote else None
        return self.remote is not None and files is not None and len(sizes_at(self.remote, files)) == len(files)

    def lay_out(self, files: Mapping[str, str], names: Iterable[str], folder: Path) -> list[str]:
        """Put files of a listing below `folder`, as links into the cache or fetched; return missing ones."""
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
            raise RemoteError(f"{path.name} ({oid}): damaged at the remote; replace it with genai data push --content")
        return True


@contextmanager
def opened_remote(
    workspace: Path, remote: str | None, *, leaves_no_trace: bool = False
) -> Iterator[tuple["Repo", "HashFileDB"]]:
    """The repo and the remote's store, without DVC's index of the remote, which may be wrong. Raises RemoteError.

    leaves_no_trace: for commands that change nothing (graph.open_repo).
    """
    from dvc.config import RemoteConfigError

    with ExitStack() as stack:
        repo = stack.enter_context(open_repo(workspace, leaves_no_trace=leaves_no_trace))
        if not leaves_no_trace and _has_made_private(repo):
            repo = stack.enter_context(open_repo(workspace))  # it reads the setting when it is opened
        stack.enter_context(_without_index(Path(repo.site_cache_dir) / "index"))
        names = list(repo.config["remote"])
        if remote is None and not repo.config["core"].get("remote"):
            if names:
                raise RemoteError(f"there is no default remote; choose one with -r: {', '.join(names)}")
            raise RemoteError("there is no remote yet; add one: genai data push --to FOLDER, or --to s3://BUCKET/PATH")
        _check_remote_name(repo, remote)
        try:
            store = repo.cloud.get_remote_odb(remote, "push")
        except RemoteConfigError as error:
            raise RemoteError(redacted(str(error))) from None
        yield repo, store


@contextmanager
def _without_index(folder: Path) -> Iterator[None]:
    """Delete DVC's index of a remote, unless another thread has it open: SQLite would fail there.

    An interrupted push leaves it incomplete. A later push then assumes that missing objects exist.
    """
    with _indexes_lock:
        if not _indexes_in_use[folder]:
            shutil.rmtree(folder, ignore_errors=True)
        _indexes_in_use[folder] += 1
    try:
        yield
    finally:
        with _indexes_lock:
            _indexes_in_use[folder] -= 1


def add_default_remote(workspace: Path, location: str) -> bool:
    """Make a folder or an address the default remote, as `dvc remote add --default` does. Raises RemoteError.

    .dvc/config gets the address without user, password and signature. If the address has any of them, the full one goes
    to .dvc/config.local, which git ignores. Return whether it has.
    """
    with open_repo(workspace) as repo:
        if "://" not in location:
            location = str(Path.cwd() / Path(location).expanduser())
        shown, known = without_secrets(location), repo.config["remote"]
        addresses = {name: without_secrets(str(settings.get("url"))) for name, settings in known.items()}
        name = next((name for name, address in addresses.items() if address == shown), DEFAULT_NAME)
        if addresses.get(name, shown) != shown:
            raise RemoteError(f"the remote {name!r} already exists ({addresses[name]}); select it with -r {name}")
        with edited_config(repo.config) as settings:
            settings["remote"].setdefault(name, {})["url"] = shown
            settings["core"]["remote"] = name
        if location != shown:
            with edited_config(repo.config, "local") as settings:
                settings["remote"].setdefault(name, {})["url"] = location
        return location != shown


def keep_indexes_private(workspace: Path) -> None:
    """Give this checkout its own folder for DVC's indexes, unless one is configured.

    DVC's default folder is writable for every user of the machine, and the indexes contain pickles.
    """
    with open_repo(workspace) as repo:
        _has_made_private(repo)


def _has_made_private(repo: "Repo") -> bool:
    """Do what `keep_indexes_private` does. Return whether the settings have changed."""
    from dvc import env

    if os.environ.get(env.DVC_SITE_CACHE_DIR) or repo.config["core"].get("site_cache_dir"):
        return False
    folder = Path(repo.tmp_dir) / "site"
    folder.mkdir(mode=0o700, exist_ok=True)
    with edited_config(repo.config, "local") as settings:
        settings["core"]["site_cache_dir"] = str(folder)
    return True


def _check_remote_name(repo: "Repo", remote: str | None) -> None:
    """Raises RemoteError if there is no DVC remote of that name; None is the default one."""
    names = list(repo.config["remote"])
    if remote is not None and remote not in names:
        raise RemoteError(f"unknown remote {remote!r}; available: {', '.join(names) or 'none'}")


def _files_in(store: "HashFileDB", oid: str) -> set[str] | None:
    """Hashes of an output's files by the listing in that store; None if it has no listing."""
    listing = read_listing(store, oid) if oid.endswith(FOLDER_SUFFIX) else {"": oid}
    return None if listing is None else set(listing.values())
