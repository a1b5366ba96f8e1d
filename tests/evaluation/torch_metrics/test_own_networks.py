"""The metrics on the project's own extractor, which returns features and logits, alone and in one collection."""

import ast
import itertools
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from torchmetrics import MetricCollection

import genai_core
from genai_core.evaluation import torch_metrics
from genai_core.evaluation.extractor import save_extractor
from genai_core.evaluation.figures.fd_infinity import curve_ends, frechet_curve
from genai_core.evaluation.figures.frechet import frechet_distance
from genai_core.evaluation.figures.manifold import manifold, overlap
from genai_core.evaluation.statistics import feature_stats, square_root
from genai_core.evaluation.torch_metrics import (
    DensityCoverage,
    FrechetDistance,
    FrechetDistanceInfinity,
    InceptionScore,
    KernelDistance,
    Memorisation,
    PrecisionRecall,
    SharedExtractor,
    load_extractor,
)


@pytest.fixture(scope="module")
def network(trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("extractor")
    save_extractor(folder, *trained)
    return load_extractor(folder)[0]


@pytest.fixture(scope="module")
def real(dataset):
    return torch.from_numpy(dataset.images("train"))


@pytest.fixture(scope="module")
def other(dataset):
    return torch.from_numpy(dataset.images("test"))


def examples():
    """The code in docstrings of genai_core, by module: indented blocks that are Python and call something."""
    found = {}
    for path in sorted(Path(genai_core.__path__[0]).rglob("*.py")):
        nodes = ast.walk(ast.parse(path.read_text()))
        documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        texts = [ast.get_docstring(node) or "" for node in nodes if isinstance(node, documented)]
        for text in texts:
            code = "\n".join(line[4:] for line in text.splitlines() if line.startswith("    "))
            with suppress(SyntaxError):
                if any(isinstance(node, ast.Call) for node in ast.walk(ast.parse(code))):
                    found.setdefault(path.relative_to(genai_core.__path__[0]).as_posix(), []).append(code)
    return found


def test_the_examples_in_docstrings_run(trained, real, other, tmp_path, monkeypatch):
    (tmp_path / "models/extractor").mkdir(parents=True)
    save_extractor(tmp_path / "models/extractor", *trained)
    monkeypatch.chdir(tmp_path)
    found = examples()
    assert list(found) == ["evaluation/torch_metrics/__init__.py", "evaluation/torch_metrics/features.py"]
    for code in itertools.chain(*found.values()):
        names = {**vars(torch_metrics), "MetricCollection": MetricCollection}
        exec(code, {**names, "images": real, "real_images": real, "generated_images": other})


def collection(extractor, dim, classes):
    return MetricCollection(
        [
            FrechetDistance(extractor, dim),
            FrechetDistanceInfinity(extractor, points=3),
            InceptionScore(extractor, classes, splits=2),
            KernelDistance(extractor, subsets=2, subset_images=10),
            PrecisionRecall(extractor),
            DensityCoverage(extractor),
            Memorisation(extractor, percentile=10.0),
        ]
    )


def feed(metrics, real, other):
    for images, is_real in ((real, True), (other, False)):
        for batch in images.split(16):
            metrics.update(batch, real=is_real)
    return metrics.compute()


@pytest.fixture(scope="module")
def features(network, real, other):
    with torch.no_grad():
        return network(real), network(other)


def test_each_uses_features_and_the_score_uses_logits(network, real, other, features):
    (a, b), (dim, classes) = features, (features[0].features.shape[1], features[0].logits.shape[1])
    found = feed(collection(SharedExtractor(network), dim, classes), real, other)
    stats, mine = feature_stats(a.features.numpy()), feature_stats(b.features.numpy())
    expected = frechet_distance(stats, square_root(stats.covariance), mine)
    assert float(found["FrechetDistance"]) == pytest.approx(expected, rel=1e-4)
    near = overlap(manifold(b.features, 3, 3), manifold(a.features, 3, 3))
    assert float(found["PrecisionRecall"].precision) == pytest.approx(near.precise.mean())
    assert float(found["PrecisionRecall"].recall) == pytest.approx(near.recalled.mean())
    p = b.logits.double().softmax(dim=1)
    scores = [float((part * (part / part.mean(dim=0)).log()).sum(dim=1).mean().exp()) for part in (p[::2], p[1::2])]
    assert float(found["InceptionScore"].mean) == pytest.approx(np.mean(scores), rel=1e-5)


def test_one_pass_per_batch_serves_all(network, real, other):
    passes = []
    handle = network.register_forward_hook(lambda _module, inputs, _out: passes.append(len(inputs[0])))
    try:
        dim, classes = network.project.out_features, network.head.out_features
        shared = feed(collection(SharedExtractor(network), dim, classes), real, other)
        assert sum(passes) == len(real) + len(other)
        alone = feed(collection(network, dim, classes), real, other)
    finally:
        handle.remove()
    assert sum(passes) > 3 * (len(real) + len(other))
    for name, value in alone.items():
        torch.testing.assert_close(shared[name], value)


@pytest.mark.parametrize("inference", [False, True])
def test_a_batch_that_was_overwritten_is_measured_again(network, real, inference):
    """A loader may reuse one buffer."""
    shared = SharedExtractor(network)
    with torch.inference_mode(inference):
        buffer = real[:8].clone()
        first = shared(buffer).features
        buffer.copy_(real[8:16])
        assert torch.equal(shared(buffer).features, network(real[8:16]).features)
        assert not torch.equal(shared(buffer).features, first)


def test_a_model_in_training_leaves_the_extractor_in_evaluation(network, real):
    metric = FrechetDistance(network.train(), network.project.out_features)
    model = torch.nn.ModuleList([metric])
    model.train()
    assert metric.training
    assert not any(module.training for module in network.modules())


def test_the_distance_at_infinity_is_the_intercept_and_below_the_distance(network, real, other, features):
    a, b = (part.features.numpy() for part in features)
    metric = FrechetDistanceInfinity(network, points=4, seed=3)
    for batch in real.split(16):
        metric.update(batch, real=True)
    metric.update(other, real=False)
    stats = feature_stats(a)
    order = np.random.default_rng(3).permutation(len(b))
    curve = frechet_curve(b[order], curve_ends(len(b), 4), stats, square_root(stats.covariance))
    assert float(metric.compute()) == pytest.approx(curve.at_infinity(), rel=1e-4)
    assert float(metric.compute()) < curve.distances[-1]


def test_copies_of_training_images_are_memorised_and_new_images_are_not(network, real, other):
    metric = Memorisation(network, percentile=5.0)
    metric.update(real, real=True)
    metric.update(real[:20], real=False)
    assert float(metric.compute().share) == 1.0
    metric.reset()
    metric.update(real, real=True)
    metric.update(255 - other, real=False)
    assert float(metric.compute().share) < 0.2
