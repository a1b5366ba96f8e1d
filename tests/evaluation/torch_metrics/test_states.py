"""Properties of every torchmetrics.Metric: batches, order, merging, resetting, several processes."""

import multiprocessing
import socket
from contextlib import suppress

import pytest
import torch

from genai_core.evaluation.torch_metrics import (
    DensityCoverage,
    FrechetDistance,
    FrechetDistanceInfinity,
    InceptionScore,
    KernelDistance,
    Memorisation,
    PrecisionRecall,
)
from tests.evaluation.torch_metrics.two_processes import extract, sync

GENERATOR = torch.Generator().manual_seed(0)
REAL = torch.randint(0, 200, (40, 1, 4, 4), dtype=torch.uint8, generator=GENERATOR)
FAKE = torch.randint(60, 256, (40, 1, 4, 4), dtype=torch.uint8, generator=GENERATOR)
METRICS = {
    "fd": lambda: FrechetDistance(extract, feature_dim=6),
    "is": lambda: InceptionScore(extract, classes=6, splits=1),
    "kid": lambda: KernelDistance(extract, subsets=1, subset_images=40),
    "pr": lambda: PrecisionRecall(extract),
    "dc": lambda: DensityCoverage(extract),
    "copies": lambda: Memorisation(extract, percentile=20.0),
}
# Its order is random with a seed, so another order of the images changes the value.
ORDERED = {**METRICS, "fd_inf": lambda: FrechetDistanceInfinity(extract, points=3)}


def feed(metric, real, fake, batch=40):
    for images, is_real in ((real, True), (fake, False)):
        for part in images.split(batch):
            if not isinstance(metric, InceptionScore):
                metric.update(part, real=is_real)
            elif not is_real:
                metric.update(part)
    return metric


def value(metric):
    found = metric.compute()
    return torch.stack(list(found)) if isinstance(found, tuple) else found[None]


@pytest.mark.parametrize("name", METRICS)
def test_batches_and_order_do_not_matter(name):
    whole = value(feed(METRICS[name](), REAL, FAKE))
    order = torch.randperm(40, generator=torch.Generator().manual_seed(1))
    parts = value(feed(METRICS[name](), REAL[order], FAKE[order], batch=7))
    assert whole.dtype == torch.float64
    torch.testing.assert_close(parts, whole, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", METRICS)
def test_two_merged_halves_equal_the_whole(name):
    first, second = feed(METRICS[name](), REAL[:25], FAKE[:15]), feed(METRICS[name](), REAL[25:], FAKE[15:])
    first.merge_state(second)
    torch.testing.assert_close(value(first), value(feed(METRICS[name](), REAL, FAKE)), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ORDERED)
def test_a_reset_metric_equals_a_new_one(name):
    metric = feed(ORDERED[name](), FAKE, REAL)
    metric.reset()
    torch.testing.assert_close(value(feed(metric, REAL, FAKE)), value(feed(ORDERED[name](), REAL, FAKE)))


def test_real_images_can_be_kept_at_a_reset():
    metric = feed(FrechetDistance(extract, feature_dim=6, reset_real=False), REAL, FAKE)
    before = metric.compute()
    metric.reset()
    metric.update(FAKE, real=False)
    assert metric.compute() == before


def test_the_root_is_not_reused_for_other_real_images_with_the_same_mean_and_count():
    """Features 0 and 200, then 100 and 100: a cache keyed by mean and count would reuse the first root."""

    def brightness(images):
        return images.float().mean(dim=(1, 2, 3), keepdim=True).flatten(1)

    def plain(*values):
        return torch.stack([torch.full((1, 4, 4), value, dtype=torch.uint8) for value in values])

    metric = FrechetDistance(brightness, feature_dim=1)
    for real, expected in ((plain(0, 200), 0.0), (plain(100, 100), 20_000.0)):
        metric.update(real, real=True)
        metric.update(plain(0, 200), real=False)
        # Of two Gaussians with one mean and variances 20,000 and 0: (141.4 - 0) squared.
        assert float(metric.compute()) == pytest.approx(expected, abs=1e-6)
        metric.reset()


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("way", ["update", "merge_state", "load_state_dict"])
def test_images_added_after_a_result_count(name, way):
    metric = feed(METRICS[name](), REAL[:20], FAKE[:20])
    with suppress(ValueError):  # too few images for a subset of the kernel distance
        value(metric)
    if way == "update":
        feed(metric, REAL[20:], FAKE[20:])
    if way == "merge_state":
        metric.merge_state(feed(METRICS[name](), REAL[20:], FAKE[20:]))
    if way == "load_state_dict":
        other = feed(METRICS[name](), REAL, FAKE)
        for each in (other, metric):
            each.persistent(True)
        metric.load_state_dict(other.state_dict())
    torch.testing.assert_close(value(metric), value(feed(METRICS[name](), REAL, FAKE)), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ORDERED)
def test_a_batch_alone_has_no_figure_and_costs_nothing(name):
    """torchmetrics' forward() resets, computes the batch's figure and adds: state kept at a reset would count twice."""
    metric = feed(ORDERED[name](), REAL, FAKE)
    before = value(metric)
    with pytest.raises(RuntimeError, match=r"figure of whole sets of images; call update\(\) with each batch"):
        metric(REAL, real=True)
    torch.testing.assert_close(value(metric), before, rtol=0, atol=0)


@pytest.mark.parametrize("name", ORDERED)
def test_a_models_change_of_dtype_does_not_change_the_sums(name):
    metric = ORDERED[name]()
    model = torch.nn.ModuleList([metric, torch.nn.Linear(2, 2)])
    feed(metric, REAL[:20], FAKE[:20])
    model.to(torch.float16)
    metric.set_dtype(torch.float32)
    model.half()
    feed(metric, REAL[20:], FAKE[20:])
    expected = value(feed(ORDERED[name](), REAL, FAKE))
    assert value(metric).dtype == torch.float64
    torch.testing.assert_close(value(metric), expected, rtol=1e-9, atol=1e-9)
    metric.to(torch.float16)
    assert value(metric).dtype == torch.float64
    metric.reset()
    torch.testing.assert_close(value(feed(metric, REAL, FAKE)), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ORDERED)
def test_the_state_moves_with_the_model(name):
    """To the meta device, the only other one on every machine."""
    metric = ORDERED[name]()
    feed(metric, REAL, FAKE)
    torch.nn.ModuleList([metric]).to("meta")
    parts = [part for state in metric.metric_state.values() for part in (state if isinstance(state, list) else [state])]
    assert {part.device.type for part in parts} == {"meta"}
    assert metric.device.type == "meta"
    metric.reset()
    assert all(state.device.type == "meta" for state in metric.metric_state.values() if isinstance(state, torch.Tensor))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="moves to a GPU")
@pytest.mark.parametrize("name", ORDERED)
def test_a_gpu_keeps_the_state_and_gives_the_same_figures(name):
    metric = feed(ORDERED[name](), REAL[:20], FAKE[:20]).to("cuda")
    feed(metric, REAL[20:].cuda(), FAKE[20:].cuda())
    assert value(metric).device.type == "cuda"
    expected = value(feed(ORDERED[name](), REAL, FAKE))
    torch.testing.assert_close(value(metric).cpu(), expected, rtol=1e-6, atol=1e-9)


def test_sums_do_not_grow_with_the_images():
    metric = FrechetDistance(extract, feature_dim=6)
    metric.update(REAL, real=True)
    size = sum(state.numel() for state in metric.metric_state.values())
    metric.update(REAL, real=True)
    assert sum(state.numel() for state in metric.metric_state.values()) == size


def test_the_kept_features_are_bounded_with_a_warning():
    metric = KernelDistance(extract, subsets=1, subset_images=10, max_images=10)
    metric.update(REAL[:10], real=True)
    with pytest.warns(UserWarning, match="stores 10 images per set"):
        metric.update(REAL[10:], real=True)
    assert sum(len(part) for part in metric.real_features) == 10


@pytest.mark.long
def test_two_processes_give_the_result_of_one():
    """Rank 0 has the even images and rank 1 the odd ones; both return the figure of all images."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    workers = [context.Process(target=sync, args=(rank, port, REAL, FAKE, answers)) for rank in range(2)]
    for worker in workers:
        worker.start()
    found = [answers.get(timeout=120) for _ in workers]
    for worker in workers:
        worker.join(timeout=30)
        assert worker.exitcode == 0
    for values in found:
        for name, make in METRICS.items():
            expected = value(feed(make(), REAL, FAKE))
            torch.testing.assert_close(torch.tensor(values[name], dtype=torch.float64), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (REAL.float() / 255, TypeError, r"expected uint8 images from 0 to 255, got torch.float32; convert values"),
        (REAL[0], ValueError, r"expected images \(N, C, H, W\)"),
        (REAL.expand(-1, 2, -1, -1), ValueError, "with C 1 or 3"),
    ],
)
def test_images_of_another_form_are_refused(images, error, message):
    with pytest.raises(error, match=message):
        FrechetDistance(extract, feature_dim=6).update(images, real=True)


def test_features_that_do_not_fit_or_are_not_finite_are_refused():
    with pytest.raises(ValueError, match=r"expected features \(40, 7\) from the extractor, got \(40, 6\)"):
        FrechetDistance(extract, feature_dim=7).update(REAL, real=True)
    with pytest.raises(ValueError, match="non-finite"):
        FrechetDistance(lambda images: extract(images) * torch.nan, feature_dim=6).update(REAL, real=True)


def test_too_few_images_are_named():
    metric = FrechetDistance(extract, feature_dim=6)
    metric.update(REAL[:1], real=True)
    with pytest.raises(RuntimeError, match="expected at least two real images, got 1"):
        metric.compute()
    with pytest.raises(RuntimeError, match="no other images yet"):
        feed(PrecisionRecall(extract), REAL, FAKE[:0]).compute()
    few = InceptionScore(extract, classes=6, splits=3)
    few.update(FAKE[:5])
    with pytest.raises(RuntimeError, match="expected at least 2 images in each of 3 splits, got 5 images"):
        few.compute()
