"""Properties of every family."""

import subprocess
import sys

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from genai_core.image_size import ImageSize
from genai_core.models.artifact import build_model
from genai_core.models.protocol import ImageShape
from tests.models.tiny import RECIPES, SHAPE

FAMILIES = sorted(RECIPES)


def lively(family, shape=SHAPE):
    """A model without zero weights, so that every input has an effect."""
    model = build_model(RECIPES[family](), shape).eval()
    for parameter in model.parameters():
        if parameter.abs().sum() == 0:
            torch.nn.init.normal_(parameter, std=0.1)
    return model


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("classes", [(), ("a", "b", "c")])
@pytest.mark.parametrize(
    ("size", "channels"),
    [
        *(((side, side), channels) for side, channels in [(8, 1), (12, 3), (16, 3), (28, 1), (32, 1), (64, 3)]),
        ((16, 24), 3),
        ((24, 16), 1),
        ((8, 32), 1),
        ((60, 28), 3),
    ],
)
def test_trains_and_samples_at_any_size(family, classes, size, channels):
    model = build_model(RECIPES[family](), ImageShape(ImageSize(*size), channels, classes))
    images = torch.rand(2, channels, *size) * 2 - 1
    labels = torch.tensor([0, len(classes) - 1]) if classes else None
    for phase in model.phases:
        loss = model.loss(phase, images, labels, torch.Generator().manual_seed(0))
        loss.value.backward()
        assert loss.value.shape == ()
        assert all(not figure.requires_grad and figure.isfinite() for figure in loss.figures.values())
    drawn = model.eval().sample(
        labels, torch.tensor([1, 2]), model.preview_sampling.model_copy(update=_few_steps(family))
    )
    assert drawn.shape == (2, channels, *size)
    assert drawn.dtype == torch.uint8


@pytest.mark.parametrize("family", FAMILIES)
def test_the_sampling_options_of_another_family_are_refused(family):
    model = build_model(RECIPES[family](), ImageShape(ImageSize.square(8), 1, ()))
    for other in FAMILIES:
        if other != family:
            options = build_model(RECIPES[other](), ImageShape(ImageSize.square(8), 1, ())).preview_sampling
            with pytest.raises(TypeError, match=rf"(?i)expected {family}sampling, got {other}sampling"):
                model.sample(None, torch.tensor([1]), options)


class RefuseSync(TorchDispatchMode):
    """Refuse operations that synchronise with a GPU or copy to it: a step with these cannot be recorded there."""

    WAITS = ("_local_scalar_dense", "nonzero", "bincount", "masked_select", "lift_fresh", "equal")

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        by_mask = name.startswith("index") and any(
            index is not None and index.dtype == torch.bool for index in args[1] if isinstance(args[1], list | tuple)
        )
        assert name not in self.WAITS, f"{name} waits"
        assert not by_mask, f"{name} waits for the mask"
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("family", "objective"),
    [
        ("diffusion", {"augment_share": 0.5}),
        ("gan", {"ada_target": 0.0, "augment_policy": ("colour", "translation", "cutout")}),
        ("vae", {"kl_warmup_images": 10}),
        ("vqvae", {}),
    ],
)
def test_a_loss_does_not_synchronise_with_the_gpu(family, objective):
    model = build_model(RECIPES[family](**objective), SHAPE)
    images, labels = torch.rand(4, 1, 8, 8), torch.arange(4) % 3
    for phase in model.phases:
        model.loss(phase, images, labels, torch.Generator().manual_seed(0))  # fill the caches
        with RefuseSync():
            model.loss(phase, images, labels, torch.Generator().manual_seed(0)).value.backward()


@pytest.mark.parametrize("family", FAMILIES)
def test_every_parameter_belongs_to_one_phase(family):
    model = build_model(RECIPES[family](), SHAPE)
    owned = [id(parameter) for phase in model.phases for parameter in model.phase_parameters(phase)]
    assert sorted(owned) == sorted(id(parameter) for parameter in model.parameters())


@pytest.mark.parametrize("family", FAMILIES)
def test_an_image_depends_only_on_its_seed_and_label(family):
    model, sampling = lively(family), RECIPES_SAMPLING[family]
    labels, seeds = torch.arange(12) % 3, torch.arange(12)
    together = model.sample(labels, seeds, sampling).int()
    order = torch.randperm(12)
    shuffled = model.sample(labels[order], seeds[order], sampling).int()
    alone = torch.cat([model.sample(labels[i : i + 1], seeds[i : i + 1], sampling) for i in range(12)]).int()
    # The batch size changes the order of summation: one grey level of 255 is rounding.
    assert (shuffled - together[order]).abs().max() <= 1
    assert (alone - together).abs().max() <= 1
    assert not torch.equal(together[0], together[3])


@pytest.mark.parametrize("family", FAMILIES)
def test_the_label_changes_the_image(family):
    model, sampling = lively(family), RECIPES_SAMPLING[family]
    seeds = torch.arange(16)  # a few tokens of a VQ-VAE may be the same for both
    first, second = (model.sample(torch.full((16,), label), seeds, sampling) for label in (0, 1))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("family", FAMILIES)
def test_wrong_labels_are_refused(family):
    model = build_model(RECIPES[family](), SHAPE)
    with pytest.raises(ValueError, match="labels from 0 to 2"):
        model.sample(torch.tensor([3]), torch.tensor([0]), model.preview_sampling)


@pytest.mark.parametrize("family", FAMILIES)
def test_losses_repeat_with_their_generator(family):
    model = build_model(RECIPES[family](), SHAPE)
    images, labels = torch.rand(4, 1, 8, 8), torch.tensor([0, 1, 2, 0])
    for phase in model.phases:
        losses = [model.loss(phase, images, labels, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
        first, again, other = (loss.value.detach() for loss in losses)
        assert first == again
        assert (first == other) == (family == "vqvae")  # which uses no randomness in training


def test_models_import_neither_lightning_nor_torchvision():
    code = (
        "import sys, genai_core; assert 'torch' not in sys.modules;"
        "import genai_core.models.artifact, genai_core.models.diffusion, genai_core.models.gan;"
        "import genai_core.models.vae, genai_core.models.vqvae;"
        "heavy = {'lightning_fabric', 'torchvision', 'torchmetrics', 'pandas'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def _few_steps(family):
    return {"steps": 2} if family == "diffusion" else {}


RECIPES_SAMPLING = {
    family: build_model(RECIPES[family](), SHAPE).preview_sampling.model_copy(update=_few_steps(family))
    for family in FAMILIES
}
