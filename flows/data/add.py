"""Add images to data/raw, remove them, and track the folder with DVC."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from flows.data.addresses import AddressError, fetched, is_address
from flows.dvc_lock import RAW_FILE, parsed_yaml
from flows.graph import open_repo
from flows.process import run_module
from flows.redact import redacted, without_secrets
from flows.scratch import scratch_folder
from flows.workspace import RAW_DATA, changing
from genai_core import GenaiError

_INGEST_ERROR = "ingest: "  # before the message of tasks.ingest, which may have several lines


class DataError(GenaiError):
    """Data could not be added or removed; the message says why."""


@dataclass(frozen=True)
class TrackedData:
    """What DVC tracks: the folder's content hash, its files and bytes."""

    md5: str
    files: int
    size_bytes: int


@dataclass(frozen=True)
class AddOptions:
    """What the user says about a source (genai_core/data/ingest/choices.py); None: the reader decides."""

    layout: str | None = None
    label_column: str | None = None  # several, with commas
    caption_column: str | None = None
    split: bool | None = None
    every: int | None = None

    @property
    def options(self) -> list[str]:
        options = [] if self.split is None else ["--split" if self.split else "--no-split"]
        values = {
            "layout": self.layout,
            "label-column": self.label_column,
            "caption-column": self.caption_column,
            "every": self.every,
        }
        return [*options, *(f"--{option}={value}" for option, value in values.items() if value is not None)]


@dataclass(frozen=True)
class AddedData:
    """facts: what was understood and added, as tasks.ingest writes it."""

    version: TrackedData
    facts: dict[str, Any]


def add(workspace: Path, source: str, name: str | None, choices: AddOptions | None = None) -> AddedData:
    """Pack the images of `source` into data/raw and track the folder with DVC; print what was added.

    source: builtin:digits, a folder, an archive, a file that contains a dataset, or an address of one (addresses.py).
    Raises DataError; data/raw is then unchanged, or the message says that DVC could not track it.
    """
    options = [*([f"--as={name}"] if name else []), *(choices or AddOptions()).options]
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
        _have_tracked_images(workspace, may_check_out=not dry_run)
        if run_module(command, folder=workspace, on_line=print) != 0:
            raise DataError("nothing was removed")
        if dry_run:
            return None
        track(workspace, str(RAW_DATA))
        return tracked_data(workspace)


def tracked_data(workspace: Path) -> TrackedData:
    """The version of data/raw that data/raw.dvc records."""
    out = parsed_yaml((workspace / RAW_FILE).read_bytes(), RAW_FILE)["outs"][0]
    return TrackedData(md5=out["md5"], files=out["nfiles"], size_bytes=out["size"])


def track(workspace: Path, path: str) -> None:
    """Track a file or folder with DVC. Raises DataError with DVC's output."""
    record = workspace / f"{path}.dvc"
    if record.is_file() and not record.read_bytes().strip():
        record.unlink()  # a killed `dvc add` left it; DVC cannot read it
    output: list[str] = []  # not --quiet, which would hide DVC's errors too
    if run_module(["dvc", "--wait-for-lock", "add", path], folder=workspace, on_line=output.append) != 0:
        retry = f"{path} itself is complete; when the cause is mended, track it: dvc add {path}"
        raise DataError("\n".join([f"DVC could not track {path}:", *output, retry]))


def run_task(workspace: Path, module: str, *arguments: str) -> None:
    """Run a task that is not a stage. Raises DataError with its output if it fails."""
    output: list[str] = []
    if run_module([module, *arguments], folder=workspace, on_line=output.append) != 0:
        raise DataError("\n".join(line for line in output if line.strip()))


def _have_tracked_images(workspace: Path, *, may_check_out: bool = True) -> None:
    """Check out the images that data/raw.dvc records if only DVC's cache has them, as in a clone or a new worktree.

    A version made without them would replace the recorded one. Files that were deleted or changed by hand, and that the
    cache still has, are left so. Raises DataError if the images are elsewhere.
    """
    if not (workspace / RAW_FILE).is_file():
        return
    folder = workspace / RAW_DATA
    is_here = folder.is_dir() and any(path.is_file() for path in folder.rglob("*"))
    with open_repo(workspace, wait_for_lock=True) as repo:
        [out] = repo.stage.load_one(str(workspace / RAW_FILE)).outs
        if is_here and (out.get_obj() or not out.status()):
            return
        if is_here or out.changed_cache():
            raise DataError(
                "data/raw.dvc: neither data/raw nor DVC's cache has the images that it records, and a version without "
                "them would replace it. Fetch them first: genai data pull"
            )
        if not may_check_out:
            raise DataError(f"{RAW_DATA} is not in the workspace; DVC's cache has it: dvc checkout {RAW_FILE}")
        repo.checkout([out.fs_path])
    print(f"{RAW_DATA}: checked out of DVC's cache")


def _ingest(workspace: Path, location: str, options: list[str]) -> AddedData:
    with changing(workspace, "add data"), scratch_folder(workspace, "add") as scratch:
        _have_tracked_images(workspace)
        facts = scratch / "facts.json"
        command = ["tasks.ingest", location, "--into", str(RAW_DATA), "--facts", str(facts), *options]
        errors: list[str] = []

        def on_line(line: str) -> None:
            if errors or line.startswith(_INGEST_ERROR):
                errors.append(line.removeprefix(_INGEST_ERROR))
            else:
                print(line)

        if run_module(command, folder=workspace, on_line=on_line) != 0:
            raise DataError("\n".join(errors or ["nothing was added"]))
        track(workspace, str(RAW_DATA))
        return AddedData(tracked_data(workspace), json.loads(facts.read_bytes()))


def _fetch(workspace: Path, source: str, command: list[str]) -> None:
    output: list[str] = []
    if run_module(command, folder=workspace, on_line=output.append) != 0:
        # DVC repeats the address. A password or a signature in it must not enter a log.
        lines = [redacted(line) for line in output if line.strip()]
        failed = f"{without_secrets(source)}: DVC could not fetch it; nothing was added:"
        raise DataError("\n".join([failed, *lines]))
