"""Parts of the report, read from the stages' outputs. Models that are not in params.yaml are ignored."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from genai_core.config import Config
from genai_core.data.dataset.dataset import Dataset
from genai_core.reporting.curves import curve_svg
from genai_core.reporting.dag import dag_svg, in_order
from genai_core.reporting.grids import choose_by_class, image_grid, png_bytes, take
from genai_core.reporting.page import Picture, StageCost, Training, seconds_text
from genai_core.reporting.summary import ReportedModel, Summary
from genai_core.sampling.batch import read_images, read_manifest
from tasks.context import COST_DIR
from tasks.versions import code_version, stage_edges

METRICS, PLOTS = Path("metrics"), Path("plots")
CANDIDATE, BATCH = Path("models/candidate"), Path("samples/batch")
FINETUNED = "finetuned"
# Sections on how and when runs are made, and what is done with models. This stage does not depend on them.
NO_RESULTS = {"compute", "retrain", "gate", "watch", "notify", "serve", "search"}


@dataclass(frozen=True)
class Model:
    """`place`: path of its files below metrics/ and plots/: trained/NAME, or finetuned."""

    place: str
    measured: ReportedModel


@dataclass(frozen=True)
class Candidate:
    """The final model of the run."""

    weights_sha256: str
    dataset: str  # fingerprint of its training data
    reason: str  # why it was chosen


@dataclass(frozen=True)
class Graph:
    """The graph as an SVG (None: `missing` says why), and the cost of each stage, in pipeline order."""

    svg: str | None
    missing: str
    costs: tuple[StageCost, ...]


def read_candidate() -> Candidate:
    config, selection = read_json(CANDIDATE / "config.json"), read_json(CANDIDATE / "selection.json")
    return Candidate(config["sha256"]["model.safetensors"], config["dataset"], selection["reason"])


def read_models(names: list[str]) -> list[Model]:
    """Read the trained models in the order of params.yaml, then the fine-tuned one."""
    trained = [
        Model(
            f"trained/{name}",
            ReportedModel(name, _metrics(f"trained/{name}"), cost(f"train@{name}"), cost(f"evaluate@{name}")),
        )
        for name in names
    ]
    metrics = _metrics(FINETUNED)
    name = f"{metrics['model']['family']}, fine-tuned"
    return [*trained, Model(FINETUNED, ReportedModel(name, metrics, cost("finetune"), cost("evaluate-finetuned")))]


def real_pictures(prepared: Dataset, augmented: Dataset, max_images: int) -> tuple[Picture, ...]:
    """Make grids of the training images, and of the augmented ones if there are any."""
    train, rows = prepared.rows("train"), augmented.rows("train")
    made = rows[rows["flags"].str.contains("augmented")]
    pictures = [_dataset_picture("Real", f"from {len(train):,} training images", prepared, train, max_images)]
    if len(made):
        note = f"from {len(made):,} augmented images"
        pictures.append(_dataset_picture("Augmented", note, augmented, made, max_images))
    return tuple(pictures)


def generated_picture(max_images: int) -> Picture:
    """Make a grid of the batch that the candidate generated."""
    manifest, provenance = read_manifest(BATCH), read_json(BATCH / "provenance.json")
    classes = provenance["classes"]
    labels = manifest["label"].to_numpy() if classes else None
    choice = choose_by_class(labels, len(manifest), classes, max_images)
    images = take(read_images(BATCH, manifest), choice)
    grid = image_grid(images, choice.columns, clear_gaps=True)
    note = f"by the candidate, from {len(manifest):,} images with seeds from {provenance['seed']:,}"
    return Picture("Generated", png_bytes(grid), note, choice.row_captions)


def read_training(model: Model) -> Training:
    """Read curves and pictures of a model's training."""
    folder = PLOTS / model.place
    table = pd.read_csv(folder / "curves.csv")
    marks: list[float] = []
    if "rollbacks" in table:
        times = table.pop("rollbacks")
        marks = table["images"][times.diff().fillna(times) > 0].tolist()
    tables = [table]
    if (folder / "evaluations.csv").is_file():
        tables.append(pd.read_csv(folder / "evaluations.csv"))
    # Figures that only a part of a run has are empty in the other rows.
    figures = [(name, rows[["images", name]].dropna()) for rows in tables for name in rows if name != "images"]
    curves = tuple(
        curve_svg(str(name).replace("_", " "), rows["images"].to_numpy(float), rows[name].to_numpy(float), marks)
        for name, rows in figures
    )
    files = {
        "Measured samples": PLOTS / "evaluated" / model.place / "samples.png",
        "Samples closest to a training image, with that image": PLOTS / "evaluated" / model.place / "closest.png",
        "Samples during training, from the same seeds": folder / "samples.png",
        "Training images and their reconstructions": folder / "reconstructions.png",
        "Interpolations between images": folder / "interpolations.png",
    }
    pictures = tuple(Picture(title, path.read_bytes()) for title, path in files.items() if path.is_file())
    return Training(model.measured.name, curves, pictures, _ending(model))


def read_graph(names: list[str]) -> Graph:
    """Read DVC's graph with the seconds of each stage. Without the graph, costs are sorted by stage name."""
    files = sorted(path.stem for path in COST_DIR.glob("*.json"))
    stages = [stage for stage in files if stage.partition("@")[2] in ("", *names)]
    values = {stage: cost(stage) for stage in stages}
    notes = {stage: seconds_text(value["seconds"]) for stage, value in values.items()}
    svg, missing = None, ""
    try:
        edges = stage_edges()
        svg, stages = dag_svg(edges, notes), in_order(stages, edges)
    except ValueError as error:
        missing = str(error)
    costs = tuple(StageCost(stage, values[stage]["seconds"], values[stage]["peak_memory_mb"]) for stage in stages)
    return Graph(svg, missing, costs)


def versions(
    prepared: Dataset, augmented: Dataset, summary: Summary, candidate: Candidate
) -> dict[str, dict[str, str]]:
    """Return the data, model and code versions of this run."""
    info, counts = prepared.info, augmented.info.counts
    data = {
        "fingerprint": info.fingerprint,
        "images": f"{info.image_size}, {'colour' if info.channels == 3 else 'grey'}",
        "classes": f"{len(info.classes)}" if info.classes else "none",
        "train": f"{info.counts['train']:,}",
        "test": f"{info.counts['test']:,}",
        "train, augmented": f"{counts['train']:,}",
        "fingerprint, augmented": augmented.info.fingerprint,
    }
    model = {
        "name": summary.candidate.name,
        "family": summary.candidate.family,
        "weights": candidate.weights_sha256,
        "trained on": candidate.dataset,
        "chosen because": candidate.reason,
    }
    return {"Data": data, "Candidate": model, "Code": code_version()}


def cost(stage: str) -> dict[str, Any]:
    """Return the cost of a stage's last run; empty if unknown."""
    path = COST_DIR / f"{stage}.json"
    return read_json(path) if path.is_file() else {}


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises FileNotFoundError that says what to do."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; run `genai run`, which creates the inputs of the report")
    values: dict[str, Any] = json.loads(path.read_text())
    return values


def parameters(config: Config) -> dict[str, Any]:
    """Return the config's sections that affect results, which are inputs of this stage; each model in its own."""
    sections: dict[str, Any] = config.model_dump(mode="json", exclude=NO_RESULTS)
    models = sections.pop("models")
    return {**sections, **{f"models.{name}": values for name, values in models.items()}}


def _ending(model: Model) -> str:
    """Describe why the training stopped, by the parameter that ended it, and how often it was rolled back."""
    cost = model.measured.training_cost
    if "ended_by" not in cost:
        return ""
    section = "finetune" if model.place == FINETUNED else "training"
    reasons = {
        "images": f"{section}.total_images",
        "seconds": f"{section}.max_seconds",
        "converged": "training.early_stop: no further improvement",
    }
    note = f"Stopped after {cost['images']:,} images ({reasons[cost['ended_by']]})."
    if times := cost["rollbacks"]:
        note += f" Rolled back {times} {'time' if times == 1 else 'times'} after a broken loss, shown as dashed lines."
    return note


def _metrics(place: str) -> dict[str, Any]:
    return read_json(METRICS / f"{place}.json")


def _dataset_picture(title: str, note: str, dataset: Dataset, rows: pd.DataFrame, max_images: int) -> Picture:
    labels = rows["label"].to_numpy() if dataset.info.classes else None
    choice = choose_by_class(labels, len(rows), dataset.info.classes, max_images)
    # Read only the images to show from the shards; -1 is an empty cell.
    images = dataset.images_at(rows.iloc[choice.index.clip(min=0)])
    images[choice.index < 0] = 255
    return Picture(title, png_bytes(image_grid(images, choice.columns, clear_gaps=True)), note, choice.row_captions)
