"""A checkout's DVC remote: the default one, and the store of one that is opened."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from flows.data.objects import RemoteError
from flows.data.stores import check_remote_name
from flows.graph import open_repo
from flows.redact import redacted, without_secrets

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc_data.hashfile.db import HashFileDB

DEFAULT_NAME = "storage"


def add_default_remote(workspace: Path, location: str) -> bool:
    """Make a folder or an address the default remote, as `dvc remote add --default` does. Raises RemoteError.

    An address with a user, a password or a signature is written as it is into .dvc/config.local, which git ignores,
    and without them into .dvc/config, which everybody reads; returns whether it was so.
    """
    with open_repo(workspace) as repo:
        if "://" not in location:
            folder = Path(location).expanduser()
            location = str(folder if folder.is_absolute() else Path.cwd() / folder)
        shown, known = without_secrets(location), repo.config["remote"]
        addresses = {name: str(settings.get("url")) for name, settings in known.items()}
        names = [name for name, address in addresses.items() if without_secrets(address) == shown]
        name = names[0] if names else DEFAULT_NAME
        if name in known and not names:
            there = without_secrets(addresses[name])
            raise RemoteError(f"there is a remote {name!r} already ({there}); choose it with -r {name}")
        with repo.config.edit() as settings:
            settings["remote"].setdefault(name, {})["url"] = shown
            settings["core"]["remote"] = name
        if location != shown:
            with repo.config.edit("local") as settings:
                settings["remote"].setdefault(name, {})["url"] = location
        return location != shown


@contextmanager
def opened_remote(
    workspace: Path, remote: str | None, *, leaves_no_trace: bool = False
) -> Iterator[tuple["Repo", "HashFileDB"]]:
    """The repo and the remote's store, with no index that could be half true. Raises RemoteError.

    leaves_no_trace: for those who only look (graph.open_repo).
    """
    from dvc.config import RemoteConfigError

    if not leaves_no_trace:
        keep_indexes_private(workspace)
    with open_repo(workspace, leaves_no_trace=leaves_no_trace) as repo:
        # Half written by an interrupted push, it makes a later one say that all is there while objects are missing.
        shutil.rmtree(Path(repo.site_cache_dir) / "index", ignore_errors=True)
        names = list(repo.config["remote"])
        if remote is None and not repo.config["core"].get("remote"):
            if names:
                raise RemoteError(f"there is no default remote; choose one with -r: {', '.join(names)}")
            raise RemoteError("there is no remote yet; add one: genai data push --to FOLDER, or --to s3://BUCKET/PATH")
        check_remote_name(repo, remote)
        try:
            store = repo.cloud.get_remote_odb(remote, "push")
        except RemoteConfigError as error:
            raise RemoteError(redacted(str(error))) from None
        yield repo, store


def keep_indexes_private(workspace: Path) -> None:
    """Give this checkout a folder of its own for DVC's indexes, unless one is configured.

    By default they lie in one that every user of the machine may write to, and hold pickles.
    """
    from dvc import env

    with open_repo(workspace) as repo:
        if os.environ.get(env.DVC_SITE_CACHE_DIR) or repo.config["core"].get("site_cache_dir"):
            return
        folder = Path(repo.tmp_dir) / "site"
        folder.mkdir(mode=0o700, exist_ok=True)
        with repo.config.edit("local") as settings:
            settings["core"]["site_cache_dir"] = str(folder)
