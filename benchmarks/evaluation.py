"""What measuring costs, beside torchmetrics, torch-fidelity and the bare network.

    python -m benchmarks.evaluation solve        # Fréchet distance at 2048 features
    python -m benchmarks.evaluation inception    # features a second, against the bare network, and bf16's drift
    python -m benchmarks.evaluation agreement    # FID, KID and IS at 2048 features beside the two libraries
    python -m benchmarks.evaluation classifier   # 10,000 against 10,000 images of Fashion-MNIST

Inception has random weights here: neither speed nor agreement depends on what it has learned.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from benchmarks.fashion_mnist import CLASSES, fashion_mnist_dataset
from genai_core.config import InceptionExtractorConfig, TrainedExtractorConfig, load_config
from genai_core.evaluation.extractor_training import train_extractor
from genai_core.evaluation.features import Features, bf16_drift, extract_features
from genai_core.evaluation.figures.frechet import frechet_distance
from genai_core.evaluation.figures.inception_score import inception_score
from genai_core.evaluation.figures.kernel import kernel_distance, mean_similarity
from genai_core.evaluation.inception import InceptionNetwork, given_inception
from genai_core.evaluation.model_evaluation import evaluate_features
from genai_core.evaluation.reference import RealImages, build_reference
from genai_core.evaluation.statistics import feature_stats, square_root
from genai_core.image_size import ImageSize
from tests.evaluation.inception_weights import photographs, write_random_weights

ROOT = Path(__file__).parents[1]
T = TypeVar("T")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("solve", "inception", "agreement", "classifier"))
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="the folder of real data")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--total-images", type=int, help="that the classifier is trained on")
    parser.add_argument("--without-torchmetrics", action="store_true", help="solve: leave out what takes a minute")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.what == "solve":
        solve(with_torchmetrics=not arguments.without_torchmetrics)
    elif arguments.what == "inception":
        inception()
    elif arguments.what == "agreement":
        agreement()
    else:
        classifier(arguments.data, arguments.total_images)


def solve(*, with_torchmetrics: bool, dim: int = 2048, images: int = 5_000) -> None:
    """Random features whose variances fall as Inception's do."""
    generator = np.random.default_rng(0)
    scale = 1 / np.arange(1, dim + 1) ** 0.5
    a, b = (
        feature_stats(np.abs(generator.normal(size=(images, dim)) * scale + shift).astype(np.float32))
        for shift in (0.0, 0.02)
    )
    root, root_s = timed(lambda: square_root(a.covariance))
    value, kept_s = timed(lambda: frechet_distance(a, root, b))
    print(f"| root of the reference, once a dataset version | {root_s:.2f} s | |")
    print(f"| Fréchet distance, {dim} features, root kept | {kept_s:.2f} s | {value:.9f} |")
    if with_torchmetrics:
        from torchmetrics.image.fid import _compute_fid

        arrays = [torch.from_numpy(x) for x in (a.mean, a.covariance, b.mean, b.covariance)]
        other, other_s = timed(lambda: float(_compute_fid(*arrays)))
        print(f"| torchmetrics | {other_s:.2f} s | {other:.9f} |")
        print(f"| torchmetrics over ours | {other_s / kept_s:.0f} | relative difference {abs(other / value - 1):.1e} |")


def inception(images: int = 48, batch: int = 16) -> None:
    """Our pass from arrays to features, and the network of torch-fidelity alone on batches that lie ready."""
    with tempfile.TemporaryDirectory() as folder:
        network = random_inception(Path(folder))
    pictures = np.random.default_rng(0).integers(0, 256, (images, 3, 32, 32), dtype=np.uint8)
    batches = torch.from_numpy(pictures).split(batch)

    def bare() -> None:
        with torch.inference_mode():
            for part in batches:
                network.network(part)

    def ours() -> Features:
        return extract_features(network, pictures, batch)

    for precision in ("fp32", "bf16"):
        network.precision = precision

        def bare_in(precision: str = precision) -> None:
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                bare()

        bare_in()
        rounds = [(timed(bare_in)[1], timed(ours)[1]) for _ in range(3)]
        bare_s, ours_s = (float(np.median(column)) for column in zip(*rounds, strict=True))
        print(f"| {precision}, images/s | {images / ours_s:.2f} | bare {images / bare_s:.2f} | {bare_s / ours_s:.3f} |")
    drift = bf16_drift(network, photographs(images, seed=1).numpy())
    print(
        f"| bf16 moves the features of {drift.images} images by | {drift.relative_change:.2%} of their deviation | "
        f"Fréchet distance to float32 {drift.frechet_distance:.3g} | |"
    )


def random_inception(folder: Path) -> InceptionNetwork:
    """The network with random weights, under which activations keep their size."""
    path, sha256 = write_random_weights(folder)
    config = InceptionExtractorConfig(kind="inception", weights=str(path), weights_sha256=sha256, precision="fp32")
    return given_inception(config)[0]


def agreement(images: int = 64) -> None:
    """Our figures from our features, and those of both libraries from their own networks on the same file."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
    from torch_fidelity.metric_isc import isc_features_to_metric
    from torch_fidelity.metric_kid import kid_features_to_metric
    from torchmetrics.image.fid import NoTrainInceptionV3, _compute_fid

    real, fake = photographs(images, seed=1), photographs(images, seed=2, brightness=0.4)
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        network = random_inception(Path(folder))
        path = str(Path(folder) / "inception.pth")
        theirs = FeatureExtractorInceptionV3("theirs", ["2048", "logits_unbiased"], path)
        other = NoTrainInceptionV3("inception-v3-compat", ["2048"], path, antialias=False)
        own = [extract_features(network, part.numpy(), 16) for part in (real, fake)]
        fidelity = [theirs(part) for part in (real, fake)]
        metrics = [other(part).double() for part in (real, fake)]
    a, b = (feature_stats(part.features) for part in own)
    mine = frechet_distance(a, square_root(a.covariance), b)
    moments = [moment for part in metrics for moment in (part.mean(0), torch.cov(part.T))]
    statistics = [fid_features_to_statistics(features) for features, _ in fidelity]
    rows = [
        ("FID, torchmetrics", mine, float(_compute_fid(*moments))),
        ("FID, torch-fidelity", mine, fid_statistics_to_metric(*statistics, False)["frechet_inception_distance"]),
        (
            "KID, torch-fidelity",
            kernel_distance(own[1].features, own[0].features, mean_similarity(own[0].features)).value,
            kid_features_to_metric(
                fidelity[1][0], fidelity[0][0], kid_subsets=1, kid_subset_size=images, verbose=False
            )["kernel_inception_distance_mean"],
        ),
        (
            "IS, torch-fidelity",
            inception_score(own[0].logits, 1).mean,
            isc_features_to_metric(fidelity[0][1], splits=1, shuffle=False)["inception_score_mean"],
        ),
    ]
    for name, value, their in rows:
        print(f"| {name} | {value:.6g} | {their:.6g} | {abs(value / their - 1):.1e} |")


def classifier(data: Path, total_images: int | None) -> None:
    """Train on the 60,000, then measure 10,000 held-out images, as if drawn, against 10,000 training images."""
    config = load_config(ROOT / "params.yaml")
    assert isinstance(config.extractor, TrainedExtractorConfig)
    trained = config.extractor
    if total_images is not None:
        trained = trained.model_copy(update={"total_images": total_images})
    evaluation = config.evaluation.model_copy(update={"total_images": 10_000})
    with tempfile.TemporaryDirectory() as folder:
        dataset = fashion_mnist_dataset(Path(folder), data, 28)
        device = torch.device("cpu")
        (network, description), training_s = timed(
            lambda: train_extractor(trained, dataset, device, lambda _done, _figures: None)
        )
        print(
            f"| classifier, {trained.total_images} images seen | {training_s:.0f} s | {description.test_accuracy:.4f} |"
        )
        images, labels = dataset.images("test"), dataset.labels("test")
        assert labels is not None
        generated = images[:10_000]

        def reference_features() -> dict[str, Features]:
            train = extract_features(network, dataset.images("train")[:10_000], 500)
            return {"train": train, "test": extract_features(network, images, 500)}

        features, features_s = timed(reference_features)
        train_labels = dataset.labels("train")
        assert train_labels is not None
        real = RealImages(
            dataset.info.fingerprint, CLASSES, ImageSize.square(28), 1, {"train": train_labels[:10_000], "test": labels}
        )
        reference, reference_s = timed(lambda: build_reference(features, real, description, evaluation))  # type: ignore[arg-type]
        drawn, drawn_s = timed(lambda: extract_features(network, generated, 500))
        found, evaluate_s = timed(lambda: evaluate_features(drawn, labels, reference, description, evaluation))
        print(f"| features of 20,000 real images, once | {features_s:.1f} s | |")
        print(f"| reference, once | {reference_s:.1f} s | |")
        print(f"| features of 10,000 images | {drawn_s:.1f} s | |")
        print(f"| all figures with intervals | {evaluate_s:.1f} s | {len(found.figures)} figures |")
        print(f"| a model in all | {drawn_s + evaluate_s:.1f} s | |")
        for name, figure in found.figures.items():
            print(f"    {name} {figure.value:.4g} {figure.interval or ''}")


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """What `work` gives, and its seconds."""
    began = time.perf_counter()
    return work(), time.perf_counter() - began


if __name__ == "__main__":
    main()
