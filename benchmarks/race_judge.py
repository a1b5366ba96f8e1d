"""The judge of the quality race: one classifier for all, trained on the train images."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from genai_core.config import TrainedExtractorConfig
from genai_core.data.dataset.dataset import Dataset
from genai_core.evaluation.extractor import load_extractor, save_extractor
from genai_core.evaluation.extractor_training import train_extractor
from genai_core.evaluation.features import Features, extract_features
from genai_core.evaluation.figures.frechet import frechet_distance
from genai_core.evaluation.figures.inception_score import label_agreement
from genai_core.evaluation.statistics import feature_stats, square_root

EXTRACTOR = TrainedExtractorConfig(
    kind="classifier",
    width=32,
    feature_dim=64,
    total_images=120_000,
    batch_images=128,
    learning_rate=2e-3,
    decorrelation=0.05,
    seed=0,
)


class Judge:
    """Measures images of any contestant with one extractor, which is trained when it is not there yet."""

    def __init__(self, folder: Path, dataset: Dataset, samples: int, device: torch.device) -> None:
        if not (folder / "extractor" / "config.json").is_file():
            (folder / "extractor").mkdir(parents=True, exist_ok=True)
            extractor, description = train_extractor(EXTRACTOR, dataset, device, lambda *_: None)
            save_extractor(folder / "extractor", extractor, description)
        self.extractor, _ = load_extractor(folder / "extractor", EXTRACTOR, device)
        if not (folder / "train.npy").is_file():
            np.save(folder / "train.npy", self._features(dataset.images("train")).features)
        self.train = feature_stats(np.load(folder / "train.npy"))
        self.root = square_root(self.train.covariance)
        # As many held-out images as a contestant draws: a distance of few is too large.
        chosen = np.random.default_rng(0).permutation(dataset.info.counts["test"])[:samples]
        self.floor = self._distance(self._features(dataset.images("test")[chosen]))

    def measure(self, images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64] | None) -> dict[str, float]:
        features = self._features(images)
        distance = self._distance(features)
        figures = {"fd_classifier": distance, "fd_classifier_over_floor": distance / self.floor}
        if labels is not None:
            figures["label_agreement"] = float(label_agreement(features.logits, labels).mean())
        return figures

    def _features(self, images: npt.NDArray[np.uint8]) -> Features:
        return extract_features(self.extractor, images, 250)

    def _distance(self, features: Features) -> float:
        return frechet_distance(self.train, self.root, feature_stats(features.features))
