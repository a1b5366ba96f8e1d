import math

import pytest
import torch

from genai_core.config import VaeSampling
from genai_core.models.editing import slerp
from genai_core.models.networks.vae.autoencoder import Posterior
from genai_core.models.networks.vae.flow import Flow, standard_normal_log_density
from genai_core.models.protocol import Part
from genai_core.models.vae import _likelihood, build, likelihood_std, posterior_log_density
from tests.models.overfit import UNLABELLED, learn, recall, sixteen_images
from tests.models.tiny import SHAPE, vae_recipe

LABELS = torch.tensor([0, 1, 2, 0])


def lively_flow(dim=6, condition_dim=2):
    flow = Flow(dim, 3, condition_dim)
    for parameter in flow.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return flow.double()


def test_the_estimated_divergence_is_that_of_gaussians():
    """KL(N(m, s^2) || N(0, 1)) = (m^2 + s^2 - 1 - log s^2) / 2 per dimension (Kingma and Welling 2014, appendix B)."""
    mean, log_variance = torch.tensor([[0.5, -1.0, 0.0]]), torch.tensor([[-1.0, 0.5, 0.0]])
    exact = (mean.square() + log_variance.exp() - 1 - log_variance).sum() / 2
    noise = torch.randn((200_000, 3))
    posterior = Posterior(mean.expand(200_000, 3), log_variance.expand(200_000, 3))
    prior = Flow(3, 0, 0)
    latents = posterior.sample(noise)
    estimates = posterior_log_density(posterior, noise) - prior.log_density(latents, torch.empty((200_000, 0)))
    assert float(estimates.mean()) == pytest.approx(float(exact), rel=0.01)


def test_a_new_flow_keeps_the_prior_standard_normal():
    flow, latents = Flow(6, 4, 2), torch.randn(5, 6)
    torch.testing.assert_close(flow.log_density(latents, torch.randn(5, 2)), standard_normal_log_density(latents))


def test_the_flow_is_undone_by_its_inverse():
    flow, latents, condition = lively_flow(), torch.randn(5, 6).double(), torch.randn(5, 2).double()
    flow.float()
    noise, _ = flow.to_noise(latents.float(), condition)
    assert not torch.allclose(noise, latents.float(), atol=0.1)
    torch.testing.assert_close(flow.to_latents(noise, condition), latents.float(), atol=1e-4, rtol=1e-4)


def test_the_flows_volume_change_is_the_jacobians_determinant():
    flow = lively_flow().float()
    latents, condition = torch.randn(1, 6), torch.randn(1, 2)
    jacobian = torch.autograd.functional.jacobian(lambda x: flow.to_noise(x, condition)[0][0], latents)[:, 0]
    _, volume = flow.to_noise(latents, condition)
    torch.testing.assert_close(volume[0], torch.linalg.slogdet(jacobian).logabsdet, atol=1e-4, rtol=1e-4)


def test_the_flows_density_sums_to_one():
    flow = Flow(2, 3, 0)
    for parameter in flow.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    places = torch.linspace(-12, 12, 400)
    grid = torch.cartesian_prod(places, places)
    with torch.no_grad():
        density = flow.log_density(grid, torch.empty((len(grid), 0))).exp()
    assert float(density.sum()) * (24 / 399) ** 2 == pytest.approx(1.0, abs=0.01)


def test_the_likelihoods_standard_deviation_is_the_most_likely_one():
    images, decoded = torch.zeros(8, 2, 4, 4), torch.randn(8, 2, 4, 4) * torch.tensor([0.1, 2.0])[:, None, None]
    std = likelihood_std(images, decoded)

    def negative_log_likelihood(std):
        scaled = (images - decoded) / std[:, None, None]
        return float((scaled.square() / 2 + std.log()[:, None, None]).mean())

    assert all(
        negative_log_likelihood(std) < negative_log_likelihood(std * torch.tensor(factor))
        for factor in ([0.9, 1.0], [1.1, 1.0], [1.0, 0.9], [1.0, 1.1])
    )
    assert float(likelihood_std(images, images).min()) == pytest.approx(1 / 255)


def test_a_channel_that_is_reproduced_exactly_has_a_finite_gradient():
    images, decoded = torch.zeros(2, 2, 4, 4), torch.zeros(2, 2, 4, 4, requires_grad=True)
    likelihood_std(images, decoded + torch.tensor([0.0, 1.0])[:, None, None]).log().sum().backward()
    assert decoded.grad.isfinite().all()
    assert decoded.grad[:, 1].abs().sum() > 0


def test_that_is_so_in_a_part_of_a_batch_too():
    images, decoded = torch.zeros(2, 2, 4, 4), torch.zeros(2, 2, 4, 4, requires_grad=True)
    part = Part(0, 2, 4, batch_mean=lambda values: values)
    std, misfit = _likelihood(images, decoded + torch.tensor([0.0, 1.0])[:, None, None], part)
    (std.log() + misfit).sum().backward()
    assert decoded.grad.isfinite().all()
    assert decoded.grad[:, 1].abs().sum() > 0


def test_the_loss_is_the_bound_in_nats_per_value():
    model = build(vae_recipe(), SHAPE)
    loss = model.loss("autoencoder", torch.rand(4, 1, 8, 8), LABELS, torch.Generator().manual_seed(0))
    std, divergence = loss.figures["output_std"], loss.figures["kl"]
    expected = std.log() + (1 + math.log(2 * math.pi)) / 2 + divergence / 64
    assert float(loss.value.detach()) == pytest.approx(float(expected), rel=1e-5)


def test_the_kl_weight_rises_and_is_saved():
    model, images = build(vae_recipe(kl_warmup_images=16), SHAPE), torch.rand(4, 1, 8, 8)

    def weight(model):
        loss = model.loss("autoencoder", images, LABELS, torch.Generator().manual_seed(0))
        model.end_step(4, {})
        rest = loss.figures["output_std"].log() + (1 + math.log(2 * math.pi)) / 2
        return float((loss.value.detach() - rest) / (loss.figures["kl"] / 64))

    assert [weight(model) for _ in range(3)] == pytest.approx([0.0, 0.25, 0.5], abs=1e-3)
    again = build(vae_recipe(kl_warmup_images=16), SHAPE)
    again.load_state_dict(model.state_dict())
    assert [weight(again) for _ in range(3)] == pytest.approx([0.75, 1.0, 1.0], rel=1e-3)


def test_16_images_are_memorised():
    model = build(vae_recipe(), UNLABELLED)
    learn(model, learning_rate=1e-2, steps=200, betas=(0.9, 0.99))
    rows = model.eval().pictures(sixteen_images(), None)["reconstructions"].float() / 127.5 - 1
    assert (rows[0] - rows[1]).square().mean().sqrt() < 0.35
    assert recall(model, VaeSampling(temperature=1.0)).images > 7


def test_interpolations_begin_and_end_with_reconstructions():
    model = build(vae_recipe(), SHAPE).eval()
    images, labels = torch.rand(20, 1, 8, 8) * 2 - 1, torch.zeros(20, dtype=torch.int64)
    pictures = model.pictures(images, labels)
    rows, ways = pictures["reconstructions"], pictures["interpolations"]
    assert rows.shape == ways[:2].shape == (2, 10, 1, 8, 8)
    assert (ways[0, 0].int() - rows[1, 0].int()).abs().max() <= 1
    assert (ways[0, -1].int() - rows[1, 1].int()).abs().max() <= 1


def test_points_on_an_arc_keep_their_norm():
    begins, ends = torch.tensor([[3.0, 0.0, 0.0]]), torch.tensor([[0.0, 0.0, 3.0]])
    for share in (0.0, 1 / 3, 0.5, 1.0):
        angle = math.pi / 2 * share
        expected = torch.tensor([[3 * math.cos(angle), 0.0, 3 * math.sin(angle)]])
        torch.testing.assert_close(slerp(begins, ends, share), expected, atol=1e-6, rtol=0)
    draws = torch.randn((2, 100, 64))
    norms = slerp(*draws, 0.5).norm(dim=1)
    assert 7.5 < norms.mean() < 8.5  # the root of 64, as for any sample; 5.7 on a straight line
    assert torch.lerp(*draws, 0.5).norm(dim=1).mean() < 6


def test_without_a_unique_arc_the_interpolation_is_linear():
    begins = torch.tensor([[1.0, 2.0], [1.0, 2.0], [0.0, 0.0]])
    ends = torch.tensor([[3.0, 6.0], [-1.0, -2.0], [1.0, 0.0]])
    expected = torch.tensor([[2.0, 4.0], [0.0, 0.0]])
    torch.testing.assert_close(slerp(begins, ends, 0.5)[:2], expected)
    assert slerp(begins, ends, 0.5).isfinite().all()


def test_a_low_temperature_brings_images_closer_together():
    model = build(vae_recipe(), SHAPE).eval()
    labels, seeds = torch.zeros(16, dtype=torch.int64), torch.arange(16)
    wide, narrow = (model.sample(labels, seeds, VaeSampling(temperature=t)).float() for t in (1.0, 0.2))
    assert narrow.std(dim=0).mean() < 0.5 * wide.std(dim=0).mean()
