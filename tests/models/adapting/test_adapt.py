"""A model on other data: what was learned about a class stays with its name, and what cannot be kept is refused."""

from pathlib import Path

import pytest
import torch

from genai_core.image_size import ImageSize
from genai_core.models.adapting.adapt import NotAdaptableError, adapted, class_rows, rows_by_class
from genai_core.models.artifact import build_model, save_model
from genai_core.models.protocol import ImageShape
from tests.models.tiny import SHAPE, diffusion_recipe, gan_recipe, vae_recipe, vqvae_recipe

RECIPES = {
    "diffusion": diffusion_recipe(),
    "gan": gan_recipe(),
    "vae": vae_recipe(),
    "vqvae": vqvae_recipe(),
}
# The weights with a row per class, as a person reads them off the networks.
ROWS = {
    "diffusion": {"network.class_embedding.weight"},
    "gan": {"generator.class_embedding.weight", "discriminator.score.weight", "discriminator.score.bias"},
    "vae": {"network.class_embedding.weight"},
    "vqvae": {"network.prior.start.weight"},
}


def saved(folder: Path, family: str, shape: ImageShape = SHAPE) -> Path:
    torch.manual_seed(0)
    model = build_model(RECIPES[family], shape)
    with torch.no_grad():
        for parameter in model.parameters():  # some start as zeros, which would hide a mistake
            parameter.add_(torch.randn_like(parameter) * 0.1)
    save_model(folder, model, RECIPES[family], dataset="d" * 64, training_summary={})
    return folder


def drawn(model, label, sampling=None):
    model.eval()
    return model.sample(torch.tensor([label]), torch.tensor([3]), sampling or model.preview_sampling)


@pytest.mark.parametrize("family", RECIPES)
def test_each_family_draws_an_old_class_as_before_whatever_its_number(tmp_path: Path, family: str) -> None:
    assert class_rows(RECIPES[family], SHAPE) == ROWS[family]
    folder = saved(tmp_path, family)
    before = adapted(folder, SHAPE)
    assert before.changes == ()
    shape = ImageShape(SHAPE.image_size, 1, ("A new one", "c", "a"))  # b is gone, a and c have other numbers
    after = adapted(folder, shape)
    assert after.changes == (
        "1 new class, starting as the mean of the others: A new one",
        "without images now, so dropped: b",
    )
    assert torch.equal(drawn(before.model, 0), drawn(after.model, 2))
    assert torch.equal(drawn(before.model, 2), drawn(after.model, 1))


@pytest.mark.parametrize("now", [("a", "b too", "c"), ("b too", "c", "d")])
def test_a_class_with_another_name_draws_as_before(tmp_path: Path, now: tuple[str, ...]) -> None:
    folder = saved(tmp_path, "gan")
    after = adapted(folder, ImageShape(SHAPE.image_size, 1, now), {"b too": "b"})
    assert after.changes[0] == "b is called b too now, by its images"
    assert after.new_classes == tuple(name for name in now if name == "d")
    assert torch.equal(drawn(adapted(folder, SHAPE).model, 1), drawn(after.model, now.index("b too")))


def test_rows_go_by_name_and_a_new_one_is_the_mean() -> None:
    rows = torch.tensor([[1.0], [2.0], [6.0], [50.0]])  # the last one is for "no label"
    assert rows_by_class(rows, ("a", "b", "c"), ("c", "new", "a")).tolist() == [[6.0], [3.0], [1.0], [50.0]]


def test_another_order_of_the_same_classes_is_told(tmp_path: Path) -> None:
    found = adapted(saved(tmp_path, "gan"), ImageShape(SHAPE.image_size, 1, ("c", "b", "a")))
    assert found.changes == ("the classes are in another order",)


@pytest.mark.parametrize("family", RECIPES)
def test_grey_models_continue_in_colour(tmp_path: Path, family: str) -> None:
    """At first, all three channels are those of the grey image; for a diffusion model, given the same noise in each."""
    colour = ImageShape(SHAPE.image_size, 3, SHAPE.classes)
    found = adapted(saved(tmp_path, family), colour)
    assert found.changes == ("3 channels instead of 1",)
    if family == "diffusion":
        noise = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        labels = torch.tensor([0, 1])
        grey = adapted(tmp_path, SHAPE).model.eval().sample_from(noise, labels, found.model.preview_sampling)
        drawn_in_colour = found.model.eval().sample_from(
            noise.expand(-1, 3, -1, -1), labels, found.model.preview_sampling
        )
        assert (drawn_in_colour.int() - grey.int()).abs().max() <= 1
    else:
        images = drawn(found.model, 0)
        assert torch.equal(images, images[:, :1].expand(-1, 3, -1, -1))
        assert torch.equal(images[:, :1], drawn(adapted(tmp_path, SHAPE).model, 0))


def test_a_convolutional_network_continues_at_another_size(tmp_path: Path) -> None:
    shape = ImageShape(ImageSize.square(12), 1, SHAPE.classes)
    found = adapted(saved(tmp_path, "diffusion"), shape)
    assert found.changes == ("12 x 12 pixels instead of 8 x 8",)
    assert drawn(found.model, 0).shape == (1, 1, 12, 12)


@pytest.mark.parametrize("family", ["gan", "vae", "vqvae"])
def test_a_network_that_depends_on_the_size_is_refused_with_the_reason(tmp_path: Path, family: str) -> None:
    shape = ImageShape(ImageSize.square(12), 1, SHAPE.classes)
    with pytest.raises(NotAdaptableError, match=r"draws 8 x 8 pixels.* the data has 12 x 12 .*has the shape \("):
        adapted(saved(tmp_path, family), shape)


def test_more_levels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NotAdaptableError, match=r"network\.\S+ (has no counterpart|has the shape)"):
        adapted(saved(tmp_path, "diffusion"), ImageShape(ImageSize.square(32), 1, SHAPE.classes))


@pytest.mark.parametrize(("before", "now"), [(("a", "b"), ()), ((), ("a", "b"))])
def test_labels_that_appear_or_vanish_are_refused(
    tmp_path: Path, before: tuple[str, ...], now: tuple[str, ...]
) -> None:
    folder = saved(tmp_path, "gan", ImageShape(SHAPE.image_size, 1, before))
    with pytest.raises(NotAdaptableError, match=r"ha(s|ve) classes, the \w+ ha(s|ve) none; train a model from scratch"):
        adapted(folder, ImageShape(SHAPE.image_size, 1, now))
