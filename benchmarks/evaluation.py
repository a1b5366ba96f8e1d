"""What measuring costs, beside torchmetrics, torch-fidelity and the bare network.

    python -m benchmarks.evaluation solve        # Frechet distance at 2048 features
    python -m benchmarks.evaluation inception    # features a second, against the bare network
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
from genai_core.config import TrainedExtractorConfig, load_config
from genai_core.evaluation.evaluate import evaluate_features
from genai_core.evaluation.extractor_training import train_extractor
from genai_core.evaluation.features import Features, extract_features
from genai_core.evaluation.figures.frechet import frechet_distance
from genai_core.evaluation.inception import InceptionNetwork
from genai_core.evaluation.reference import RealImages, build_reference
from genai_core.evaluation.statistics import feature_stats, square_root

ROOT = Path(__file__).parents[1]
T = TypeVar("T")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("solve", "inception", "classifier"))
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
    print(f"| Frechet distance, {dim} features, root kept | {kept_s:.2f} s | {value:.9f} |")
    if with_torchmetrics:
        from torchmetrics.image.fid import _compute_fid

        arrays = [torch.from_numpy(x) for x in (a.mean, a.covariance, b.mean, b.covariance)]
        other, other_s = timed(lambda: float(_compute_fid(*arrays)))
        print(f"| torchmetrics | {other_s:.2f} s | {other:.9f} |")
        print(f"| torchmetrics over ours | {other_s / kept_s:.0f} | relative difference {abs(other / value - 1):.1e} |")


def inception(images: int = 48, batch: int = 16) -> None:
    """Our pass from arrays to features, and the network of torch-fidelity alone on batches that lie ready."""
    network = InceptionNetwork("fp32").eval().requires_grad_(False)
    pictures = np.random.default_rng(0).integers(0, 256, (images, 3, 32, 32), dtype=np.uint8)
    batches = torch.from_numpy(pictures).split(batch)

    def bare() -> None:
        with torch.inference_mode():
            for part in batches:
                network.network(part)

    def ours() -> Features:
        return extract_features(network, pictures, batch)

    bare()
    rounds = [(timed(bare)[1], timed(ours)[1]) for _ in range(3)]
    bare_s, ours_s = (float(np.median(column)) for column in zip(*rounds, strict=True))
    print(f"| Inception features, images a second | {images / ours_s:.2f} | bare network {images / bare_s:.2f} |")
    print(f"| ours over bare | {bare_s / ours_s:.3f} | |")


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
        real = RealImages(dataset.info.fingerprint, CLASSES, 28, 1, {"train": train_labels[:10_000], "test": labels})
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
