"""The way back from the generated images, as the report draws it: model, what that began from, data, raw data."""

from genai_core.data.dataset.dataset import Dataset
from genai_core.reporting.dag import dag_svg
from genai_core.sampling.batch import PROVENANCE_FILE
from tasks.report_parts import BATCH, CANDIDATE, Model, read_json

RAW, PREPARED, AUGMENTED = "data/raw", "data/prepared", "data/augmented"
DIGITS = 10  # of a hash: enough for `genai lineage` to find it by
_STARTED_FROM = "weights "  # as tasks/finetune.py writes it, before their sha256


def lineage_svg(prepared: Dataset, augmented: Dataset, models: list[Model]) -> str:
    """A box for each thing with its hash, an arrow from what it was made of.

    Found by contents, as `genai lineage` does: a dataset by its fingerprint, a model by its weights. What is not of
    this run, such as a production that a fine-tuning began from, has a box without a past.
    """
    batch, config = read_json(BATCH / PROVENANCE_FILE), read_json(CANDIDATE / "config.json")
    weights = config["sha256"]["model.safetensors"]
    notes = {
        RAW: "the files as they came",
        PREPARED: f"{_short(prepared.info.fingerprint)}\n{prepared.info.counts['train']:,} images to train on",
        AUGMENTED: f"{_short(augmented.info.fingerprint)}\n{augmented.info.counts['train']:,} images to train on",
        str(CANDIDATE): f"{config['family']}, weights {_short(weights)}\ntrained on {_short(config['dataset'])}",
        str(BATCH): f"{batch['images']:,} images\nseeds {batch['seed']} to {batch['seed'] + batch['images'] - 1}",
    }
    edges = [(RAW, PREPARED), (PREPARED, AUGMENTED)]
    drew = str(CANDIDATE)
    if batch["model"]["sha256"] != weights:
        drew = "another model"
        notes[drew] = f"weights {_short(batch['model']['sha256'])}"
    edges.append((drew, str(BATCH)))
    edges += [(name, str(CANDIDATE)) for name in _datasets(config["dataset"], prepared, augmented, notes)]
    start = str(config.get("training_summary", {}).get("started from", ""))
    if start.startswith(_STARTED_FROM):
        sha256 = start.removeprefix(_STARTED_FROM)
        places = [f"models/{model.place}" for model in models if model.measured.metrics["model"]["sha256"] == sha256]
        name = places[0] if places else "an earlier model"
        notes[name] = f"weights {_short(sha256)}"
        edges.append((name, str(CANDIDATE)))
        edges += [(AUGMENTED, name)] if places else []
    return dag_svg(edges, notes, label="What the images were made of")


def _datasets(fingerprint: str, prepared: Dataset, augmented: Dataset, notes: dict[str, str]) -> list[str]:
    for name, dataset in ((AUGMENTED, augmented), (PREPARED, prepared)):
        if dataset.info.fingerprint == fingerprint:
            return [name]
    notes["another dataset"] = _short(fingerprint)
    return ["another dataset"]


def _short(digest: str) -> str:
    return digest[:DIGITS]
