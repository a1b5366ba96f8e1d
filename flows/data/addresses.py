"""Sources that lie elsewhere: fetched by DVC into a temporary folder, from where they are added like any other.

Not `dvc import`: its output would have to lie inside data/raw, which data/raw.dvc tracks as a whole, and DVC refuses
outputs that overlap. Besides, what is imported is an archive or a table more often than a folder of classes. Where it
came from, and which revision of it, stands in data/raw/NAME/source.json instead.
"""

import hashlib
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from flows.redact import DVC_PREFIX, redacted, without_secrets
from flows.scratch import scratch_folder
from genai_core import GenaiError

# What `dvc get-url` reads, if its extra is installed (dvc[s3], dvc[gs] ...); http comes with DVC.
SCHEMES = ("http", "https", "s3", "gs", "azure", "abfs", "ssh", "hdfs", "webhdfs", "webdav", "webdavs", "oss")
_REVISION_TIMEOUT_S = 60.0
_CHUNK_BYTES = 1 << 20


class AddressError(GenaiError):
    """An address that cannot be fetched from; the message says why."""


@dataclass(frozen=True)
class Fetched:
    """What was fetched: a file or a folder, named as its address ends."""

    path: Path
    address: str  # without user, password and query: it is written where everybody reads it
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
    """Fetch `source` for the body; run: runs a command in the workspace, and raises when it fails.

    Raises AddressError for an address that no one can fetch from.
    """
    with scratch_folder(workspace, "fetched") as folder:
        if source.startswith(DVC_PREFIX):
            yield _from_repository(parse_dvc_address(source), folder, run)
        else:
            yield _from_url(source, folder, run)


def parse_dvc_address(source: str) -> DvcAddress:
    """Raises AddressError when it is not dvc://REPOSITORY#PATH[@REVISION]."""
    repository, _, rest = source.removeprefix(DVC_PREFIX).partition("#")
    path, _, revision = rest.partition("@")
    if not repository or not path.strip("/"):
        raise AddressError(
            f"{without_secrets(source)}: expected dvc://REPOSITORY#PATH or dvc://REPOSITORY#PATH@REVISION"
        )
    # "ext::sh -c ..." is a transport of git that runs a command, "--upload-pack=..." an option.
    if "::" in repository or any(part.startswith("-") for part in (repository, path, revision)):
        raise AddressError(
            f"{without_secrets(source)}: refused: a repository is a URL or a path, and nothing begins with a dash"
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
    run([sys.executable, "-m", "dvc", "get-url", source, str(path)])
    return Fetched(path, without_secrets(source), _sha256(path) if path.is_file() else None)


def _from_repository(address: DvcAddress, folder: Path, run: Callable[[list[str]], None]) -> Fetched:
    path = folder / Path(address.path).name
    revision = _commit(address)
    command = [sys.executable, "-m", "dvc", "get", address.repository, address.path, "--out", str(path)]
    run([*command, "--rev", revision] if revision else command)
    return Fetched(path, f"{DVC_PREFIX}{without_secrets(address.repository)}#{address.path}", revision)


def _commit(address: DvcAddress) -> str | None:
    """The commit that the revision stands for now; the revision itself when the repository has no such name."""
    wanted = address.revision or "HEAD"
    command = ["git", "ls-remote", "--", address.repository, wanted, f"{wanted}^{{}}"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_REVISION_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise AddressError(f"{without_secrets(address.repository)}: no answer in {_REVISION_TIMEOUT_S:g} s") from None
    if answer.returncode != 0:
        said = redacted((answer.stderr.strip().splitlines() or ["it said nothing"])[-1])
        raise AddressError(f"{without_secrets(address.repository)}: no git repository that answers ({said})")
    lines = answer.stdout.split()
    # An annotated tag has two lines, and the second names the commit.
    return lines[-2] if lines else address.revision


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
