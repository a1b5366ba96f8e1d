import math

import pytest
import torch

from genai_core.config import VqvaeSampling
from genai_core.image_size import ImageSize
from genai_core.models.networks.vqvae.fsq import Fsq
from genai_core.models.networks.vqvae.transformer import TokenPrior, pick
from genai_core.models.protocol import ImageShape
from genai_core.models.vqvae import build, perplexity, seeded_uniforms
from tests.models.overfit import UNLABELLED, learn, recall
from tests.models.tiny import SHAPE, vqvae_recipe

LEVELS = (8, 5, 2)


def all_levels():
    return torch.cartesian_prod(*(torch.arange(count) for count in LEVELS))


def test_levels_and_codes_round_trip():
    quantiser, levels = Fsq(LEVELS), all_levels()
    codes = quantiser.to_codes(levels)
    assert torch.equal(quantiser.to_levels(codes), levels)
    assert codes.abs().max() == 1


def test_every_combination_of_levels_is_a_token():
    tokens = Fsq(LEVELS).to_tokens(all_levels())
    assert sorted(tokens.tolist()) == list(range(80))


def test_every_level_is_reached_and_none_beyond():
    quantiser = Fsq(LEVELS)
    codes = quantiser(torch.linspace(-20, 20, 4001)[:, None].expand(-1, 3))
    for channel, count in enumerate(LEVELS):
        assert codes[:, channel].unique().shape == (count,)
    levels = quantiser.to_levels(codes)
    assert levels.min(dim=0).values.tolist() == [0, 0, 0]
    assert levels.max(dim=0).values.tolist() == [7, 4, 1]
    torch.testing.assert_close(quantiser.to_codes(levels), codes)


def test_use_is_the_share_of_levels_that_occur():
    quantiser = Fsq(LEVELS)
    assert float(quantiser.use(all_levels())) == 1.0
    # One level of 8 in the first channel, two of 5 in the second, one of 2 in the third.
    assert float(quantiser.use(torch.tensor([[[0, 1, 1], [0, 4, 1]]]))) == pytest.approx(4 / 15)


def test_0_is_quantised_to_the_middle_level():
    """0 is the middle level's, whether levels are odd or even."""
    codes = Fsq(LEVELS)(torch.zeros(1, 3))
    assert codes.tolist() == [[0.0, 0.0, 0.0]]


def test_the_gradient_passes_the_rounding_for_any_number_of_levels():
    """Before rounding, codes vary about as much as the levels are apart, and x like a standard normal."""
    counts = range(2, 65)
    x = torch.zeros((1, len(counts)), requires_grad=True)
    Fsq(counts)(x).sum().backward()
    assert x.grad.min() > 0.3


@pytest.mark.parametrize("count", [2, 3, 4, 5, 8])
def test_a_standard_normal_input_reaches_inner_levels_and_either_of_two(count):
    quantiser, x = Fsq((count,)), torch.randn((10_000, 1))
    shares = quantiser.to_levels(quantiser(x)).flatten().bincount(minlength=count) / len(x)
    assert (shares[1:-1] > 0.02).all()
    assert count > 2 or shares.tolist() == pytest.approx([0.5, 0.5], abs=0.02)


def lively_prior(classes=2):
    """A prior of tokens with two channels of 3 and 4 levels."""
    prior = TokenPrior((3, 4), length=6, classes=classes, width=64, depth=2)
    for parameter in prior.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return prior


def test_the_prior_is_causal_in_places_and_levels():
    prior, labels = lively_prior(), torch.tensor([1])
    levels = torch.randint(0, 3, (1, 6, 2))
    for channel in (0, 1):
        before = prior(levels, labels)
        changed = levels.clone()
        changed[0, 3, channel] = (changed[0, 3, channel] + 1) % 3
        after = prior(changed, labels)
        for other in (0, 1):
            # A token's second level is predicted from its first one.
            unseen = 4 if other <= channel else 3
            torch.testing.assert_close(after[other][:, :unseen], before[other][:, :unseen])
            assert (after[other][:, unseen:] != before[other][:, unseen:]).flatten(2).any(dim=2).all()


def test_the_class_affects_every_place():
    prior, levels = lively_prior(), torch.zeros((1, 6, 2), dtype=torch.int64)
    one, other = (prior(levels, torch.tensor([label]))[0] for label in (0, 1))
    assert (one != other).any(dim=2).all()


@pytest.mark.parametrize("top_k", [None, 2])
@pytest.mark.parametrize("classes", [0, 2])
def test_sampling_with_a_cache_equals_sampling_without_one(top_k, classes):
    prior = lively_prior(classes)
    uniforms, labels = torch.rand(5, 6, 2), torch.tensor([0, 1, 0, 1, 1]) if classes else None
    expected = torch.zeros((5, 6, 2), dtype=torch.int64)
    for place in range(6):
        for channel in (0, 1):
            logits = prior(expected, labels)[channel][:, place] / 0.8
            expected[:, place, channel] = pick(logits, uniforms[:, place, channel], top_k)
    assert torch.equal(prior.draw(uniforms, labels, 0.8, top_k), expected)


def test_tokens_are_picked_with_their_probabilities():
    shares = torch.tensor([0.1, 0.0, 0.6, 0.3])
    uniforms = (torch.arange(1000) + 0.5) / 1000
    picked = pick(shares.log().expand(1000, 4), uniforms, None)
    assert picked.bincount(minlength=4).tolist() == [100, 0, 600, 300]
    of_two = pick(shares.log().expand(1000, 4), uniforms, 2)
    assert of_two.bincount(minlength=4).tolist() == pytest.approx([0, 0, 667, 333], abs=1)
    # The ends of the range also pick a possible token.
    ends = torch.tensor([0.0, 1 - 2**-24])
    assert pick(torch.tensor([[-torch.inf, 0.0, -torch.inf]]).expand(2, 3), ends, None).tolist() == [1, 1]


def test_perplexity_counts_equally_frequent_tokens():
    assert float(perplexity(torch.tensor([[3, 0, 7, 9], [9, 7, 3, 0]]))) == pytest.approx(4)
    assert float(perplexity(torch.tensor([5, 5, 5, 5]))) == pytest.approx(1)
    # Shares of 3/4 and 1/4.
    assert float(perplexity(torch.tensor([2, 2, 1, 2]))) == pytest.approx(4 / 3**0.75)


def test_the_prior_is_trained_after_the_tokenizer():
    model = build(vqvae_recipe(tokenizer_share=0.4), SHAPE)
    assert [list(model.phases_at(share)) for share in (0.0, 0.39, 0.4, 0.99)] == [
        ["tokenizer"],
        ["tokenizer"],
        ["prior"],
        ["prior"],
    ]


def test_an_untrained_prior_is_nearly_uniform():
    model = build(vqvae_recipe(), SHAPE)
    images, labels = torch.rand(4, 1, 8, 8) * 2 - 1, torch.tensor([0, 1, 2, 0])
    loss = model.loss("prior", images, labels, torch.Generator())
    assert float(loss.figures["prior_loss"]) == pytest.approx(math.log(12), abs=0.6)
    model.loss("prior", images, labels, torch.Generator()).value.backward()
    assert all(parameter.grad is None for parameter in model.phase_parameters("tokenizer"))


def test_16_images_are_memorised():
    model = build(vqvae_recipe(), UNLABELLED)
    learn(model, learning_rate=1e-2, steps=300, betas=(0.9, 0.99))
    found = recall(model, VqvaeSampling(temperature=1.0, top_k=None))
    assert found.distance < 0.35
    assert found.images > 12


def test_uniforms_of_a_seed_do_not_depend_on_its_neighbours():
    together = seeded_uniforms(torch.tensor([3, 5]), (4, 2))
    assert torch.equal(together[1], seeded_uniforms(torch.tensor([5]), (4, 2))[0])
    assert seeded_uniforms(torch.tensor([], dtype=torch.int64), (4, 2)).shape == (0, 4, 2)


def test_a_stride_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"network\.stride: got 4 for images of 10 x 10 pixels"):
        build(vqvae_recipe(), ImageShape(ImageSize.square(10), 1, ()))
    with pytest.raises(
        ValueError, match=r"images of 16 x 10 \(height x width\) pixels; allowed: .* divides both sides"
    ):
        build(vqvae_recipe(), ImageShape(ImageSize(16, 10), 1, ()))


def test_the_number_of_weights_does_not_depend_on_the_number_of_tokens():
    """262,144 tokens, but the prior has one row of weights for each of their 192 levels."""
    recipe = vqvae_recipe()
    model = build(recipe.model_copy(update={"network": recipe.network.model_copy(update={"levels": (64,) * 3})}), SHAPE)
    assert sum(parameter.numel() for parameter in model.parameters()) < 100_000
    assert model.sample(torch.tensor([0]), torch.tensor([1]), model.preview_sampling).shape == (1, 1, 8, 8)
