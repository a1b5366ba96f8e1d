"""The judge of benchmarks/adaptation.py, and its table."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.adaptation_rows import CPU, NEW, OLD, ROWS, Start, folder_of, recipe
from benchmarks.fashion_mnist import CLASSES
from benchmarks.race_judge import EXTRACTOR
from genai_core.data.dataset.dataset import SPLITS, Dataset
from genai_core.evaluation.extractor import load_extractor, save_extractor
from genai_core.evaluation.extractor_training import train_extractor
from genai_core.evaluation.features import extract_features
from genai_core.evaluation.figures.bootstrap import paired_difference, resample_weights
from genai_core.evaluation.figures.frechet import frechet_distance
from genai_core.evaluation.figures.frechet_resamples import resampled_distances
from genai_core.evaluation.figures.inception_score import label_agreement
from genai_core.evaluation.statistics import FeatureStats, Float64, feature_stats, square_root
from genai_core.models.artifact import load_model
from genai_core.reporting.grids import class_grid, save_png
from genai_core.sampling.sample import equal_labels, image_seeds, sample_images


class Judge:
    """One classifier of all ten classes; statistics of the train images, of all and of each class."""

    def __init__(self, folder: Path, dataset: Dataset) -> None:
        if not (folder / "extractor" / "config.json").is_file():
            (folder / "extractor").mkdir(parents=True, exist_ok=True)
            extractor, description = train_extractor(EXTRACTOR, dataset, CPU, lambda *_: None)
            save_extractor(folder / "extractor", extractor, description)
        self._extractor, _ = load_extractor(folder / "extractor", EXTRACTOR, CPU)
        found = {}
        for split in SPLITS:
            path = folder / f"{split}.npy"
            if not path.is_file():
                np.save(path, extract_features(self._extractor, dataset.images(split), 250).features)
            found[split] = np.load(path)
        labels = dataset.labels("train")
        assert labels is not None
        self.whole = _described(found["train"])
        self.by_class = [_described(found["train"][labels == label]) for label in range(len(CLASSES))]
        self._test = found["test"]

    def floor(self, images: int) -> float:
        """FD of as many held-out images."""
        chosen = np.random.default_rng(0).permutation(len(self._test))[:images]
        return _distance(self._test[chosen], self.whole)

    def measure(self, images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64]) -> dict[str, Any]:
        features = extract_features(self._extractor, images, 250)
        agreement = label_agreement(features.logits, labels)
        classes: dict[str, list[float]] = {}
        for name in np.array(CLASSES)[np.unique(labels)]:
            label = CLASSES.index(str(name))
            own = features.features[labels == label]
            weights = resample_weights(len(own), 200, label)
            replicates = resampled_distances(own, *self.by_class[label], weights)
            classes[str(name)] = [_distance(own, self.by_class[label]), *map(float, replicates)]
        weights = resample_weights(len(labels), 200, 0, labels)
        return {
            "fd": _distance(features.features, self.whole),
            "replicates": list(map(float, resampled_distances(features.features, *self.whole, weights))),
            "agreement": float(agreement.mean()),
            "classes": classes,
        }


def measure(folder: Path, samples: int, judge: Judge) -> dict[str, Any]:
    model = load_model(folder)
    names = model.shape.classes
    per_class = samples // len(CLASSES)
    labels = equal_labels(per_class * len(names), len(names))
    assert labels is not None
    # Seeds by class and number, so that an image of a class has the same seed whatever other classes there are.
    place = torch.arange(len(labels)) // len(names)
    numbers = torch.tensor([CLASSES.index(name) for name in names])[labels]
    seeds = image_seeds(1, 10_000) + numbers * per_class + place
    images = sample_images(model, labels, seeds, recipe(False).sampling, 250)
    save_png(folder / "samples.png", class_grid(images, labels.numpy(), names))
    return judge.measure(images, numbers.numpy())


def print_table(out: Path, floor: float) -> None:
    rows = {}
    for name in ROWS:
        path = out / folder_of(name) / "figures.json"
        if path.is_file():
            rows[name] = json.loads(path.read_text())
    print(f"\nfloor {floor:.2f}\n")
    print(
        "| model | images seen | FD, ten classes | minus that of scratch | old classes: mean FD | worse than base "
        "| new classes: mean FD |"
    )
    print("|---|---|---|---|---|---|---|")
    for name, figures in rows.items():
        classes, row = figures["classes"], ROWS[name]
        means = [_mean(classes, group) for group in (OLD, NEW)]
        is_base = isinstance(row, Start) and row.without_new
        whole = "" if is_base else f"{figures['fd']:.2f}"
        before = None if is_base else rows.get("base" if isinstance(row, Start) else row.base)
        worse = "" if before is None else ", ".join(worse_classes(classes, before["classes"])) or "none"
        scratch = None if isinstance(row, Start) else rows.get(row.against)
        more = "" if scratch is None else over_scratch(figures, scratch)
        print(f"| {name} | {row.images:,} | {whole} | {more} | {means[0]} | {worse} | {means[1]} |")


def over_scratch(found: dict[str, Any], scratch: dict[str, Any]) -> str:
    """The difference in FD from the model that was trained from scratch, with its 95% interval."""
    replicates = [np.array(figures.get("replicates", [])) for figures in (found, scratch)]
    if not all(map(len, replicates)):
        return ""
    difference = paired_difference(found["fd"], scratch["fd"], replicates[0], replicates[1], 0.95)
    return f"{difference.value:+.2f} ({difference.interval.low:+.2f} to {difference.interval.high:+.2f})"


def worse_classes(found: dict[str, list[float]], base: dict[str, list[float]]) -> list[str]:
    """Old classes whose distance grew by more than the noise."""
    worse = []
    for name in OLD:
        (value, *replicates), (before, *others) = found[name], base[name]
        difference = paired_difference(value, before, np.array(replicates), np.array(others), 0.95)
        if difference.interval.low > 0:
            worse.append(f"{name} {difference.value:+.2f}")
    return worse


def _mean(classes: dict[str, list[float]], names: tuple[str, ...]) -> str:
    known = [classes[name][0] for name in names if name in classes]
    return f"{np.mean(known):.2f}" if known else ""


def _described(features: npt.NDArray[np.float32]) -> tuple[FeatureStats, Float64]:
    stats = feature_stats(features)
    return stats, square_root(stats.covariance)


def _distance(features: npt.NDArray[np.float32], real: tuple[FeatureStats, Float64]) -> float:
    return frechet_distance(*real, feature_stats(features))
