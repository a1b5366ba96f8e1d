"""Lineage of the generated images in the report: model, the model it started from, data, raw data."""

from genai_core.data.dataset.dataset import Dataset
from genai_core.reporting.dag import dag_svg
from genai_core.sampling.batch import PROVENANCE_FILE
from tasks.report_parts import BATCH, CANDIDATE, Model, read_json

RAW, PREPARED, AUGMENTED = "data/raw", "data/prepared", "data/augmented"
DIGITS = 10  # of a hash: enough for `genai lineage` to find it
_STARTED_FROM = "weights "  # prefix that tasks/finetune.py writes before the sha256


def lineage_svg(prepared: Dataset, augmented: Dataset, models: list[Model]) -> str:
    """Draw one box for each dataset, model and batch, with its hash, and an arrow from each of its inputs.

    They are identified by content, as in `genai lineage`: a dataset by its fingerprint, a model by its weights. A model
    or dataset of another run, such as the production model that a fine-tuning started from, has no incoming arrow.
    """
    batch, config = read_json(BATCH / PROVENANCE_FILE), read_json(CANDIDATE / "config.json")
    weights = config["sha256"]["model.safetensors"]
    notes = {
        RAW: "original files",
        PREPARED: f"{_short(prepared.info.fingerprint)}\n{prepared.info.counts['train']:,} training images",
        AUGMENTED: f"{_short(augmented.info.fingerprint)}\n{augmented.info.counts['train']:,} training images",
        str(CANDIDATE): f"{config['family']}, weights {_short(weights)}\ntrained on {_short(config['dataset'])}",
        str(BATCH): f"{batch['images']:,} images\nseeds {batch['seed']} to {batch['seed'] + batch['images'] - 1}",
    }
    edges = [(RAW, PREPARED), (PREPARED, AUGMENTED)]
    generator = str(CANDIDATE)
    if batch["model"]["sha256"] != weights:
        generator = "another model"
        notes[generator] = f"weights {_short(batch['model']['sha256'])}"
    edges.append((generator, str(BATCH)))
    edges += [(name, str(CANDIDATE)) for name in _datasets(config["dataset"], prepared, augmented, notes)]
    start = str(config.get("training_summary", {}).get("started from", ""))
    if start.startswith(_STARTED_FROM):
        sha256 = start.removeprefix(_STARTED_FROM)
        places = [f"models/{model.place}" for model in models if model.measured.metrics["model"]["sha256"] == sha256]
        name = places[0] if places else "an earlier model"
        notes[name] = f"weights {_short(sha256)}"
        edges.append((name, str(CANDIDATE)))
        edges += [(AUGMENTED, name)] if places else []
    return dag_svg(edges, notes, label="Lineage of the images")


def _datasets(fingerprint: str, prepared: Dataset, augmented: Dataset, notes: dict[str, str]) -> list[str]:
    for name, dataset in ((AUGMENTED, augmented), (PREPARED, prepared)):
        if dataset.info.fingerprint == fingerprint:
            return [name]
    notes["another dataset"] = _short(fingerprint)
    return ["another dataset"]


def _short(digest: str) -> str:
    return digest[:DIGITS]
