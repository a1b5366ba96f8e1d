"""Images from their descriptions: alone or together, mixed, from noise, begun from an image."""

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch

from genai_core.drawing import board
from genai_core.drawing.batches import CPU_BATCHES, Batch, batches, run_batches
from genai_core.drawing.drawing import Cancelled, Drawing, DrawingError, draw
from genai_core.model import Model
from genai_core.models.artifact import ModelDescription
from tests.models.test_families import FAMILIES, RECIPES_SAMPLING, lively
from tests.models.tiny import RECIPES, SHAPE

CPU = torch.device("cpu")


def loaded(family: str, shape=SHAPE) -> Model:
    torch.manual_seed(0)
    description = ModelDescription(RECIPES[family](), shape, "abc", 0, {}, {"model.safetensors": "0" * 64})
    network = lively(family, shape).requires_grad_(False)
    return Model(network, description, RECIPES_SAMPLING[family], torch.float32)


def one_hot(label: int) -> tuple[float, ...]:
    return tuple(float(label == index) for index in range(3))


def some(count: int, **changes) -> list[Drawing]:
    return [Drawing(seed, one_hot(seed % 3), **changes) for seed in range(count)]


@pytest.fixture(params=FAMILIES)
def model(request: pytest.FixtureRequest) -> Model:
    return loaded(request.param)


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, SHAPE.chw, dtype=np.uint8)


def mask() -> np.ndarray:
    chosen = np.zeros(SHAPE.chw[1:], dtype=bool)
    chosen[4:, :4] = True
    return chosen


def test_pixels_do_not_depend_on_the_batch(model: Model) -> None:
    """Bit for bit: alone, in batches of every size that is used, in another order, on other numbers of threads."""
    together = draw(model, some(70), model.sampling)
    for count in (1, 5, 17, 33):
        assert np.array_equal(draw(model, some(count), model.sampling), together[:count])
    order = np.random.default_rng(0).permutation(70)
    assert np.array_equal(draw(model, [some(70)[place] for place in order], model.sampling), together[order])
    threads = torch.get_num_threads()
    try:
        for other in (1, 3):
            torch.set_num_threads(other)
            assert np.array_equal(draw(model, some(70), model.sampling), together)
            assert torch.get_num_threads() == other
    finally:
        torch.set_num_threads(threads)


def test_they_are_the_networks_pixels_up_to_rounding(model: Model) -> None:
    labels, seeds = torch.arange(20) % 3, torch.arange(20)
    expected = model.network.sample(labels, seeds, model.sampling).numpy().astype(int)
    assert np.abs(draw(model, some(20), model.sampling) - expected).max() <= 1


def test_the_librarys_images_are_the_same(model: Model) -> None:
    assert np.array_equal(model.draw(20).pixels, draw(model, some(20), model.sampling))


def test_the_seeds_noise_draws_the_seeds_image(model: Model) -> None:
    noises = model.network.noise(torch.arange(3)).numpy()
    given = [Drawing(9, one_hot(index), noise=noise) for index, noise in enumerate(noises)]
    assert np.array_equal(draw(model, given, model.sampling), draw(model, some(3), model.sampling))


def test_a_mixture_is_neither_class(model: Model) -> None:
    first, second, mixed = (
        draw(model, [Drawing(seed, weights) for seed in range(8)], model.sampling)
        for weights in ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.5, 0.5, 0.0))
    )
    assert not np.array_equal(first, second)
    assert not np.array_equal(mixed, first)
    assert not np.array_equal(mixed, second)


def test_without_classes() -> None:
    model = loaded("gan", replace(SHAPE, classes=()))
    assert draw(model, [Drawing(0), Drawing(1)], model.sampling).shape == (2, *SHAPE.chw)
    with pytest.raises(DrawingError, match="weights: expected none"):
        draw(model, some(1), model.sampling)


def test_strength_0_keeps_the_start_image(model: Model, image: np.ndarray) -> None:
    drawn = draw(model, [*some(1), *some(1, start=image, strength=0.0)], model.sampling)
    assert np.array_equal(drawn[1], image)
    assert np.array_equal(drawn[:1], draw(model, some(1), model.sampling))


def test_strength_1_ignores_the_start_image(model: Model, image: np.ndarray) -> None:
    drawn = draw(model, some(3, start=image, strength=1.0), model.sampling)
    assert np.abs(drawn.astype(int) - draw(model, some(3), model.sampling)).max() <= 1


@pytest.mark.parametrize("strength", [0.4, 1.0])
def test_a_mask_keeps_the_outside_pixel_for_pixel(model: Model, image: np.ndarray, strength: float) -> None:
    edited = draw(model, some(3, start=image, strength=strength, mask=mask()), model.sampling)
    kept = np.broadcast_to(~mask(), edited.shape)
    assert np.array_equal(edited[kept], np.broadcast_to(image, edited.shape)[kept])
    assert not np.array_equal(edited[0], image)
    alone = draw(model, some(1, start=image, strength=strength, mask=mask()), model.sampling)
    assert np.array_equal(alone[0], edited[0])


def test_previews_end_before_the_result_and_show_every_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board, "PREVIEW_EVERY_S", 0.0)
    model, seen = loaded("diffusion"), []
    drawn = draw(model, some(3), model.sampling, on_preview=seen.append)
    assert len(seen) == 2  # two Heun steps, three evaluations; the last one's images are the result
    assert all(images.shape == drawn.shape and images.dtype == np.uint8 for images in seen)
    assert np.array_equal(drawn, draw(model, some(3), model.sampling))


def test_a_preview_that_comes_too_soon_is_not_even_computed() -> None:
    images = np.zeros((1, *SHAPE.chw), np.uint8)
    watch = board.Board(images, lambda _: pytest.fail("shown"), None, None).watch(Batch((0,), 16), some(1))
    assert watch is not None
    watch(1, 3, lambda: pytest.fail("computed"))


@pytest.mark.parametrize("family", ["diffusion", "vqvae"])
def test_cancelling_ends_between_steps(family: str) -> None:
    model, asked = loaded(family), []

    def cancelled() -> bool:
        asked.append(True)
        return len(asked) > 2

    with pytest.raises(Cancelled):
        draw(model, some(3), model.sampling, cancelled=cancelled)
    assert len(asked) == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": -1}, "seed: expected 0 to"),
        ({"seed": 2**32}, "seed: expected 0 to"),
        ({"weights": None}, "weights: expected one per class of a, b, c, got none"),
        ({"weights": (1.0,)}, "weights: expected 3 of at least 0"),
        ({"weights": (2.0, -1.0, 0.0)}, "weights: expected 3 of at least 0"),
        ({"weights": (float("nan"), 1.0, 0.0)}, "weights: expected 3 of at least 0"),
        ({"weights": (0.5, 0.0, 0.0)}, "a sum of 1, got 0.5"),
        ({"noise": np.zeros(3, np.float32)}, r"noise: expected finite numbers of shape \(4,\)"),
        ({"noise": np.full(4, np.nan, np.float32)}, "noise: expected finite"),
        ({"strength": 1.5}, "strength: expected 0 to 1, got 1.5"),
        ({"mask": mask()}, "mask: expected a start image"),
        ({"start": np.zeros((3, 8, 8), np.uint8)}, "start: expected an image of 1 channels and 8 x 8"),
        ({"start": np.zeros((1, 8, 8), np.float32)}, "start: expected an image"),
        ({"start": np.zeros((1, 8, 8), np.uint8), "mask": np.ones((4, 4), bool)}, "mask: expected 8 x 8"),
    ],
)
def test_what_does_not_fit_the_model_is_named(changes: dict, message: str) -> None:
    model = loaded("gan")
    with pytest.raises(DrawingError, match=message):
        draw(model, [replace(some(1)[0], **changes)], model.sampling)


@pytest.mark.parametrize(
    ("images", "threads", "sizes"),
    [
        (1, 2, [16]),
        (16, 2, [16]),
        (17, 2, [16, 16]),
        (40, 1, [32, 16]),
        (64, 2, [32, 32]),
        (64, 1, [64]),
        (200, 2, [64, 64, 64, 16]),
    ],
)
def test_batches_leave_work_for_each_thread(images: int, threads: int, sizes: list[int]) -> None:
    planned = batches(range(images), CPU, threads)
    assert [batch.size for batch in planned] == sizes
    assert [place for batch in planned for place in batch.places] == list(range(images))
    assert all(len(batch.rows) == batch.size and batch.size in CPU_BATCHES for batch in planned)
    assert [batch.size for batch in batches(range(images), torch.device("cuda"), 8)] == [64] * -(-images // 64)


def test_kernels_stay_on_one_thread_whatever_another_request_sets() -> None:
    """A thread's first operation takes the number of threads that was set last, anywhere in the process."""
    begun, set_elsewhere = threading.Barrier(3), threading.Event()
    seen: list[int] = []

    def work(_: Batch) -> None:
        begun.wait(10)
        set_elsewhere.wait(10)
        seen.append(torch.get_num_threads())

    def another_request() -> None:
        begun.wait(10)
        torch.set_num_threads(3)
        set_elsewhere.set()

    before = torch.get_num_threads()
    other = threading.Thread(target=another_request)
    other.start()
    try:
        run_batches(work, [Batch((0,), 16), Batch((1,), 16)], CPU, 2)
    finally:
        other.join()
        torch.set_num_threads(before)
    assert seen == [1, 1]
