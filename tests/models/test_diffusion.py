import math

import pytest
import torch
from torch.distributions import Normal

from genai_core.config import DiffusionSampling
from genai_core.models.diffusion import build
from genai_core.models.networks.diffusion.levels import noise_levels
from genai_core.models.networks.diffusion.ode import euler, heun, multistep
from genai_core.models.networks.diffusion.preconditioning import flow_preconditioning, preconditioning
from genai_core.models.protocol import Part, to_uint8
from genai_core.training.noise import WholeBatchNoise
from tests.models.overfit import UNLABELLED, learn, recall
from tests.models.tiny import SHAPE, diffusion_recipe

SAMPLING = DiffusionSampling(
    sampler="heun",
    steps=3,
    sigma_min=0.01,
    sigma_max=10.0,
    noise_levels=None,
    guidance_scale=1.0,
    guidance_interval=(0.5, 2.0),
)
SIGMA_DATA = 0.5


def test_preconditioning_gives_input_and_target_unit_variance():
    sigma = torch.tensor([1e-3, 0.1, 0.5, 2.0, 80.0], dtype=torch.float64)
    scale = preconditioning(sigma, SIGMA_DATA)
    torch.testing.assert_close(scale.input**2 * (sigma**2 + SIGMA_DATA**2), torch.ones_like(sigma))
    # The target of the network, (clean - skip * noisy) / output, for clean and noise of standard deviation
    # SIGMA_DATA and sigma.
    target = ((1 - scale.skip) ** 2 * SIGMA_DATA**2 + (scale.skip * sigma) ** 2) / scale.output**2
    torch.testing.assert_close(target, torch.ones_like(sigma))


def test_preconditioning_at_its_limits():
    scale = preconditioning(torch.tensor([1e-6, 1e6], dtype=torch.float64), SIGMA_DATA)
    # Without noise the image is its own estimate; with only noise, the network's output is the estimate.
    torch.testing.assert_close(scale.skip, torch.tensor([1.0, 0.0], dtype=torch.float64), atol=1e-10, rtol=0)
    torch.testing.assert_close(scale.output, torch.tensor([1e-6, SIGMA_DATA], dtype=torch.float64), rtol=1e-6, atol=0)


def test_an_untrained_model_is_the_optimal_denoiser_of_a_gaussian():
    """Its network returns 0, so the denoiser is c_skip * x: the posterior mean for clean images N(0, sigma_data^2)."""
    model = build(diffusion_recipe(), SHAPE)
    images = torch.randn(5, 1, 8, 8)
    sigma = torch.tensor([0.01, 0.1, 0.5, 1.0, 10.0])
    expected = images * (SIGMA_DATA**2 / (SIGMA_DATA**2 + sigma**2))[:, None, None, None]
    torch.testing.assert_close(model.denoise(images, sigma, torch.zeros(5, dtype=torch.int64)), expected)


def test_the_weighted_loss_of_the_best_gaussian_denoiser_is_one_at_every_noise_level():
    for mean in (-3.0, 0.0, 3.0):
        model = build(diffusion_recipe(log_sigma_mean=mean, log_sigma_std=0.1), SHAPE)
        images = torch.randn(512, 1, 8, 8) * SIGMA_DATA
        loss = model.loss("denoiser", images, torch.zeros(512, dtype=torch.int64), torch.Generator().manual_seed(1))
        assert float(loss.figures["loss"]) == pytest.approx(1.0, rel=0.03)


def test_a_batch_has_one_noise_level_in_each_equally_likely_interval(monkeypatch):
    recipe = diffusion_recipe()
    model = build(recipe, SHAPE)
    images, labels = torch.zeros(64, 1, 8, 8), torch.zeros(64, dtype=torch.int64)
    drawn, denoise = [], model.denoise
    monkeypatch.setattr(model, "denoise", lambda *given: drawn.append(given[1]) or denoise(*given))
    for seed in (0, 1):
        model.loss("denoiser", images, labels, torch.Generator().manual_seed(seed))
    levels = Normal(recipe.objective.log_sigma_mean, recipe.objective.log_sigma_std)
    for sigma in drawn:
        assert sorted((levels.cdf(sigma.log()) * 64).floor().tolist()) == list(range(64))
    assert not torch.equal(drawn[0], drawn[1])
    # A part of a batch has its share of the whole batch's noise levels.
    with WholeBatchNoise(16, 48, 64):
        model.loss("denoiser", images[16:48], labels[16:48], torch.Generator().manual_seed(1), Part(16, 48, 64))
    torch.testing.assert_close(drawn[2], drawn[1][16:48])


@pytest.mark.parametrize("kind", ["edm", "flow"])
def test_16_images_are_memorised(kind):
    model = build(diffusion_recipe(kind=kind, sigma_data=1.0), UNLABELLED)
    learn(model, learning_rate=1e-2, steps=120, betas=(0.9, 0.99))
    found = recall(model, SAMPLING.model_copy(update={"steps": 8, "sigma_min": 0.02, "sigma_max": 20.0}))
    assert found.distance < 0.35
    assert found.images > 12


def test_noise_levels_fall_from_the_largest_to_0():
    levels = noise_levels(5, 0.01, 80.0)
    assert levels[0] == pytest.approx(80.0)
    assert levels[-2] == pytest.approx(0.01)
    assert levels[-1] == 0.0
    assert levels == sorted(levels, reverse=True)
    assert noise_levels(1, 0.01, 80.0) == pytest.approx([80.0, 0.0])


def gaussian_slope(images, sigma):
    """Slope of the probability flow of data N(0, SIGMA_DATA^2); x / sqrt(SIGMA_DATA^2 + sigma^2) is constant on it."""
    return images * sigma / (SIGMA_DATA**2 + sigma**2)


@pytest.mark.parametrize(("solve", "order"), [(heun, 2), (euler, 1)])
def test_solvers_converge_to_the_exact_flow_of_gaussian_data(solve, order):
    sigma_max, start = 10.0, torch.full((1, 1, 1, 1), 10.0, dtype=torch.float64)
    exact = sigma_max * SIGMA_DATA / math.sqrt(SIGMA_DATA**2 + sigma_max**2)

    def error(steps):
        return abs(float(solve(gaussian_slope, start, noise_levels(steps, 1e-4, sigma_max))) - exact)

    # Half the step size halves the error of order 1 and quarters that of order 2.
    assert 0.75 * 2**order < error(64) / error(128) < 1.25 * 2**order
    assert error(128) < (1e-3 if order == 2 else 2e-2)


def test_both_solvers_follow_a_straight_line_exactly():
    start, slope = torch.randn(2, 1, 2, 2), torch.randn(2, 1, 2, 2)
    for solve in (heun, euler):
        torch.testing.assert_close(solve(lambda *_: slope, start, [1.0, 0.7, 0.0]), start - slope)


def test_multistep_is_of_second_order_on_gaussian_images():
    """For images N(0, s^2), the denoiser is x s^2 / (s^2 + sigma^2), so the flow's end is known."""
    variance, start = 0.7**2, torch.ones(1, dtype=torch.float64)
    exact = start * math.sqrt((variance + 0.05**2) / (variance + 20.0**2))

    def error(steps):
        levels = noise_levels(steps + 1, 0.05, 20.0)[:-1]
        end = multistep(lambda images, sigma: images * variance / (variance + sigma**2), start, levels)
        return float((end - exact).abs())

    assert error(20) < 0.3 * error(10)
    assert error(40) < 0.3 * error(20)


def test_multistep_returns_the_last_steps_clean_estimate():
    asked = []
    levels = [9.0, 1.0, 0.1, 0.0]
    end = multistep(lambda _images, sigma: asked.append(sigma) or 3 * torch.ones(2), torch.ones(2), levels)
    assert asked == [9.0, 1.0, 0.1]
    torch.testing.assert_close(end, 3 * torch.ones(2))


def test_heun_calls_the_slope_2n_minus_1_times():
    for solve, calls in ((heun, 9), (euler, 5)):
        asked = []
        solve(lambda images, time, asked=asked: asked.append(time) or images, torch.ones(1), noise_levels(5, 0.01, 9.0))
        assert len(asked) == calls


def test_the_flows_scales_keep_the_paths_image_and_velocity():
    sigma = torch.tensor([1e-3, 0.1, 0.5, 2.0, 80.0], dtype=torch.float64)
    clean, noise = torch.randn(2, 5, dtype=torch.float64)
    scale, time = flow_preconditioning(sigma, SIGMA_DATA), sigma / (sigma + SIGMA_DATA)
    noisy, velocity = clean + sigma * noise, noise - clean / SIGMA_DATA
    torch.testing.assert_close(scale.input * noisy, (1 - time) * clean / SIGMA_DATA + time * noise)
    torch.testing.assert_close(scale.skip * noisy + scale.output * velocity, clean)
    torch.testing.assert_close(scale.noise, torch.logit(time) / 4)


def test_the_flows_loss_is_the_error_of_the_velocity():
    """An untrained network returns 0, so its error is the velocity's variance: 1 + 1 for data of SIGMA_DATA."""
    model = build(diffusion_recipe(kind="flow"), SHAPE)
    images = torch.randn(512, 1, 8, 8) * SIGMA_DATA
    loss = model.loss("denoiser", images, torch.zeros(512, dtype=torch.int64), torch.Generator().manual_seed(1))
    assert float(loss.figures["loss"]) == pytest.approx(2.0, rel=0.03)


@pytest.mark.parametrize("kind", ["edm", "flow"])
@pytest.mark.parametrize("sampler", ["heun", "euler", "multistep"])
def test_a_dataset_of_one_image_gives_that_image_for_any_noise(kind, sampler, monkeypatch):
    model = build(diffusion_recipe(kind=kind), SHAPE).eval()
    point = torch.rand(1, 1, 8, 8) * 2 - 1
    monkeypatch.setattr(model, "denoise", lambda images, *_: point.expand_as(images))
    drawn = model.sample(torch.tensor([0, 1]), torch.tensor([3, 4]), SAMPLING.model_copy(update={"sampler": sampler}))
    assert (drawn.int() - to_uint8(point).int()).abs().max() <= 1


def test_both_objectives_sample_the_same_image_with_the_same_denoiser(monkeypatch):
    """They follow the same path with another time variable, so the difference vanishes with many steps."""
    drawn = []
    for kind in ("edm", "flow"):
        model = build(diffusion_recipe(kind=kind), SHAPE).eval()

        def denoise(images, sigma, *_):
            share = SIGMA_DATA**2 / (SIGMA_DATA**2 + sigma**2)
            return images * share[:, None, None, None]

        monkeypatch.setattr(model, "denoise", denoise)
        drawn.append(model.sample(torch.tensor([0]), torch.tensor([3]), SAMPLING.model_copy(update={"steps": 100})))
    assert (drawn[0].int() - drawn[1].int()).abs().max() <= 1


def test_the_network_is_conditioned_on_augmentation_and_samples_have_none():
    model = build(diffusion_recipe(augment_share=0.5), SHAPE)
    for parameter in model.parameters():
        if parameter.abs().sum() == 0:  # layers initialised as the identity
            torch.nn.init.normal_(parameter, std=0.1)
    images, sigma, labels = torch.randn(3, 1, 8, 8), torch.full((3,), 1.0), torch.tensor([0, 1, 2])
    plain = model.denoise(images, sigma, labels)
    torch.testing.assert_close(model.denoise(images, sigma, labels, torch.zeros(3, 4)), plain)
    assert not torch.allclose(model.denoise(images, sigma, labels, torch.ones(3, 4)), plain)
    loss = model.loss("denoiser", images, labels, torch.Generator().manual_seed(0))
    loss.value.backward()
    assert model.network.augmentation_embedding.weight.grad.abs().sum() > 0


def test_guidance_moves_away_from_the_unconditional_estimate():
    model = build(diffusion_recipe(), SHAPE).eval()
    torch.nn.init.normal_(model.network.output.weight)
    torch.nn.init.normal_(model.network.class_embedding.weight)
    images, sigma, labels = torch.randn(3, 1, 8, 8), torch.full((3,), 1.0), torch.tensor([0, 1, 2])
    conditional = model.denoise(images, sigma, labels)
    unconditional = model.denoise(images, sigma, torch.full((3,), 3))
    for scale, expected in ((1.0, conditional), (0.0, unconditional), (3.0, 3 * conditional - 2 * unconditional)):
        sampling = SAMPLING.model_copy(update={"guidance_scale": scale})
        torch.testing.assert_close(model._guided(images, 1.0, labels, sampling), expected)


def test_a_model_trained_without_label_dropout_is_sampled_without_guidance():
    """It has no unconditional estimate, which guidance needs."""
    model = build(diffusion_recipe(label_dropout=0.0), SHAPE).eval()
    labels, seeds = torch.tensor([1]), torch.tensor([3])
    with pytest.raises(ValueError, match=r"guidance_scale: got 2\.0; allowed: 1\.0, .*label_dropout 0"):
        model.sample(labels, seeds, SAMPLING.model_copy(update={"guidance_scale": 2.0}))
    for sampling in (model.preview_sampling, SAMPLING.model_copy(update={"guidance_scale": 1.0})):
        assert model.sample(labels, seeds, sampling).shape == (1, 1, 8, 8)


def test_guidance_acts_only_at_noise_levels_in_its_interval(monkeypatch):
    model = build(diffusion_recipe(), SHAPE).eval()
    asked = []  # (noise level, whether unconditional)
    denoise = model.denoise
    monkeypatch.setattr(
        model,
        "denoise",
        lambda images, sigma, labels, hidden=None: (
            asked.append((float(sigma[0]), hidden is not None)) or denoise(images, sigma, labels, hidden=hidden)
        ),
    )
    sampling = SAMPLING.model_copy(update={"sampler": "multistep", "steps": 8, "guidance_scale": 2.0})
    model.sample(torch.tensor([1]), torch.tensor([3]), sampling)
    levels = [sigma for sigma, unlabelled in asked if not unlabelled]
    guided = [sigma for sigma, unlabelled in asked if unlabelled]
    assert levels == pytest.approx(noise_levels(8, 0.01, 10.0)[:-1])
    assert guided == [sigma for sigma in levels if 0.5 <= sigma <= 2.0]
    assert 0 < len(guided) < len(levels)
    asked.clear()
    model.sample(torch.tensor([1]), torch.tensor([3]), sampling.model_copy(update={"guidance_interval": None}))
    assert [sigma for sigma, unlabelled in asked if unlabelled] == levels


@pytest.mark.parametrize("kind", ["edm", "flow"])
@pytest.mark.parametrize("sampler", ["heun", "euler", "multistep"])
def test_given_noise_levels_replace_the_computed_ones(kind, sampler):
    model, labels, seeds = build(diffusion_recipe(kind=kind), SHAPE).eval(), torch.tensor([1]), torch.tensor([3])
    torch.nn.init.normal_(model.network.output.weight, std=0.1)
    own = SAMPLING.model_copy(update={"sampler": sampler})
    ends = {"sigma_min": 0.1, "sigma_max": 1.0}
    same = own.model_copy(update={**ends, "noise_levels": tuple(noise_levels(3, 0.01, 10.0)[:-1])})
    other = own.model_copy(update={"noise_levels": (10.0, 4.0, 0.01)})
    drawn = model.sample(labels, seeds, own)
    assert torch.equal(model.sample(labels, seeds, same), drawn)
    assert not torch.equal(model.sample(labels, seeds, other), drawn)


def test_labels_are_dropped_with_the_given_probability():
    model = build(diffusion_recipe(label_dropout=1.0), SHAPE)
    model.loss(
        "denoiser", torch.zeros(8, 1, 8, 8), torch.zeros(8, dtype=torch.int64), torch.Generator()
    ).value.backward()
    used = model.network.class_embedding.weight.grad.abs().sum(dim=1) > 0
    assert used[:3].tolist() == [False, False, False]
