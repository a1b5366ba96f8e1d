"""Published checks: CIFAR-10's own images have a known FID and inception score in Inception's features.

With the weights and the images, one run verifies that resize, features, statistics and scores match the published ones.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

from genai_core.config import Config
from genai_core.data.dataset.dataset import SPLITS
from genai_core.evaluation.feature_network import ExtractorDescription, FeatureNetwork
from genai_core.evaluation.figures.frechet import frechet_distance
from genai_core.evaluation.figures.inception_score import inception_score
from genai_core.evaluation.image_sets import measure_set
from genai_core.evaluation.image_source import image_batches
from genai_core.evaluation.statistics import feature_stats, square_root

# CIFAR-10, 50,000 train images against 10,000 test images; scores over 10 splits. Ports of the network give 3.1517 to
# 3.1525; the score depends on how images are distributed over the splits.
PUBLISHED_FID, FID_TOLERANCE = 3.15, 0.01
PUBLISHED_IS = {"train": 11.24, "test": 10.98}
IS_TOLERANCE = 0.1
IS_SPLITS = 10


def selfcheck(
    images: str | None, network: Callable[[], tuple[FeatureNetwork, ExtractorDescription]], config: Config
) -> int:
    """Compare with the published values and print each check. Returns 0, or 1 when a value differs."""
    checks = [f"FID of train against test {PUBLISHED_FID}", *(f"IS of {s} {v}" for s, v in PUBLISHED_IS.items())]
    try:
        extractor, _ = network()
    except (ValueError, OSError) as error:
        return _not_checked(checks, f"Inception's weights are missing: {error}")
    if images is None:
        return _not_checked(
            checks, "no images: pass the folder or archive of CIFAR-10 (its Python batches, or PNG files)"
        )
    sets = {}
    for split in SPLITS:
        with tempfile.TemporaryDirectory(prefix="genai-") as scratch:
            batches = image_batches(images, Path(scratch), config.evaluation.batch_images, split)
            sets[split] = measure_set(
                extractor, batches, config.evaluation.batch_images, config.evaluation.seed
            ).features
    test, train = (feature_stats(sets[split].features) for split in ("test", "train"))
    results = [(checks[0], frechet_distance(test, square_root(test.covariance), train), PUBLISHED_FID, FID_TOLERANCE)]
    for check, split in zip(checks[1:], SPLITS, strict=True):
        score = inception_score(sets[split].logits, IS_SPLITS).mean
        results.append((check, score, PUBLISHED_IS[split], IS_TOLERANCE))
    failed = 0
    for check, value, published, tolerance in results:
        matches = abs(value - published) <= tolerance
        failed += not matches
        print(f"{'ok' if matches else 'FAILED'}  {check}: measured {value:.4f}, within {tolerance}")
    return 1 if failed else 0


def _not_checked(checks: list[str], reason: str) -> int:
    for check in checks:
        print(f"not checked  {check}")
    print(reason)
    return 0
