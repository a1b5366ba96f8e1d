"""A user's images under version control: packed into data/raw or taken out of it, the folder tracked by DVC."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from flows.data.addresses import AddressError, fetched, is_address
from flows.process import run_command
from flows.redact import redacted, without_secrets
from flows.workspace import RAW_DATA, changing
from genai_core import GenaiError


class DataError(GenaiError):
    """Data could not be added or removed; the message says why."""


@dataclass(frozen=True)
class DataVersion:
    """What DVC tracks: the folder's content hash, its files and bytes."""

    md5: str
    files: int
    size_bytes: int


def add(workspace: Path, source: str, name: str | None, *, split_from_folders: bool = False) -> DataVersion:
    """Pack the images of `source` into data/raw and track the folder with DVC; prints what was added.

    source: builtin:digits, a folder, an archive, a file that holds a dataset, or an address of one (addresses.py).
    split_from_folders: keep the source's separation of train and test. Raises DataError; data/raw is then as it was.
    """
    options = [f"--as={name}"] if name else []
    options += ["--split-from-folders"] if split_from_folders else []
    if is_address(source):
        try:
            with fetched(workspace, source, partial(_fetch, workspace, source)) as found:
                options += [f"--origin-address={found.address}"]
                options += [f"--origin-revision={found.revision}"] if found.revision else []
                return _take_in(workspace, str(found.path), options)
        except AddressError as error:
            raise DataError(str(error)) from None
    return _take_in(workspace, source if source.startswith("builtin:") else str(Path(source).resolve()), options)


def _take_in(workspace: Path, location: str, options: list[str]) -> DataVersion:
    with changing(workspace, "add data"):
        _ingest(workspace, location, options)
        return _track(workspace)


def remove(
    workspace: Path,
    name: str,
    patterns: Sequence[str] | None,
    *,
    list_file: Path | None = None,
    dry_run: bool = False,
) -> DataVersion | None:
    """Take images out of data/raw/NAME, and track what is left; prints what was removed.

    patterns: names CLASS/file, or globs of them, None for all of NAME; list_file: a file with one a line. dry_run: only
    say what would be removed, and return None. Raises DataError, also when there is no pattern at all.
    """
    options = ["--all"] if patterns is None else []
    options += [f"--list={list_file.resolve()}"] if list_file else []
    options += ["--dry-run"] if dry_run else []
    command = [sys.executable, "-m", "tasks.remove", "--from", str(RAW_DATA), *options, "--", name, *(patterns or ())]
    with changing(workspace, "remove data"):
        _run(workspace, command, print, "nothing was removed")
        return None if dry_run else _track(workspace)


def _track(workspace: Path) -> DataVersion:
    said: list[str] = []  # DVC's --quiet would hide its errors as well
    try:
        _run(workspace, [sys.executable, "-m", "dvc", "--wait-for-lock", "add", str(RAW_DATA)], said.append)
    except DataError:
        raise DataError("\n".join(["DVC could not track data/raw:", *said])) from None
    return version(workspace)


def version(workspace: Path) -> DataVersion:
    """The version of data/raw as data/raw.dvc has it."""
    from dvc.utils.serialize import load_yaml

    out = load_yaml(str(workspace / f"{RAW_DATA}.dvc"))["outs"][0]
    return DataVersion(md5=out["md5"], files=out["nfiles"], size_bytes=out["size"])


def run_task(workspace: Path, module: str, *arguments: str) -> None:
    """Run a task that is no stage. Raises DataError with what it said when it fails."""
    said: list[str] = []
    try:
        _run(workspace, [sys.executable, "-m", module, *arguments], said.append)
    except DataError:
        raise DataError("\n".join(line for line in said if line.strip())) from None


def _ingest(workspace: Path, location: str, options: list[str]) -> None:
    _run(workspace, [sys.executable, "-m", "tasks.ingest", location, "--into", str(RAW_DATA), *options], print)


def _fetch(workspace: Path, source: str, command: list[str]) -> None:
    said: list[str] = []
    try:
        _run(workspace, command, said.append)
    except DataError:
        # DVC repeats the address; a password or a signature in it is nothing for a log.
        lines = [redacted(line) for line in said if line.strip()]
        failed = f"{without_secrets(source)}: DVC could not fetch it, nothing was added:"
        raise DataError("\n".join([failed, *lines])) from None


def _run(
    workspace: Path, command: list[str], on_line: Callable[[str], None], failed: str = "nothing was added"
) -> None:
    environment = {"PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1", "DVC_NO_ANALYTICS": "1"}
    status = run_command(command, folder=workspace, environment=environment, on_line=on_line)
    if status != 0:
        raise DataError(failed)
