"""Agreement with torchmetrics and torch-fidelity on the same random Inception weights, images and options."""

import pytest
import torch
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_isc import isc_features_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torchmetrics.image.fid import FrechetInceptionDistance, NoTrainInceptionV3
from torchmetrics.image.inception import InceptionScore as OtherInceptionScore
from torchmetrics.image.kid import KernelInceptionDistance

from genai_core.config import InceptionExtractorConfig
from genai_core.evaluation.inception import given_inception
from genai_core.evaluation.torch_metrics import FrechetDistance, InceptionScore, KernelDistance
from tests.evaluation.inception_weights import photographs, write_random_weights

IMAGES = 8
REAL, FAKE = photographs(IMAGES, seed=1), photographs(IMAGES, seed=2, brightness=0.4)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_random_weights(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def network(weights):
    path, sha256 = weights
    config = InceptionExtractorConfig(kind="inception", weights=str(path), weights_sha256=sha256, precision="fp32")
    return given_inception(config)[0]


@pytest.fixture(scope="module")
def ours(network):
    with torch.inference_mode():
        return {name: network(images) for name, images in (("real", REAL), ("fake", FAKE))}


@pytest.fixture(scope="module")
def theirs(weights):
    """torch-fidelity's own network, which reads the file itself."""
    other = FeatureExtractorInceptionV3("theirs", ["2048", "logits_unbiased"], str(weights[0]))
    with torch.inference_mode():
        return {name: other(images) for name, images in (("real", REAL), ("fake", FAKE))}


class Known(torch.nn.Module):
    """Known features, in the order of the calls."""

    def __init__(self, *batches):
        super().__init__()
        self.batches = list(batches)
        self.num_features = batches[0].shape[1]

    def forward(self, _images):
        return self.batches.pop(0)


def test_features_and_logits_agree_with_torch_fidelity(ours, theirs):
    for name in ("real", "fake"):
        torch.testing.assert_close(ours[name].features, theirs[name][0], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(ours[name].logits, theirs[name][1], rtol=1e-5, atol=1e-6)
    assert ours["real"].features.std() > 0.01


def test_features_agree_with_torchmetrics_only_without_antialias(ours, weights):
    plain = NoTrainInceptionV3("inception-v3-compat", ["2048"], str(weights[0]), antialias=False)
    with torch.inference_mode():
        torch.testing.assert_close(plain(REAL[:2]), ours["real"].features[:2], rtol=1e-5, atol=1e-6)
        plain.use_antialias = True
        other = plain(REAL[:2])
    assert (other - ours["real"].features[:2]).abs().max() > 1e-3


def test_grey_images_are_shown_in_all_channels(network):
    with torch.inference_mode():
        grey = network(REAL[:1, :1]).features
        torch.testing.assert_close(grey, network(REAL[:1, :1].expand(-1, 3, -1, -1)).features)


def test_fid_agrees(weights):
    """At the first layer: torchmetrics' solve takes most of a minute at 2048 features (benchmarks/evaluation.py)."""
    layer = NoTrainInceptionV3("inception-v3-compat", ["64"], str(weights[0]), antialias=False)
    with torch.inference_mode():
        features = [layer(images) for images in (REAL, FAKE)]
    mine = FrechetDistance(Known(*features), feature_dim=64)
    other = FrechetInceptionDistance(Known(*features))
    for metric in (mine, other):
        metric.update(REAL, real=True)
        metric.update(FAKE, real=False)
    statistics = [fid_features_to_statistics(part) for part in features]
    fidelity = fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    assert float(mine.compute()) == pytest.approx(float(other.compute()), rel=1e-3)
    assert float(mine.compute()) == pytest.approx(fidelity, rel=1e-3)
    assert float(mine.compute()) > 0.1


@pytest.mark.filterwarnings("ignore:Metric `Kernel Inception Distance`")
def test_kid_agrees_if_a_subset_is_the_whole_set(ours, theirs):
    features = [ours[name].features for name in ("real", "fake")]
    mine = KernelDistance(Known(*features), subsets=1, subset_images=IMAGES)
    other = KernelInceptionDistance(Known(*features), subsets=1, subset_size=IMAGES)
    for metric in (mine, other):
        metric.update(REAL, real=True)
        metric.update(FAKE, real=False)
    fidelity = kid_features_to_metric(
        theirs["fake"][0], theirs["real"][0], kid_subsets=1, kid_subset_size=IMAGES, verbose=False
    )
    assert float(mine.compute().mean) == pytest.approx(float(other.compute()[0]), rel=1e-4)
    assert float(mine.compute().mean) == pytest.approx(fidelity["kernel_inception_distance_mean"], rel=1e-4)


@pytest.mark.filterwarnings("ignore:Metric `InceptionScore` will save all")
@pytest.mark.filterwarnings("ignore:std")
def test_the_inception_score_agrees(ours, theirs):
    logits = torch.cat([ours["real"].logits, ours["fake"].logits])
    images = torch.cat([REAL, FAKE])
    mine, other = InceptionScore(Known(logits), classes=1008, splits=1), OtherInceptionScore(Known(logits), splits=1)
    for metric in (mine, other):
        metric.update(images)
    assert float(mine.compute().mean) == pytest.approx(float(other.compute()[0]), rel=1e-4)
    assert float(mine.compute().mean) > 1.01

    splits = InceptionScore(Known(logits), classes=1008, splits=4)
    splits.update(images)
    # Image i is in split i modulo 4 here, and in part i // 4 there.
    rows = torch.cat([torch.cat([theirs["real"][1], theirs["fake"][1]])[i::4] for i in range(4)])
    fidelity = isc_features_to_metric(rows, splits=4, shuffle=False)
    assert float(splits.compute().mean) == pytest.approx(fidelity["inception_score_mean"], rel=1e-4)
    assert float(splits.compute().std) == pytest.approx(fidelity["inception_score_std"], rel=1e-3)
