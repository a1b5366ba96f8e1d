import math
from itertools import pairwise

import pytest
import torch

from genai_core.config import GanSampling
from genai_core.models.gan import build, gradient_penalty, penalised, penalties, relativistic_loss
from genai_core.models.networks.gan.ada import Ada
from genai_core.models.networks.gan.diffaugment import diff_augment
from genai_core.models.networks.gan.diversity import pair_distances
from genai_core.models.protocol import Part
from tests.models.overfit import UNLABELLED, learn, recall
from tests.models.tiny import SHAPE, gan_recipe

LABELS = torch.tensor([0, 1, 2, 0])


def test_relativistic_loss_in_closed_form():
    assert torch.isclose(relativistic_loss(torch.zeros(5)), torch.tensor(math.log(2)))
    assert relativistic_loss(torch.tensor([100.0])) < 1e-6
    # For large d, log(1 + exp(d)) is d.
    assert torch.isclose(relativistic_loss(torch.tensor([-100.0])), torch.tensor(100.0))


def test_the_loss_depends_only_on_score_differences():
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


def test_equal_images_give_a_margin_of_0():
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
    # The choice of penalised images does not change the margin.
    torch.testing.assert_close(figures[0.25]["score_margin"], figures[1.0]["score_margin"])
    assert figures[0.25]["r1"] != figures[1.0]["r1"]


class LinearScore(torch.nn.Module):
    """A discriminator with a constant gradient: its weights."""

    def __init__(self, weights):
        super().__init__()
        self.weights = torch.nn.Parameter(weights)

    def forward(self, images, _labels):
        return (images * self.weights).sum(dim=(1, 2, 3))


def test_penalties_are_those_of_the_images_before_augmentation():
    """Pixels that a cutout hides from the discriminator cannot change the score, so their gradient is 0."""
    recipe = gan_recipe(penalty_share=0.5, augment_policy=("cutout",))
    model, weights, images = build(recipe, SHAPE), torch.randn(1, 8, 8), torch.rand(4, 1, 8, 8)
    model.discriminator = LinearScore(weights)
    figures = model.loss("discriminator", images, LABELS, torch.Generator().manual_seed(0)).figures
    generator, ones = torch.Generator().manual_seed(0), torch.ones(4, 1, 8, 8)
    torch.randn((4, model.latent_dim), generator=generator)
    seen_fakes, seen_reals = (diff_augment(ones, ("cutout",), generator) for _ in range(2))
    chosen = penalised(Part(0, 4, 4), 0.5)
    for name, seen in (("r1", seen_reals), ("r2", seen_fakes)):
        squares = (seen * weights).square().sum(dim=(1, 2, 3))
        torch.testing.assert_close(figures[name], squares[chosen].mean())
        assert (squares < weights.square().sum()).all()


def test_scores_keep_their_precision_under_autocast():
    """bf16 has 128 numbers between 1 and 2, so it could not separate most scores that are close."""
    model = build(gan_recipe(), SHAPE)
    with torch.no_grad():
        model.discriminator.score.bias += 1.5
    images = torch.rand(256, 1, 8, 8) * 0.1
    with torch.autocast("cpu", torch.bfloat16):
        scores = model.discriminator(images, torch.zeros(256, dtype=torch.int64))
        value = model.loss("discriminator", images, torch.zeros(256, dtype=torch.int64), torch.Generator()).value
    assert scores.dtype == value.dtype == torch.float32
    assert len(scores.unique()) > 200


def test_the_penalised_images_do_not_depend_on_how_a_batch_is_divided():
    whole = penalised(Part(0, 10, 10), 0.3)
    assert len(whole) == penalties(10, 0.3) == 3
    for cuts in ([0, 5, 10], [0, 1, 4, 10], list(range(11))):
        parts = [Part(first, end, 10) for first, end in pairwise(cuts)]
        assert [part.first + index for part in parts for index in penalised(part, 0.3)] == whole
    # Spread evenly: two processes have the same number.
    assert [len(penalised(part, 0.25)) for part in (Part(0, 16, 32), Part(16, 32, 32))] == [4, 4]


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


def test_ada_augments_more_while_the_discriminator_separates_real_images():
    ada = Ada(target=0.6, total_images=100)
    for _ in range(40):
        ada.update(1.0, 4)
    # The mean sign is above 0.6 from the ninth step on: 1 - 0.9^9 = 0.61; each step after it adds 4 / 100.
    assert float(ada.sign) == pytest.approx(1 - 0.9**40)
    assert float(ada.probability) == pytest.approx(min(1.0, 32 * 0.04))
    for _ in range(100):
        ada.update(0.0, 2)
    assert float(ada.probability) < 0.1


def test_adas_state_is_saved_and_used():
    model = build(gan_recipe(ada_target=0.0, ada_images=16), SHAPE)
    images = torch.rand(3, 1, 8, 8) * 2 - 1
    figures = model.loss("discriminator", images, LABELS[:3], torch.Generator().manual_seed(0)).figures
    assert float(figures["score_sign"]) in (-1.0, pytest.approx(-1 / 3), pytest.approx(1 / 3), 1.0)
    for _ in range(3):
        model.end_step(3, {"score_sign": 1 / 3})
    # It rises by 3 / 16 at every step.
    assert float(model.state_dict()["ada.probability"]) == pytest.approx(9 / 16)
    again = build(gan_recipe(ada_target=0.0, ada_images=16), SHAPE)
    again.load_state_dict(model.state_dict())
    assert float(again.ada.sign) == float(model.ada.sign) != 0


def test_a_probability_of_a_quarter_augments_a_quarter_of_the_images():
    images = torch.zeros(400, 1, 8, 8)
    images[:, 0, 4, 4] = 1.0
    changed = diff_augment(images, ("colour",), torch.Generator().manual_seed(0), probability=torch.tensor(0.25))
    assert (changed != images).flatten(1).any(dim=1).float().mean() == pytest.approx(0.25, abs=0.06)


def diversity(fakes, reals, labels):
    drawn, real = pair_distances(fakes, reals, labels)
    return float(drawn / real)


def test_diversity_in_closed_form():
    reals, labels = torch.randn(64, 1, 4, 4), torch.arange(64) % 4
    assert diversity(reals, reals, labels) == pytest.approx(1.0)
    assert diversity(0.3 * reals + 1, reals, labels) == pytest.approx(0.3, rel=1e-3)
    one_a_class = reals[:4][labels]
    assert diversity(one_a_class, reals, labels) == pytest.approx(0.0, abs=1e-3)
    assert diversity(one_a_class, reals, None) > 0.5
    assert [float(total) for total in pair_distances(reals[:1], reals[:1], None)] == [0.0, 0.0]


def trained(recipe, steps, images):
    """A GAN after some steps, with the mean figures of the last ten."""
    model, generator = build(recipe, SHAPE), torch.Generator().manual_seed(0)
    optimizers = {
        phase: torch.optim.Adam(
            model.phase_parameters(phase), lr=2e-3 * model.learning_rate_factor(phase), betas=(0.0, 0.99)
        )
        for phase in model.phases
    }
    labels, means = torch.arange(len(images)) % 3, {}
    for step in range(steps):
        for phase in model.phases:
            loss = model.loss(phase, images, labels, generator)
            model.zero_grad()
            loss.value.backward()
            optimizers[phase].step()
            if step >= steps - 10:
                for name, value in loss.figures.items():
                    means[name] = means.get(name, 0.0) + float(value) / 10
    return model, means


def images_to_learn():
    """Images whose halves have different grey levels."""
    levels = torch.rand((48, 2), generator=torch.Generator().manual_seed(3)) * 2 - 1
    return levels.repeat_interleave(4, dim=1)[:, None, None, :].expand(-1, 1, 8, -1).contiguous()


def test_healthy_training_raises_no_alarm():
    for steps in (10, 60):
        model, figures = trained(gan_recipe(r1_gamma=0.1, augment_policy=()), steps, images_to_learn())
        assert model.alarm(figures) is None, figures


def test_a_collapsed_generator_raises_the_alarm():
    """A generator that ignores its latent generates one image per class."""
    model, images = build(gan_recipe(augment_policy=()), SHAPE), images_to_learn()
    with torch.no_grad():
        model.generator.mix.weight[:, : model.latent_dim] = 0
    loss = model.loss("discriminator", images, torch.arange(48) % 3, torch.Generator().manual_seed(0))
    message = model.alarm({name: float(value) for name, value in loss.figures.items()})
    assert message is not None
    assert "the generator has collapsed" in message
    assert "r1_gamma" in message
    assert "in a fine-tuning, lower finetune.learning_rate_share" in message


def test_a_collapse_raises_the_alarm_even_if_most_parts_have_no_two_images_of_a_class():
    model, images = build(gan_recipe(augment_policy=()), SHAPE), images_to_learn()
    with torch.no_grad():
        model.generator.mix.weight[:, : model.latent_dim] = 0
    row = {}
    for labels in ([0, 1, 2], [2, 0, 1], [1, 0, 2], [0, 0, 1]):
        chosen = images[: len(labels)]
        loss = model.loss("discriminator", chosen, torch.tensor(labels), torch.Generator().manual_seed(0))
        for name, value in loss.figures.items():
            row[name] = row.get(name, 0.0) + float(value) / 4
    assert "the generator has collapsed" in (model.alarm(row) or "")
    assert model.alarm({**row, "pair_distance": 0.0, "pair_distance_real": 0.0}) is None  # unknown


def test_a_discriminator_that_has_won_raises_the_alarm():
    """Nothing limits a discriminator without penalties against a frozen generator."""
    model, images = build(gan_recipe(r1_gamma=0.0, augment_policy=()), SHAPE), images_to_learn()
    optimizer = torch.optim.Adam(model.phase_parameters("discriminator"), lr=1e-2)
    generator = torch.Generator().manual_seed(0)
    for _ in range(60):
        loss = model.loss("discriminator", images, torch.arange(48) % 3, generator)
        model.zero_grad()
        loss.value.backward()
        optimizer.step()
    message = model.alarm({name: float(value) for name, value in loss.figures.items()})
    assert message is not None
    assert "the discriminator has won" in message
    assert "in a fine-tuning, lower finetune.learning_rate_share" in message


def test_16_images_are_memorised():
    model = build(gan_recipe(augment_policy=(), r1_gamma=0.1), UNLABELLED)
    learn(model, learning_rate=5e-3, steps=200, betas=(0.0, 0.99))
    found = recall(model, GanSampling(truncation=1.0))
    assert found.distance < 0.75
    assert found.images > 7
