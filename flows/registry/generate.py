"""Generate a batch of images with any model, at any place on the disk, with manifest and provenance.

A child process draws, with the code of a snapshot, because flows do not import torch.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from flows.process import run_module, scratch_folder
from flows.progress_file import followed
from flows.registry.model_names import ModelFiles, open_model
from flows.runs.code import snapshot_of_code
from flows.whole_file import write_json
from genai_core import GenaiError
from genai_core.config import PARAMS_FILE
from genai_core.seeds import LARGEST_SEED

BATCH, TASK = "batch", "draw"
PROGRESS_POLL_S = 0.2

OnProgress = Callable[[int, int], None]  # images done, images in all


class GenerateError(GenaiError):
    """The images cannot be generated; the message says why and what to do."""


@dataclass(frozen=True)
class Request:
    """What to draw: image i from seed + i, its class the next of `classes` in turn (empty: of all).

    model: a name, as in flows/registry/model_names.py. options: sampling options, each NAME=VALUE.
    """

    count: int
    out: Path
    model: str = "prod"
    classes: tuple[str, ...] = ()
    seed: int = 0
    form: Literal["png", "tar"] = "png"
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Generated:
    """A complete batch. provenance: the content of its provenance.json."""

    folder: Path
    model: ModelFiles
    provenance: dict[str, Any]


def generate(
    workspace: Path, request: Request, on_line: Callable[[str], None], on_progress: OnProgress = lambda _d, _t: None
) -> Generated:
    """Generate the batch into `request.out`, which must not exist. It appears whole, or not at all.

    Raises GenerateError with the reason; ModelNameError, ProductionError, RemoteError, GitError.
    """
    out = request.out.expanduser().absolute()
    _check(request, out)
    model = open_model(workspace, request.model)
    if unknown := [name for name in request.classes if name not in model.classes]:
        known = f"available: {', '.join(model.classes)}" if model.classes else "this model has no classes"
        raise GenerateError(f"{model.title} has no class {unknown[0]!r}; {known}")
    with snapshot_of_code(workspace) as code, _place_beside(out) as place:
        shutil.copy(code.folder / PARAMS_FILE, place)
        progress = place / ".genai/progress" / f"{TASK}.json"
        with followed(progress, lambda state: on_progress(state["done"], request.count), PROGRESS_POLL_S):
            _draw(code.folder, place, model, request, on_line)
        sign(place / BATCH, model, code.commit)
        provenance = json.loads((place / BATCH / "provenance.json").read_text())
        out.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.rename(place / BATCH, out)
        except OSError as error:
            raise GenerateError(
                f"{out}: cannot put the batch there ({error.strerror}); choose another folder"
            ) from None
    return Generated(out, model, provenance)


def sign(batch: Path, model: ModelFiles, code: str) -> None:
    """Add to provenance.json what the task does not know. Raises GenerateError if the model changed meanwhile."""
    path = batch / "provenance.json"
    values = json.loads(path.read_text())
    if values["model"]["sha256"] != model.sha256:
        raise GenerateError(f"{model.folder}: the model was replaced while this command started; run it again")
    made = datetime.now(UTC).isoformat(timespec="seconds")
    values["drawn"] = {
        "model": model.name,
        "version": model.version,
        "commit": model.commit,
        "code": code,
        "made_at": made,
    }
    write_json(path, values)


def _check(request: Request, out: Path) -> None:
    if request.count < 1:
        raise GenerateError(f"--count: expected at least 1, got {request.count}")
    if not 0 <= request.seed <= LARGEST_SEED - (request.count - 1):
        raise GenerateError(
            f"--seed: image i uses seed + i, and seeds lie between 0 and {LARGEST_SEED}; got {request.seed} for "
            f"{request.count:,} images"
        )
    if out.exists() or out.is_symlink():
        raise GenerateError(f"{out}: exists already; choose a new folder")
    for option in request.options:
        name, equals, _ = option.partition("=")
        if not name or not equals:
            raise GenerateError(f"--set: expected NAME=VALUE, such as steps=20, got {option!r}")


@contextmanager
def _place_beside(out: Path) -> Iterator[Path]:
    """A folder for unfinished work on the disk of `out`, so that a rename completes it. Removed however we end."""
    parent = next(folder for folder in out.parents if folder.is_dir())
    try:
        with scratch_folder(f".{out.name[:100]}-", parent) as place:
            yield place
    except PermissionError as error:
        raise GenerateError(f"{error.filename}: cannot write there ({error.strerror})") from None


def _draw(code: Path, place: Path, model: ModelFiles, request: Request, on_line: Callable[[str], None]) -> None:
    """Run the task in `place`. Raises GenerateError with the task's own line."""
    output: list[str] = []

    def keep(line: str) -> None:
        output.append(line)
        on_line(line)

    command = ["tasks.draw", BATCH, f"--images={request.count}", f"--seed={request.seed}", f"--format={request.form}"]
    command += [f"--model={model.folder}"]
    command += [f"--class={name}" for name in request.classes] + [f"--set={option}" for option in request.options]
    path = os.pathsep.join(filter(None, [str(code), os.environ.get("PYTHONPATH", "")]))
    status = run_module(command, folder=place, environment={"PYTHONPATH": path}, on_line=keep)
    if status != 0:
        reason = output[-1].removeprefix(f"{TASK}: ") if output else f"tasks.draw failed with status {status}"
        raise GenerateError(reason)
