"""VQ-VAE: images as tokens (van den Oord et al. 2017, arXiv 1711.00937), and a transformer that generates tokens.

The tokens come from finite scalar quantisation (FSQ) instead of a codebook. Measured on Fashion-MNIST against an EMA
codebook with revival of dead codes, the error is the same at a lower perplexity, so the prior has less to learn
(docs/architecture.md has the figures), and nothing can collapse.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Generator, Tensor, nn
from torch.nn import Parameter, functional

from genai_core.config import SamplingConfig, VqvaeRecipe, VqvaeSampling
from genai_core.image_size import ImageSize
from genai_core.models.networks.vqvae.fsq import Fsq
from genai_core.models.networks.vqvae.tokenizer import Tokenizer
from genai_core.models.networks.vqvae.transformer import TokenPrior
from genai_core.models.protocol import (
    GenerativeModel,
    ImageShape,
    Loss,
    Part,
    check_labels,
    generator_of,
    own_sampling,
    to_uint8,
)

_PICTURE_COLUMNS = 10


def build(config: VqvaeRecipe, shape: ImageShape) -> "Vqvae":
    """Build a VQ-VAE with random weights. Raises ValueError when the stride does not fit the image."""
    return Vqvae(config, shape)


class Vqvae(GenerativeModel):
    """A tokenizer, trained in the first part of a run, and a prior of its tokens, trained in the rest."""

    family = "vqvae"
    phases = ("tokenizer", "prior")
    preview_sampling = VqvaeSampling(temperature=1.0, top_k=None)

    def __init__(self, config: VqvaeRecipe, shape: ImageShape) -> None:
        super().__init__()
        self.shape = shape
        self.objective = config.objective
        self.network = TokenModel(config, shape).to(memory_format=torch.channels_last)

    def phase_parameters(self, phase: str) -> Sequence[Parameter]:
        return list((self.network.tokenizer if phase == "tokenizer" else self.network.prior).parameters())

    def phases_at(self, share: float) -> Sequence[str]:
        """Train the tokenizer first: training a prior of tokens whose meaning still changes would be wasted."""
        return self.phases[:1] if share < self.objective.tokenizer_share else self.phases[1:]

    def learning_rate_factor(self, phase: str) -> float:
        return self.objective.prior_rate_factor if phase == "prior" else 1.0

    def sampled_network(self) -> nn.Module:
        """Includes the encoder, so that the averaged decoder gets codes of the averaged encoder."""
        return self.network

    def loss(
        self,
        phase: str,
        images: Tensor,
        labels: Tensor | None,
        generator: Generator,  # noqa: ARG002 - nothing is random
        part: Part | None = None,  # noqa: ARG002 - each image counts by itself
    ) -> Loss:
        """tokenizer: mean squared error. prior: cross-entropy, nats per token.

        codebook_use: share of the channels' levels that occur in this batch; codebook_perplexity: effective number of
        tokens, as if all were equally frequent.
        """
        if phase == "tokenizer":
            codes = self.network.codes(images)
            value = functional.mse_loss(self.network.tokenizer.decode(codes), images)
            levels = self.network.quantiser.to_levels(codes.detach())
            figures = {
                "reconstruction_loss": value.detach(),
                "codebook_use": self.network.quantiser.use(levels),
                "codebook_perplexity": perplexity(self.network.quantiser.to_tokens(levels)),
            }
            return Loss(value, figures)
        with torch.no_grad():
            levels = self.network.quantiser.to_levels(self.network.codes(images)).flatten(1, 2)
        logits = self.network.prior(levels, labels)
        value = torch.stack(
            [
                functional.cross_entropy(channel.float().flatten(0, 1), levels[:, :, index].flatten())
                for index, channel in enumerate(logits)
            ]
        ).sum()
        return Loss(value, {"prior_loss": value.detach()})

    @torch.no_grad()
    def sample(self, labels: Tensor | None, seeds: Tensor, sampling: SamplingConfig) -> Tensor:
        """Sample as the protocol says, with one exception.

        When a draw falls on the border of two tokens, to the last digits of float32, rounding decides and the image
        differs: a few images in ten thousand of 64 tokens.
        """
        options = own_sampling(sampling, VqvaeSampling)
        check_labels(labels, self.shape, len(seeds))
        device = next(self.network.parameters()).device
        shape = (self.network.prior.length, len(self.network.levels))
        uniforms = seeded_uniforms(seeds, shape).to(device)
        labels = None if labels is None else labels.to(device)
        return to_uint8(self.network(uniforms, labels, options.temperature, options.top_k))

    @torch.no_grad()
    def pictures(self, images: Tensor, labels: Tensor | None) -> Mapping[str, Tensor]:  # noqa: ARG002
        """Return reconstructions: images above their versions decoded from tokens."""
        images = images[:_PICTURE_COLUMNS]
        decoded = self.network.tokenizer.decode(self.network.codes(images))
        return {"reconstructions": to_uint8(torch.stack([images, decoded]))}


class TokenModel(nn.Module):
    """Tokenizer, quantiser and prior. Its forward pass generates images: tokens from the prior, images from tokens."""

    def __init__(self, config: VqvaeRecipe, shape: ImageShape) -> None:
        super().__init__()
        sizes, classes = config.network, len(shape.classes)
        height, width = shape.image_size
        if height % sizes.stride or width % sizes.stride:
            raise ValueError(
                f"network.stride: got {sizes.stride} for images of {shape.image_size} pixels; "
                "allowed: a power of two that divides both sides"
            )
        self.size = ImageSize(height // sizes.stride, width // sizes.stride)  # tokens, which follow row by row
        self.levels = sizes.levels
        self.quantiser = Fsq(sizes.levels)
        self.tokenizer = Tokenizer(shape.channels, sizes.width, sizes.depth, sizes.stride, len(sizes.levels))
        self.prior = TokenPrior(sizes.levels, self.size.pixels, classes, sizes.prior_width, sizes.prior_depth)

    def forward(self, uniforms: Tensor, labels: Tensor | None, temperature: float, top_k: int | None) -> Tensor:
        """uniforms (B, tokens, channels of a token) in [0, 1), labels (B,) int64 or None -> images (B, C, H, W)."""
        levels = self.prior.draw(uniforms, labels, temperature, top_k)
        return self.tokenizer.decode(self.quantiser.to_codes(levels.reshape(len(levels), *self.size, -1)))

    def codes(self, images: Tensor) -> Tensor:
        """images (B, C, H, W) -> their rounded codes (B, h, w, levels)."""
        codes: Tensor = self.quantiser(self.tokenizer.encode(images))
        return codes


def seeded_uniforms(seeds: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Uniform numbers in [0, 1) (N, *shape) on the CPU; row i depends only on seeds[i], seeds (N,) int64.

    Raises as generator_of.
    """
    rows = [torch.rand(shape, generator=generator_of(seed)) for seed in seeds.tolist()]
    return torch.stack(rows) if rows else torch.empty((0, *shape))


def perplexity(tokens: Tensor) -> Tensor:
    """exp of the entropy of tokens (...) int64, a scalar: the effective number of equally frequent tokens.

    Each token's frequency is looked up among the sorted tokens: with a count per value, the CPU would have to wait for
    the GPU to return the number of values.
    """
    ordered = tokens.flatten().sort().values
    counts = torch.searchsorted(ordered, ordered, right=True) - torch.searchsorted(ordered, ordered)
    result: Tensor = (counts / len(ordered)).log().mean().neg().exp()
    return result
