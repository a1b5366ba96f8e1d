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
from genai_core.models.editing import Start, Watch, slerp
from genai_core.models.networks.vqvae.fsq import Fsq
from genai_core.models.networks.vqvae.tokenizer import Tokenizer
from genai_core.models.networks.vqvae.transformer import TokenPrior
from genai_core.models.protocol import (
    GenerativeModel,
    ImageShape,
    Loss,
    Part,
    check_classes,
    generator_of,
    own_sampling,
    to_uint8,
)

_PICTURE_COLUMNS = 10
# Half the step of uniform float32 numbers: 0 itself would be minus infinity as a normal number.
_SMALLEST_UNIFORM = 2.0**-25


def build(config: VqvaeRecipe, shape: ImageShape) -> "Vqvae":
    """Build a VQ-VAE with random weights. Raises ValueError when the stride does not fit the image."""
    return Vqvae(config, shape)


class Vqvae(GenerativeModel):
    """A tokenizer, trained in the first part of a run, and a prior of its tokens, trained in the rest."""

    family = "vqvae"
    has_previews = True
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

    @property
    def noise_shape(self) -> tuple[int, ...]:
        """One number per channel of each token, which says how far up its distribution the level lies."""
        return (self.network.prior.length, len(self.network.levels))

    def noise(self, seeds: Tensor) -> Tensor:
        """Return the seeds' uniform numbers as standard normal ones, by the normal distribution's quantiles."""
        return to_normal(seeded_uniforms(seeds, self.noise_shape))

    @torch.no_grad()
    def sample_from(
        self,
        noise: Tensor,
        classes: Tensor | None,
        sampling: SamplingConfig,
        start: Start | None = None,
        watch: Watch | None = None,
    ) -> Tensor:
        """Sample as the protocol says; with a mask, tokens that lie wholly outside it are those of the start image."""
        if start is None:
            return self._draw(to_uniform(noise), classes, sampling, None, watch)
        if start.noise is None:
            raise ValueError("start.noise: expected the noise of the start images, from encode, got none")
        device = start.images.device
        flat = slerp(start.noise.flatten(1), noise.to(device).flatten(1), start.strength)
        forced = None
        if start.mask is not None:
            levels = self._levels(start.images)
            height, width = self.network.size
            redrawn = functional.adaptive_max_pool2d(start.mask.float(), (height, width)).flatten(1) > 0
            forced = levels.masked_fill(redrawn[:, :, None], -1)
        return self._draw(to_uniform(flat.reshape(noise.shape)), classes, sampling, forced, watch)

    @torch.no_grad()
    def encode(
        self,
        images: Tensor,
        classes: Tensor | None,
        sampling: SamplingConfig,
        begin: Tensor,
    ) -> Tensor:
        """Return noise as the protocol says: of all that gives the image's tokens, one near the middle.

        A token's level is drawn where a uniform number falls into its interval of the distribution. `begin` says where
        in the interval, so that the noise of many images is nearly normally distributed, as that of seeds is.
        """
        options = own_sampling(sampling, VqvaeSampling)
        check_classes(classes, self.shape, len(images))
        levels = self._levels(images)
        within = 0.1 + 0.8 * to_uniform(begin)
        return to_normal(self.network.prior.uniforms(levels, classes, options.temperature, options.top_k, within))

    def _levels(self, images: Tensor) -> Tensor:
        """images (N, C, H, W) -> the levels of their tokens, (N, tokens, channels of a token) int64."""
        return self.network.quantiser.to_levels(self.network.codes(images)).flatten(1, 2)

    @torch.no_grad()
    def sample(self, labels: Tensor | None, seeds: Tensor, sampling: SamplingConfig) -> Tensor:
        """Sample as the protocol says, with two exceptions.

        When a draw falls on the border of two tokens, to the last digits of float32, rounding decides and the image
        differs: a few images in ten thousand of 64 tokens. Against `sample_from(noise(seeds))`, about one image in
        100,000 differs for this reason, because the seeds' uniform numbers are used without rounding to normal ones.
        """
        return self._draw(seeded_uniforms(seeds, self.noise_shape), labels, sampling, None, None)

    def _draw(
        self,
        uniforms: Tensor,
        classes: Tensor | None,
        sampling: SamplingConfig,
        forced: Tensor | None,
        watch: Watch | None,
    ) -> Tensor:
        options = own_sampling(sampling, VqvaeSampling)
        check_classes(classes, self.shape, len(uniforms))
        device = next(self.network.parameters()).device
        classes = None if classes is None else classes.to(device)
        network = self.network

        def report(done: int, levels: Tensor) -> None:
            if watch is not None:
                watch(done, network.prior.length, lambda: to_uint8(network.images(levels)))

        levels = network.prior.draw(
            uniforms.to(device), classes, options.temperature, options.top_k, forced, None if watch is None else report
        )
        return to_uint8(network.images(levels))

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
        return self.images(self.prior.draw(uniforms, labels, temperature, top_k))

    def images(self, levels: Tensor) -> Tensor:
        """levels (B, tokens, channels of a token) int64 -> images (B, C, H, W)."""
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


def to_normal(uniforms: Tensor) -> Tensor:
    """Return uniform numbers in [0, 1) as standard normal ones of the same rank, float32 of the same shape."""
    normal: Tensor = torch.special.ndtri(uniforms.double().clamp(_SMALLEST_UNIFORM, 1 - _SMALLEST_UNIFORM))
    return normal.float()


def to_uniform(normal: Tensor) -> Tensor:
    """Return standard normal numbers as uniform ones in [0, 1), float64 of the same shape: the inverse of to_normal."""
    uniforms: Tensor = torch.special.ndtr(normal.double())
    return uniforms.clamp(max=1 - _SMALLEST_UNIFORM)


def perplexity(tokens: Tensor) -> Tensor:
    """exp of the entropy of tokens (...) int64, a scalar: the effective number of equally frequent tokens.

    Each token's frequency is looked up among the sorted tokens: with a count per value, the CPU would have to wait for
    the GPU to return the number of values.
    """
    ordered = tokens.flatten().sort().values
    counts = torch.searchsorted(ordered, ordered, right=True) - torch.searchsorted(ordered, ordered)
    result: Tensor = (counts / len(ordered)).log().mean().neg().exp()
    return result
