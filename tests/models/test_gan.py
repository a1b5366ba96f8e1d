import math

import torch

from genai_core.config import GanSampling
from genai_core.models.gan import build, gradient_penalty, relativistic_loss
from tests.models.tiny import SHAPE, gan_recipe

LABELS = torch.tensor([0, 1, 2, 0])


def test_relativistic_loss_in_closed_form():
    assert torch.isclose(relativistic_loss(torch.zeros(5)), torch.tensor(math.log(2)))
    assert relativistic_loss(torch.tensor([100.0])) < 1e-6
    # Far behind it is as much as the distance: log(1 + exp(d)) is d.
    assert torch.isclose(relativistic_loss(torch.tensor([-100.0])), torch.tensor(100.0))


def test_the_loss_depends_on_differences_of_scores_alone():
    real, fake = torch.randn(6), torch.randn(6)
    torch.testing.assert_close(relativistic_loss(real - fake), relativistic_loss((real + 9) - (fake + 9)))


def test_gradient_penalty_of_a_linear_score_is_the_squared_norm_of_its_weights():
    weights = torch.randn(2, 3, 3)
    images = torch.randn(4, 2, 3, 3, requires_grad=True)
    scores = (images * weights).sum(dim=(1, 2, 3))
    torch.testing.assert_close(gradient_penalty(scores, images), weights.square().sum().expand(4))


def test_gradient_penalty_of_a_quadratic_score_and_its_own_gradient():
    factor = torch.tensor(3.0, requires_grad=True)
    images = torch.randn(4, 1, 2, 2, requires_grad=True)
    penalty = gradient_penalty((factor * images.square()).sum(dim=(1, 2, 3)), images)
    squares = images.detach().square().sum(dim=(1, 2, 3))
    torch.testing.assert_close(penalty, 4 * 9.0 * squares)
    (gradient,) = torch.autograd.grad(penalty.sum(), factor)
    torch.testing.assert_close(gradient, 8 * 3.0 * squares.sum())


def test_each_phase_reaches_its_own_network():
    model = build(gan_recipe(), SHAPE)
    images = torch.rand(4, 1, 8, 8) * 2 - 1
    for phase, other in (("discriminator", "generator"), ("generator", "discriminator")):
        model.zero_grad()
        model.requires_grad_(False)
        for parameter in model.phase_parameters(phase):
            parameter.requires_grad_(True)
        model.loss(phase, images, LABELS, torch.Generator().manual_seed(0)).value.backward()
        own = [parameter.grad is not None for parameter in model.phase_parameters(phase)]
        assert all(own)
        assert all(parameter.grad is None for parameter in model.phase_parameters(other))


def test_with_equal_sides_neither_leads():
    """The scores of an image against itself: the margin is 0, and both losses are log 2."""
    model = build(gan_recipe(r1_gamma=0.0, augment_policy=()), SHAPE)
    latents = torch.randn((4, 4), generator=torch.Generator().manual_seed(7))
    images = model.generator(latents, LABELS).detach()
    for phase in model.phases:
        loss = model.loss(phase, images, LABELS, torch.Generator().manual_seed(7))
        assert torch.isclose(loss.value, torch.tensor(math.log(2)), atol=1e-5)


def test_a_part_of_the_batch_is_enough_for_the_penalty():
    images = torch.rand(8, 1, 8, 8) * 2 - 1
    labels = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])
    figures = {}
    for share in (0.25, 1.0):
        torch.manual_seed(0)
        model = build(gan_recipe(penalty_share=share, augment_policy=()), SHAPE)
        figures[share] = model.loss("discriminator", images, labels, torch.Generator().manual_seed(0)).figures
    # Which images are penalised changes nothing in the margin.
    torch.testing.assert_close(figures[0.25]["score_margin"], figures[1.0]["score_margin"])
    assert figures[0.25]["r1"] != figures[1.0]["r1"]


def test_truncation_brings_images_closer_together():
    model = build(gan_recipe(), SHAPE).eval()
    labels, seeds = torch.zeros(16, dtype=torch.int64), torch.arange(16)
    wide, narrow = (
        model.sample(labels, seeds, GanSampling(truncation=truncation)).float() for truncation in (1.0, 0.2)
    )
    assert narrow.std(dim=0).mean() < 0.5 * wide.std(dim=0).mean()


def test_the_discriminator_learns_faster_by_the_factor():
    model = build(gan_recipe(discriminator_rate_factor=3.0), SHAPE)
    assert model.learning_rate_factor("discriminator") == 3.0
    assert model.learning_rate_factor("generator") == 1.0
