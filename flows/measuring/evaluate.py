"""Measure any images. A child process measures, because flows do not import torch."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from flows.process import run_module
from flows.scratch import scratch_folder
from genai_core import GenaiError
from genai_core.config import PARAMS_FILE, load_config

# As in tasks/score.py.
PROJECT_EXTRACTOR = Path("models/extractor")
PUBLISHED_WEIGHTS = "weights-inception-2015-12-05-6726825d.pth"
BUILTIN_PREFIX = "builtin:"


class EvaluateError(GenaiError):
    """The images cannot be measured; the message says what is missing."""


@dataclass(frozen=True)
class Request:
    """The options of `genai evaluate`. Paths are relative to the folder in which the command is called."""

    images: str | None
    against: str | None
    split: str | None = None
    extractor: str | None = None
    weights: str | None = None
    weights_sha256: str | None = None
    out: str | None = None
    selfcheck: bool = False
    size: str | None = None
    resize: str | None = None


def check(workspace: Path, request: Request) -> None:
    """Raise EvaluateError or ConfigError if something is missing, before a child process spends seconds on torch."""
    if request.images is None and not request.selfcheck:
        raise EvaluateError("no images; name them: genai evaluate IMAGES --against REAL")
    if request.against is None and not request.selfcheck:
        raise EvaluateError("no real images; name them with --against REAL, for example --against data/prepared")
    load_config(workspace / PARAMS_FILE)
    if request.selfcheck and (request.size or request.resize):
        raise EvaluateError("--selfcheck compares with published figures; omit --size and --resize")
    if request.selfcheck:
        return  # the self-check lists what it could not check
    named = {"IMAGES": request.images, "--against": request.against, "--weights": request.weights}
    for option, value in named.items():
        if value is not None and not value.startswith(BUILTIN_PREFIX) and not Path(value).exists():
            raise EvaluateError(f"{option}: {value}: no such file or folder")
    has_own = (workspace / PROJECT_EXTRACTOR).is_dir()
    if request.extractor == "project" and not has_own:
        raise EvaluateError(f"the project has no extractor ({PROJECT_EXTRACTOR}); train it with `genai run extractor`")
    published = _torch_hub() / "checkpoints" / PUBLISHED_WEIGHTS
    if request.extractor is None and request.weights is None and not has_own and not published.is_file():
        raise EvaluateError(
            f"no extractor: pass Inception's weights with --weights FILE, download them with --extractor inception (to "
            f"{published}), or train one on the project's dataset with `genai run extractor` ({PROJECT_EXTRACTOR})"
        )


def evaluate(workspace: Path, request: Request) -> int:
    """Run tasks.score in `workspace`, print its lines, and return its exit status."""
    return _score(workspace, request, _absolute(request.out) if request.out else None, [])


def evaluate_to_json(workspace: Path, request: Request) -> dict[str, Any]:
    """Return what tasks.score writes with --out: figures, intervals, protocol. Raises EvaluateError."""
    output: list[str] = []
    with scratch_folder(workspace, "evaluated") as scratch:
        out = _absolute(request.out) if request.out else str(scratch / "figures.json")
        status = _score(workspace, request, out, output)
        if status != 0:
            raise EvaluateError(output[-1] if output else f"tasks.score failed with exit status {status}")
        values: dict[str, Any] = json.loads(Path(out).read_text())
    return values


def _score(workspace: Path, request: Request, out: str | None, output: list[str]) -> int:
    options = {
        "against": request.against and _absolute(request.against),
        "split": request.split,
        "extractor": request.extractor,
        "weights": request.weights and _absolute(request.weights),
        "weights-sha256": request.weights_sha256,
        "size": request.size,
        "resize": request.resize,
        "out": out,
    }
    command = ["tasks.score"]
    command += [_absolute(request.images)] if request.images else []
    command += ["--selfcheck"] if request.selfcheck else []
    command += [f"--{name}={value}" for name, value in options.items() if value is not None]

    def on_line(line: str) -> None:
        output.append(line)
        click.echo(line)

    return run_module(command, folder=workspace, on_line=on_line)


def _absolute(place: str) -> str:
    return place if place.startswith(BUILTIN_PREFIX) else str(Path(place).resolve())


def _torch_hub() -> Path:
    """Like torch.hub.get_dir, without importing torch."""
    caches = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache"))
    return Path(os.environ.get("TORCH_HOME", caches / "torch")).expanduser() / "hub"
