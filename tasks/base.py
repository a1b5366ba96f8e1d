"""Make a model the base of a fine-tuning: `python -m tasks.base FOLDER --name NAME [--data DATASET]`.

Not a stage of dvc.yaml: `genai base` and `genai retrain` run it. FOLDER holds a model, which is copied to models/base.
Beside it are written: the hash of its family's code, computed again because the fine-tuning depends on it and the code
may have changed since; its sampling options, if FOLDER has none; and which images it was trained on. DATASET is a
prepared dataset that it was trained on, whose shards are not needed.
"""

import argparse
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from genai_core.config import PARAMS_FILE, DistilledRecipe, load_config
from genai_core.data.dataset.dataset import load_dataset, load_info
from genai_core.data.dataset.seen import SEEN_FILE, UNSEEN_FILE, write_seen
from genai_core.models.artifact import CARD_FILE, CONFIG_FILE, TRAINING_FILE, WEIGHTS_FILE, checked_file, read_config
from tasks.context import new_folder
from tasks.drawn import read_contender
from tasks.errors import one_line
from tasks.select import family_code
from tasks.selection import CODE_FILE, NAME_FILE, SELECTION_FILE

BASE = Path("models/base")
CANDIDATE_SECTIONS = "\n## Licence\n"  # from here on, tasks/candidate.py wrote the card; it will do so again
PREPARED, AUGMENTED = Path("data/prepared"), Path("data/augmented")


def main() -> None:
    parser = argparse.ArgumentParser(prog="tasks.base", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--name", required=True, help="for people: a version, or the folder as it was given")
    parser.add_argument("--data", type=Path, help="a prepared dataset that the model was trained on")
    arguments = parser.parse_args()
    folder = arguments.folder
    with one_line("base"):
        description = read_config(folder)
        if isinstance(description.config, DistilledRecipe):
            raise ValueError(
                f"{arguments.name} is a few-step model, which nothing continues. Bring in its teacher, the model with "
                f"the weights {description.config.few_step.teacher[:12]}"
            )
        sampling = sampling_values(folder, arguments.name)
        data = arguments.data or dataset_here(description.dataset)
        with new_folder(BASE) as new:
            for name in (WEIGHTS_FILE, TRAINING_FILE, CONFIG_FILE, CARD_FILE):
                if not (folder / name).is_file():
                    raise FileNotFoundError(f"{folder}: {name} is missing, so nothing can continue from this model")
                shutil.copyfile(folder / name, new / name)  # follows links into the cache
            own_card = (new / CARD_FILE).read_text().partition(CANDIDATE_SECTIONS)[0]
            (new / CARD_FILE).write_text(own_card)
            _write(new / SELECTION_FILE, sampling)
            # The sampling options: a few-step model learns them. They belong to this base, so they change with it only.
            code: dict[str, Any] = {**family_code(description.config.family), "sampling": sampling["sampling"]}
            if UNSEEN_FILE in description.sha256:
                shutil.copyfile(checked_file(folder, UNSEEN_FILE, description), new / UNSEEN_FILE)
            if data is not None:
                write_seen(new / SEEN_FILE, load_dataset(data, needs_pixels=False), new / UNSEEN_FILE)
            elif (folder / SEEN_FILE).is_file():
                shutil.copyfile(folder / SEEN_FILE, new / SEEN_FILE)
            if (new / SEEN_FILE).is_file():
                code[SEEN_FILE] = hashlib.sha256((new / SEEN_FILE).read_bytes()).hexdigest()
            _write(new / CODE_FILE, code)
            _write(new / NAME_FILE, {"name": arguments.name})


def sampling_values(folder: Path, name: str) -> dict[str, Any]:
    """Return the model's selection.json; one with sampling options alone, from params.yaml, if it has none.

    params.yaml is not read without need: `finetune.images: new` is valid only when there is a base. Raises ValueError
    when params.yaml has no options either.
    """
    path = folder / SELECTION_FILE
    if path.is_file():
        values: dict[str, Any] = json.loads(path.read_text())
        return values
    found = read_contender(name, folder, load_config(Path(PARAMS_FILE)))
    return {
        "model": name,
        "family": found.description.config.family,
        "figures": {},
        "sampling": found.sampling.model_dump(mode="json"),
        "protocol": {},
        "reason": f"{name} was not selected, but brought in",
    }


def dataset_here(fingerprint: str) -> Path | None:
    """Return data/prepared if a model of that dataset was trained on it or on its augmented copies; else None."""
    try:
        known = {load_info(folder).fingerprint for folder in (PREPARED, AUGMENTED)}
    except (FileNotFoundError, ValueError):
        return None
    return PREPARED if fingerprint in known else None


def _write(path: Path, values: Any) -> None:
    path.write_text(json.dumps(values, indent=2, allow_nan=False) + "\n")


if __name__ == "__main__":
    main()
