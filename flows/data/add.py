"""Add images to data/raw or remove them, and track the folder with DVC."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from flows.data.addresses import AddressError, fetched, is_address
from flows.locked import RAW_FILE, parsed_yaml
from flows.process import run_command
from flows.redact import redacted, without_secrets
from flows.workspace import RAW_DATA, changing
from genai_core import GenaiError


class DataError(GenaiError):
    """Data could not be added or removed; the message says why."""


@dataclass(frozen=True)
class TrackedData:
    """What DVC tracks: the folder's content hash, its files and bytes."""

    md5: str
    files: int
    size_bytes: int


def add(workspace: Path, source: str, name: str | None, *, split_from_folders: bool = False) -> TrackedData:
    """Pack the images of `source` into data/raw and track the folder with DVC; print what was added.

    source: builtin:digits, a folder, an archive, a file that contains a dataset, or an address of one (addresses.py).
    split_from_folders: keep the source's train and test folders. Raises DataError; data/raw is then unchanged.
    """
    options = [f"--as={name}"] if name else []
    options += ["--split-from-folders"] if split_from_folders else []
    if not is_address(source):
        return _ingest(workspace, source if source.startswith("builtin:") else str(Path(source).resolve()), options)
    try:
        with fetched(workspace, source, partial(_fetch, workspace, source)) as found:
            options += [f"--origin-address={found.address}"]
            options += [f"--origin-revision={found.revision}"] if found.revision else []
            return _ingest(workspace, str(found.path), options)
    except AddressError as error:
        raise DataError(str(error)) from None


def remove(
    workspace: Path,
    name: str,
    patterns: Sequence[str] | None,
    *,
    list_file: Path | None = None,
    dry_run: bool = False,
) -> TrackedData | None:
    """Remove images from data/raw/NAME and track the rest; print what was removed.

    patterns: names CLASS/file, or globs of them, None for all of NAME; list_file: a file with one per line. dry_run:
    only print what would be removed, and return None. Raises DataError, also if there is no pattern at all.
    """
    options = ["--all"] if patterns is None else []
    options += [f"--list={list_file.resolve()}"] if list_file else []
    options += ["--dry-run"] if dry_run else []
    command = ["tasks.remove", "--from", str(RAW_DATA), *options, "--", name, *(patterns or ())]
    with changing(workspace, "remove data"):
        _run(workspace, command, print, "nothing was removed")
        return None if dry_run else _track(workspace)


def tracked_data(workspace: Path) -> TrackedData:
    """The version of data/raw that data/raw.dvc records."""
    out = parsed_yaml((workspace / RAW_FILE).read_bytes(), RAW_FILE)["outs"][0]
    return TrackedData(md5=out["md5"], files=out["nfiles"], size_bytes=out["size"])


def run_task(workspace: Path, module: str, *arguments: str) -> None:
    """Run a task that is not a stage. Raises DataError with its output if it fails."""
    output: list[str] = []
    try:
        _run(workspace, [module, *arguments], output.append)
    except DataError:
        raise DataError("\n".join(line for line in output if line.strip())) from None


def _ingest(workspace: Path, location: str, options: list[str]) -> TrackedData:
    with changing(workspace, "add data"):
        _run(workspace, ["tasks.ingest", location, "--into", str(RAW_DATA), *options], print)
        return _track(workspace)


def _track(workspace: Path) -> TrackedData:
    output: list[str] = []  # DVC's --quiet would hide its errors too
    try:
        _run(workspace, ["dvc", "--wait-for-lock", "add", str(RAW_DATA)], output.append)
    except DataError:
        raise DataError("\n".join(["DVC could not track data/raw:", *output])) from None
    return tracked_data(workspace)


def _fetch(workspace: Path, source: str, command: list[str]) -> None:
    output: list[str] = []
    try:
        _run(workspace, command, output.append)
    except DataError:
        # DVC repeats the address. A password or a signature in it must not enter a log.
        lines = [redacted(line) for line in output if line.strip()]
        failed = f"{without_secrets(source)}: DVC could not fetch it, nothing was added:"
        raise DataError("\n".join([failed, *lines])) from None


def _run(workspace: Path, module: list[str], on_line: Callable[[str], None], failed: str = "nothing was added") -> None:
    """Run a Python module with arguments."""
    command = [sys.executable, "-m", *module]
    environment = {"PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1", "DVC_NO_ANALYTICS": "1"}
    if run_command(command, folder=workspace, environment=environment, on_line=on_line) != 0:
        raise DataError(failed)
