import numpy as np
import pytest

from genai_core.config import RobustnessConfig
from genai_core.evaluation.disturb import disturb, disturbed_points
from genai_core.evaluation.features import extract_features
from genai_core.evaluation.statistics import feature_stats, square_root
from tests.evaluation.conftest import stripes

CONFIG = RobustnessConfig(images=80, noise=[0.1, 0.5], blur_px=[2.0], jpeg_loss=[95], seed=0)
IMAGES = np.random.default_rng(0).integers(0, 256, (3, 1, 12, 16), dtype=np.uint8)


@pytest.mark.parametrize(("kind", "strength"), [("noise", 0.1), ("blur", 1.5), ("jpeg", 50.0)])
@pytest.mark.parametrize("channels", [1, 3])
def test_disturbing_keeps_shape_and_type_and_is_deterministic(kind, strength, channels):
    images = np.repeat(IMAGES, channels, axis=1)
    found = disturb(images, kind, strength, seed=1)
    assert found.shape == images.shape
    assert found.dtype == np.uint8
    assert (found != images).any()
    np.testing.assert_array_equal(found, disturb(images, kind, strength, seed=1))
    np.testing.assert_array_equal(disturb(images, kind, 0.0, seed=1), images)


def test_noise_has_the_requested_standard_deviation():
    grey = np.full((20, 1, 32, 32), 128, dtype=np.uint8)
    assert disturb(grey, "noise", 0.1, seed=0).std() == pytest.approx(25.5, rel=0.02)


def test_blur_keeps_flat_images_and_turns_a_point_into_a_gaussian():
    flat = np.full((1, 1, 8, 8), 77, dtype=np.uint8)
    np.testing.assert_array_equal(disturb(flat, "blur", 2.0, seed=0), flat)
    point = np.zeros((1, 1, 21, 21), dtype=np.uint8)
    point[0, 0, 10, 10] = 255
    spread = disturb(point, "blur", 1.0, seed=0)[0, 0].astype(float)
    assert spread[10, 10] == pytest.approx(255 / (2 * np.pi), abs=1)
    assert spread[10, 12] / spread[10, 10] == pytest.approx(np.exp(-2), abs=0.03)
    assert spread.sum() == pytest.approx(255, rel=0.05)


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="noise, blur or jpeg"):
        disturb(IMAGES, "fog", 1.0, seed=0)


def test_curves_start_with_undisturbed_images_and_rise(trained):
    extractor, _ = trained
    images, labels = stripes(80, seed=7)
    real = feature_stats(extract_features(extractor, stripes(200, seed=8)[0], 50).features)
    points = disturbed_points(extractor, images, labels, real, square_root(real.covariance), CONFIG, 30)
    assert [(point.kind, point.strength) for point in points] == [
        ("noise", 0.0), ("noise", 0.1), ("noise", 0.5), ("blur", 0.0), ("blur", 2.0), ("jpeg", 0.0), ("jpeg", 95.0),
    ]  # fmt: skip
    plain = [point for point in points if point.strength == 0]
    assert {(point.distance, point.agreement) for point in plain} == {(plain[0].distance, plain[0].agreement)}
    strongest = points[2]
    assert strongest.distance > 2 * plain[0].distance
    assert strongest.agreement < plain[0].agreement
    unlabelled = disturbed_points(extractor, images, None, real, square_root(real.covariance), CONFIG, 30)
    assert {point.agreement for point in unlabelled} == {None}
