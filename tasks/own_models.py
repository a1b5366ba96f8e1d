"""Models to draw from: with the sampling options that their figures were measured with."""

import sys
from dataclasses import replace
from pathlib import Path

from genai_core.config import PARAMS_FILE, load_config
from genai_core.model import Model, load_model
from tasks.drawn import read_contender
from tasks.selection import SELECTION_FILE


def load_own(folder: Path, device: str) -> Model:
    """Load a model; one of a workspace (WORKSPACE/models/...) that was not selected draws as its params.yaml says.

    A model elsewhere, or one that params.yaml no longer has, draws with its family's usual options. If there is a
    params.yaml, a note says so. Raises as load_model does.
    """
    model = load_model(folder, device=device)
    workspace = None if (folder / SELECTION_FILE).is_file() else _workspace_of(folder)
    if workspace is None:
        return model
    try:
        contender = read_contender(folder.name, folder, load_config(workspace / PARAMS_FILE), workspace)
    except (FileNotFoundError, ValueError) as error:
        why = str(error).partition("\n")[0]
        # Not to standard output, which the server's process of models answers on.
        print(f"note: {folder} draws with the usual options of its family: {why}", file=sys.stderr, flush=True)
        return model
    return replace(model, sampling=contender.sampling)


def _workspace_of(folder: Path) -> Path | None:
    places = (parent.parent for parent in folder.resolve().parents if parent.name == "models")
    return next((place for place in places if (place / PARAMS_FILE).is_file()), None)
