"""The base of a fine-tuning: a model that is brought in as models/base, a data source of DVC.

What a name such as `prod` stands for changes; what models/base.dvc names does not. So a run is the same whenever it is
repeated, and lineage finds the version that the base is a copy of.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from flows.data.add import run_task, track
from flows.data.stores import Stores
from flows.dvc_lock import BASE_FILE, lock_at
from flows.graph import open_repo
from flows.registry.model_names import CONFIG_FILE, NamedModel, lay_out_commit, name_model
from flows.registry.production import DATASET
from flows.registry.read import MODEL
from flows.registry.teacher import Teacher, find_teacher, teacher_weights
from flows.scratch import scratch_folder
from flows.whole_file import write_file
from flows.workspace import changing
from genai_core import GenaiError
from genai_core.config import PARAMS_FILE

SELECTED = "selected"
BASE = Path(BASE_FILE.removesuffix(".dvc"))
SEEN = "seen.npy"  # as in genai_core/data/dataset/seen.py
_LINE = r"(?m)(^finetune:.*\n(?:[ #].*\n|\n)*?  {key}: )(\w+)\b"


class BaseError(GenaiError):
    """A model cannot become the base of a fine-tuning; the message says why."""


@dataclass(frozen=True)
class BaseModel:
    """What models/base holds. knows_images: whether it is known which images it was trained on."""

    name: str
    family: str
    classes: tuple[str, ...]
    weights: str  # sha256
    knows_images: bool


def set_base(workspace: Path, name: str) -> BaseModel | None:
    """Let fine-tuning continue the model that `name` stands for; None if that is `selected`, this run's best.

    name: as in flows/registry/model_names.py. Of a few-step model, its teacher is continued. Raises BaseError,
    ModelNameError, DataError, RemoteError.
    """
    with changing(workspace, "set the base"):
        if name == SELECTED:
            set_start(workspace, SELECTED)
            return None
        named = name_model(workspace, name)
        folder = named.folder
        if folder is None:
            assert named.commit is not None
            folder = lay_out_commit(workspace, named.commit, named.version, [MODEL]) / MODEL
        if folder == (workspace / BASE).resolve():
            raise BaseError(f"{name} is the base already; name the model that it came from, such as prod")
        found = continued_for(workspace, named, folder)
        if found.folder != (workspace / BASE).resolve():
            bring_in(workspace, found.folder, found.title, found.commit)
        set_start(workspace, BASE.name)
    return read_base(workspace)


def continued_for(workspace: Path, named: NamedModel, folder: Path) -> Teacher:
    """Return what a fine-tuning of a model continues: the model in `folder` itself; of a few-step model, its teacher.

    Raises BaseError if the teacher is not to be found, ModelNameError, RemoteError, ProductionError.
    """
    weights = teacher_weights(folder)
    if weights is None:
        return Teacher(folder, named.title, named.commit)
    found = find_teacher(workspace, named, weights)
    if found is None:
        where = f"its commit ({named.commit[:7]}) names" if named.commit else "this workspace has"
        raise BaseError(
            f"{named.title} is a few-step model, which nothing continues, and its teacher (weights {weights[:12]}) is "
            f"not among the models that {where}. Bring the teacher in by its folder (genai base FOLDER), or train a "
            "model from scratch"
        )
    return found


def bring_in(workspace: Path, folder: Path, title: str, commit: str | None) -> None:
    """Copy a model's folder to models/base and track it with DVC.

    title: for people. commit: whose prepared dataset the model was trained on; None: unknown, or named in the folder.
    """
    with scratch_folder(workspace, "base") as scratch:
        options = [f"--name={title}"]
        if commit is not None and _lay_out_records(workspace, commit, scratch / "data"):
            options.append(f"--data={scratch / 'data'}")
        run_task(workspace, "tasks.base", str(folder), *options)
    track(workspace, BASE.as_posix())
    with open_repo(workspace) as repo:
        if not any(Path(out.fs_path) == (workspace / BASE).resolve() for out in repo.index.outs):
            raise BaseError(
                f"DVC does not see {BASE_FILE}, because .gitignore hides what is in models/. In .gitignore, replace "
                "/models/* by a line for each folder there: /models/base, /models/trained ... Then run this again"
            )


def read_base(workspace: Path) -> BaseModel | None:
    """What models/base holds; None if there is none. Raises BaseError."""
    folder = workspace / BASE
    if not folder.is_dir():
        return None
    try:
        config = json.loads((folder / CONFIG_FILE).read_text())
        name = json.loads((folder / "base.json").read_text())["name"]
        return BaseModel(
            name=str(name),
            family=str(config["family"]),
            classes=tuple(config["shape"]["classes"]),
            weights=str(config["sha256"]["model.safetensors"]),
            knows_images=(folder / SEEN).is_file(),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BaseError(f"{folder} is damaged ({error!r}); set it again: genai base NAME") from None


def set_start(folder: Path, start: str) -> None:
    """Set finetune.start in a checkout's params.yaml and keep every other byte. Raises BaseError."""
    _set_word(folder, "start", start)


def set_kind(folder: Path, kind: str) -> None:
    """Set finetune.kind likewise. Raises BaseError."""
    _set_word(folder, "kind", kind)


def _set_word(folder: Path, key: str, word: str) -> None:
    path = folder / PARAMS_FILE
    old = path.read_text()
    text, found = re.subn(_LINE.format(key=key), rf"\g<1>{word}", old)
    if found != 1:
        raise BaseError(f"{PARAMS_FILE}: finetune.{key} has no line of its own; write it as `  {key}: {word}`")
    if text != old:
        write_file(path, text)


def _lay_out_records(workspace: Path, commit: str, into: Path) -> bool:
    """Lay out a commit's prepared dataset without its pixels; whether it is complete here or at the remote."""
    dataset = lock_at(workspace, commit).output(DATASET)
    if dataset is None:
        return False
    with open_repo(workspace) as repo:
        stores = Stores(repo)
        files = stores.listing(dataset.md5) or {}
        wanted = [name for name in files if not name.startswith("shards/")]
        return bool(wanted) and not stores.lay_out(files, wanted, into)
