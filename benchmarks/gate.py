"""How often the gate stops a model that is as good as the champion, and one that is truly worse.

    python -m benchmarks.gate --checkout PATH [--models gan vae] [--against test train] [--images 1600] [--trials 200]

PATH is a checkout in which train@MODEL and reference have run. Many images are drawn once from each model and their
features kept; each trial takes a champion's and a candidate's images from these, and splits the real images anew into
as many for training and for testing as the checkout has. The candidate is the same model with other seeds, or one
whose distance, of all kept images to all real ones, is 1.3 times as large: moved away from the real images, or with
more images of one class. The model `perfect` draws from the Gaussian of all real images' features: nothing is nearer to
them, so that only false alarms can be counted. Then the paired bootstrap and the gate of params.yaml, as a
retraining runs them.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from flows.retraining.gate import GateFacts, ModelFigures, PairedDifference, gate
from genai_core.config import Config, EvaluationConfig, load_config
from genai_core.evaluation.extractor import load_extractor
from genai_core.evaluation.features import extract_features
from genai_core.evaluation.figures import frechet_pairs
from genai_core.evaluation.figures.bootstrap import Difference, paired_difference, resample_weights
from genai_core.evaluation.figures.frechet import frechet_distance
from genai_core.evaluation.figures.frechet_pairs import paired_distances
from genai_core.evaluation.reference import load_reference
from genai_core.evaluation.statistics import FeatureStats, Float64, feature_stats, square_root
from genai_core.models.artifact import load_model
from genai_core.sampling.sample import equal_labels, image_seeds, sample_images

WORSE = 1.3
RULES = ("not worse", "sharp enough")


@dataclass(frozen=True)
class Kept:
    """Features (N, D) of many images of one model, in turn of each class."""

    features: Float64
    labels: np.ndarray

    @property
    def classes(self) -> int:
        return int(self.labels.max()) + 1

    def draw(self, images: int, generator: np.random.Generator) -> Float64:
        """Other images of the same model: without putting back, each class's share kept."""
        own = [
            generator.choice(np.flatnonzero(self.labels == label), -(-images // self.classes), replace=False)
            for label in range(self.classes)
        ]
        return self.features[np.stack(own, axis=1).ravel()[:images]]


@dataclass(frozen=True)
class Real:
    """Real images' features (N, D), with what a distance takes of them."""

    features: Float64
    stats: FeatureStats
    root: Float64

    @staticmethod
    def of(features: Float64) -> "Real":
        stats = feature_stats(features)
        return Real(features, stats, square_root(stats.covariance))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkout", type=Path, required=True)
    parser.add_argument("--models", nargs="+", default=["perfect", "vae", "gan"])
    parser.add_argument("--against", nargs="+", choices=["test", "train"], default=["test", "train"])
    parser.add_argument("--images", type=int, nargs="+", help="of each model a trial  [default: as params.yaml says]")
    parser.add_argument("--kept-images", type=int, default=20_000)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--resamples", type=int, default=200)
    parser.add_argument("--solved", action="store_true", help="solve each resample, as the gate does: 20 times slower")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if not arguments.solved:
        frechet_pairs.SOLVED_DIM = 0
    config = load_config(arguments.checkout / "params.yaml")
    splits = load_reference(arguments.checkout / "data/reference").splits
    real = Real.of(np.concatenate([splits[name].features.astype(np.float64) for name in ("train", "test")]))
    tests = len(splits["test"].features)
    print("| model | images | against | candidate | its true distance | called different | not worse fails | stopped |")
    print("|---|---|---|---|---|---|---|---|")
    for name in arguments.models:
        perfect = name == "perfect"
        kept = gaussian(real, arguments) if perfect else keep(arguments.checkout, name, arguments.kept_images, config)
        true, candidates = distance(real, kept.features), {"other seeds": kept}
        if not perfect:
            candidates |= {"moved away": moved(kept, real, true), "one class more": tilted(kept, real)}
        for images in arguments.images or [config.evaluation.total_images]:
            evaluation = config.evaluation.model_copy(
                update={"total_images": images, "bootstrap_resamples": arguments.resamples}
            )
            for what, candidate in candidates.items():
                over = distance(real, candidate.features) / true
                for against in arguments.against:
                    run = [
                        trial((kept, candidate), (real, tests), against, evaluation, config, seed)
                        for seed in range(arguments.trials)
                    ]
                    shares = " | ".join(f"{np.mean(column):.1%}" for column in zip(*run, strict=True))
                    print(
                        f"| {name} | {images:,} | {against} | {what} | {over:.2f} x {true:.3g} | {shares} |", flush=True
                    )


def trial(
    models: tuple[Kept, Kept],
    real: tuple[Real, int],
    against: str,
    evaluation: EvaluationConfig,
    config: Config,
    seed: int,
) -> tuple[bool, bool, bool]:
    """Whether they are called different, whether the candidate is worse than by chance, and whether it is stopped."""
    generator, (pool, tests) = np.random.default_rng(seed), real
    champion, candidate = (model.draw(evaluation.total_images, generator) for model in models)
    order = generator.permutation(len(pool.features))
    test, train = (Real.of(pool.features[part]) for part in (order[:tests], order[tests:]))
    split = test if against == "test" else train
    weights = resample_weights(
        len(champion), evaluation.bootstrap_resamples, 2 * seed, np.arange(len(champion)) % models[0].classes
    )
    of_real = resample_weights(len(split.features), evaluation.bootstrap_resamples, 2 * seed + 1)
    found = paired_distances(champion, candidate, split.features, weights, of_real)
    own, other = distance(split, candidate), distance(split, champion)
    difference = paired_difference(own, other, found.second, found.first, evaluation.confidence)
    scale = max(distance(train, champion), distance(train, test.features))
    verdict = gate(facts(own, other, scale, difference), config.gate)
    failed = {rule.name for rule in verdict.rules if not rule.passed}
    return difference.beyond_noise, "not worse" in failed, bool(failed)


def facts(own: float, other: float, scale: float, difference: Difference) -> GateFacts:
    """All but the distances without fault."""
    good = {"memorised_share": 0.0, "recall": 1.0, "class_coverage": {"group 1": 1.0}}
    return GateFacts(
        candidate=ModelFigures(distance=own, scale=scale, **good),
        champion=ModelFigures(distance=other, scale=scale, **good),
        difference=PairedDifference(difference.value, difference.interval.low, difference.interval.high),
        same_protocol=True,
        recall_of_real=1.0,
        classes=(),
        device_hours=0.0,
    )


def gaussian(real: Real, arguments: argparse.Namespace) -> Kept:
    """As many images as are kept of a model, without classes."""
    normal = np.random.default_rng(0).normal(size=(arguments.kept_images, len(real.root)))
    return Kept(real.stats.mean + normal @ real.root, np.zeros(len(normal), dtype=np.int64))


def keep(checkout: Path, name: str, total: int, config: Config) -> Kept:
    """Draw from a trained model and measure its images; what was kept in an earlier run is taken up."""
    model = load_model(checkout / "models/trained" / name)
    labels = equal_labels(total, len(model.shape.classes))
    asked = np.zeros(total, dtype=np.int64) if labels is None else labels.numpy()
    place = checkout / ".genai/gate" / f"{name}-{total}.npy"
    if place.is_file():
        return Kept(np.load(place), asked)
    sampling = config.model(name).sampling
    images = sample_images(model, labels, image_seeds(total, 1_000_000), sampling, config.evaluation.batch_images)
    extractor, _ = load_extractor(checkout / "models/extractor", config.extractor)
    features = extract_features(extractor, images, config.evaluation.batch_images).features.astype(np.float64)
    place.parent.mkdir(parents=True, exist_ok=True)
    np.save(place, features)
    return Kept(features, asked)


def moved(kept: Kept, real: Real, true: float) -> Kept:
    """All features one step along a fixed direction of chance, as long as the distance asks for."""
    direction = np.random.default_rng(0).normal(size=kept.features.shape[1])
    direction *= np.sqrt(true) / np.linalg.norm(direction)
    step = solve(lambda t: distance(real, kept.features + t * direction) / true - WORSE)
    return Kept(kept.features + step * direction, kept.labels)


def tilted(kept: Kept, real: Real) -> Kept:
    """Some images of each class replaced by images of class 0."""
    true, places = distance(real, kept.features), np.random.default_rng(0).random(len(kept.features))
    of_one = np.random.default_rng(1).choice(np.flatnonzero(kept.labels == 0), len(kept.features))

    def mixed(share: float) -> Float64:
        return np.where((places < share)[:, None], kept.features[of_one], kept.features)

    share = solve(lambda t: distance(real, mixed(t)) / true - WORSE)
    return Kept(mixed(share), kept.labels)


def solve(excess: Callable[[float], float], low: float = 0.0, high: float = 1.0) -> float:
    """Where an increasing function is 0, by halving."""
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (low, middle) if excess(middle) > 0 else (middle, high)
    return high


def distance(real: Real, features: Float64) -> float:
    return frechet_distance(real.stats, real.root, feature_stats(features))


if __name__ == "__main__":
    main()
