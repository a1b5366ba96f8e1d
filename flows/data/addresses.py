"""Sources at an address: DVC fetches them into a temporary folder, from which they are added like any other.

`dvc import` does not work here: its output would be inside data/raw, which data/raw.dvc tracks as a whole, and DVC
refuses overlapping outputs. Also, most imports are an archive or a table, not a folder of classes. Instead,
data/raw/NAME/source.json records the address and the revision.
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from flows.git import GitError, git
from flows.redact import DVC_PREFIX, without_secrets
from flows.scratch import scratch_folder
from genai_core import GenaiError

# Schemes of `dvc get-url`, if their extra is installed (dvc[s3], dvc[gs] ...); http comes with DVC.
SCHEMES = ("http", "https", "s3", "gs", "azure", "abfs", "ssh", "hdfs", "webhdfs", "webdav", "webdavs", "oss")


class AddressError(GenaiError):
    """An address from which nothing can be fetched; the message says why."""


@dataclass(frozen=True)
class Fetched:
    """A fetched file or folder, with the last name of its address."""

    path: Path
    address: str  # without user, password and query, because others can read the file that records it
    revision: str | None  # the commit of a repository, or the sha256 of a file; None for a folder


@dataclass(frozen=True)
class DvcAddress:
    """dvc://REPOSITORY#PATH[@REVISION]; the repository is a URL or a path, PATH one that DVC or git tracks there."""

    repository: str
    path: str
    revision: str | None


def is_address(source: str) -> bool:
    return source.startswith(DVC_PREFIX) or re.match(r"[a-z][a-z0-9+]*://", source, re.IGNORECASE) is not None


@contextmanager
def fetched(workspace: Path, source: str, run: Callable[[list[str]], None]) -> Iterator[Fetched]:
    """Fetch `source` for the body. run: runs a Python module with arguments in the workspace, raises if it fails.

    Raises AddressError for an address from which nothing can be fetched.
    """
    with scratch_folder(workspace, "fetched") as folder:
        if source.startswith(DVC_PREFIX):
            yield _from_repository(parse_dvc_address(source), folder, run)
        else:
            yield _from_url(source, folder, run)


def parse_dvc_address(source: str) -> DvcAddress:
    """Parse dvc://REPOSITORY#PATH[@REVISION]. Raises AddressError."""
    repository, _, rest = source.removeprefix(DVC_PREFIX).partition("#")
    path, _, revision = rest.partition("@")
    if not repository or not path.strip("/"):
        raise AddressError(
            f"{without_secrets(source)}: expected dvc://REPOSITORY#PATH or dvc://REPOSITORY#PATH@REVISION"
        )
    # git would run the command in "ext::sh -c ...", and parse "--upload-pack=..." as an option.
    if "::" in repository or any(part.startswith("-") for part in (repository, path, revision)):
        raise AddressError(
            f"{without_secrets(source)}: refused: REPOSITORY must be a URL or a path, and no part may start with a dash"
        )
    return DvcAddress(repository, path.strip("/"), revision or None)


def _from_url(source: str, folder: Path, run: Callable[[list[str]], None]) -> Fetched:
    parts = urlsplit(source)
    if parts.scheme.lower() not in SCHEMES:
        raise AddressError(
            f"{without_secrets(source)}: unknown scheme; known are {', '.join(SCHEMES)} and dvc://REPOSITORY#PATH"
        )
    name = Path(unquote(parts.path)).name or parts.netloc.rpartition("@")[2]
    if name in ("", ".", "..") or "\0" in name:
        raise AddressError(f"{without_secrets(source)}: expected an address that ends in a file's or folder's name")
    path = folder / name
    run(["dvc", "get-url", source, str(path)])
    if not path.is_file():
        return Fetched(path, without_secrets(source), None)
    with path.open("rb") as file:
        return Fetched(path, without_secrets(source), hashlib.file_digest(file, "sha256").hexdigest())


def _from_repository(address: DvcAddress, folder: Path, run: Callable[[list[str]], None]) -> Fetched:
    path = folder / Path(address.path).name
    repository = _located(address.repository)
    revision = _commit(repository, address.revision)
    command = ["dvc", "get", repository, address.path, "--out", str(path)]
    run([*command, "--rev", revision] if revision else command)
    return Fetched(path, f"{DVC_PREFIX}{without_secrets(address.repository)}#{address.path}", revision)


def _located(repository: str) -> str:
    """A local path from the current folder as an absolute one, because DVC runs in the workspace; a URL as it is."""
    # Path.exists raises an error for a URL that is too long to be a name.
    return str(Path(repository).resolve()) if os.path.exists(repository) else repository  # noqa: PTH110


def _commit(repository: str, revision: str | None) -> str | None:
    """The commit of the revision; the revision itself if the repository has no such name.

    `git ls-remote REPOSITORY main` also lists each reference that ends in /main, so only full names count, in git's
    order (git help revisions).
    """
    wanted = revision or "HEAD"
    names = [wanted, f"refs/{wanted}", f"refs/tags/{wanted}", f"refs/heads/{wanted}", f"refs/remotes/{wanted}"]
    try:
        answer = git(Path.cwd(), "ls-remote", "--", repository, wanted, f"{wanted}^{{}}")
    except GitError as error:
        raise AddressError(f"{without_secrets(repository)}: not a reachable git repository ({error})") from None
    pairs = (line.split("\t", 1) for line in answer.split("\n") if line)
    commits = {name: commit for commit, name in pairs}
    # An annotated tag's own hash is followed by that of its commit, NAME^{}.
    found = (commits.get(f"{name}^{{}}", commits.get(name)) for name in names)
    return next(filter(None, found), revision)
