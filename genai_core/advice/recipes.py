"""The settings of each model family for a network, a shape and a number of training images."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from genai_core.advice.facts import DataFacts
from genai_core.advice.networks import Candidate, mean_side
from genai_core.advice.settings import Setting, round_number
from genai_core.advice.shape import FEW_IMAGES, channels_of, held_out_share
from genai_core.image_size import ImageSize

# (images, batch size up to there). On a processor, smaller batches cost little speed, and short runs need the steps. Of
# 89,000 images of photographs, 36 x 28, the diffusion model learned to remove noise better with batches of 16 than of
# 32, and of 32 than of 64 (errors 0.124, 0.129 and 0.136 at noise level 0.4), and its samples were smoother.
BATCHES = ((150_000, 16), (600_000, 32))
LARGEST_BATCH = 64
# Several threads need larger batches: of 32 x 32 pixels, two trained batches of 16 at 1.3 times the speed of one, and
# batches of 32 at 1.6 times (and at 1.9 times that of one thread with batches of 16).
BATCH_PER_THREAD = 16


@dataclass(frozen=True)
class Recipe:
    """What the settings of a model are made from.

    total_images: seen in training. gpu: whether it trains on one. threads: of the training, without a GPU.
    """

    network: Candidate
    image_size: ImageSize
    total_images: int
    data: DataFacts
    gpu: bool
    threads: int

    @property
    def train_images(self) -> int:
        return self.data.split(held_out_share(self.data))[0]

    @property
    def batch_images(self) -> int:
        if self.gpu:
            return 256 if mean_side(self.image_size) <= 64 else 128
        by_images = next((batch for images, batch in BATCHES if self.total_images < images), LARGEST_BATCH)
        return max(by_images, min(LARGEST_BATCH, BATCH_PER_THREAD * self.threads))


def model_settings(recipe: Recipe, minutes: float) -> Iterator[Setting]:
    """Yield the settings of one model, without the prefix models.NAME."""
    network, total = recipe.network, recipe.total_images
    yield Setting("network.width", network.width, f"the largest that sees enough images in {minutes:g} minutes")
    yield Setting("network.depth", network.depth)
    seen = total / max(1, recipe.train_images)
    yield Setting("training.total_images", total, f"{network.family}'s share of the time; each image {seen:,.0f} times")
    yield Setting("training.warmup_images", round_number(max(500, min(total // 15, 200_000))))
    yield Setting(
        "training.ema_halflife_images",
        round_number(max(2 * recipe.batch_images, total // 20)),
        "a twentieth of the run",
    )
    yield from _FAMILIES[network.family](recipe)


def _diffusion(recipe: Recipe) -> Iterator[Setting]:
    data, size, network = recipe.data, recipe.image_size, recipe.network
    side = mean_side(size)
    yield Setting("objective.sigma_data", round(data.pixel_std, 2), "measured: the deviation of these images' pixels")
    large = side > 24
    yield Setting("objective.log_sigma_mean", -0.8 if large else -0.4, f"for {size}")
    yield Setting("objective.log_sigma_std", 1.2 if large else 1.0)
    if recipe.train_images < FEW_IMAGES:
        told = "few images: the network is told, so that it does not draw these"
        yield Setting("objective.augment", ["translation", "scale"], told)
        yield Setting("objective.augment_share", 0.12)
    batch = min(1.0, recipe.batch_images / 64) ** 0.5
    rate = 3e-3 * (48 / network.width) / network.depth**0.5 * batch
    smaller = "the wider the network and the smaller the batch, the smaller"
    yield Setting("training.learning_rate", _rounded(min(4e-3, max(4e-4, rate))), smaller)
    yield Setting("training.batch_images", recipe.batch_images)
    yield Setting("training.decay_share", 0.6)
    yield Setting("sampling.sampler", "multistep", "one network call per step")
    yield Setting("sampling.steps", 14 if recipe.gpu or side > 32 else 12, "noise levels, spaced between the two below")
    yield Setting("sampling.sigma_min", 0.02 if large else 0.04)
    highest = round(min(160.0, max(20.0, 10 * side * data.mean_spread)))
    yield Setting("sampling.sigma_max", float(highest), "noise that hides how bright an image is on the whole")
    if len(data.classes) > 1:
        yield Setting("sampling.guidance_scale", 1.5, "images that fit their class better, with less variety")
        yield Setting("sampling.guidance_interval", [0.2, 5.0])
    else:
        yield Setting("sampling.guidance_scale", 1.0, "there are no classes to choose between")


def _gan(recipe: Recipe) -> Iterator[Setting]:
    side = mean_side(recipe.image_size)
    yield Setting("network.latent_dim", recipe.network.latent_dim)
    yield Setting("objective.r1_gamma", 1.0 if side <= 64 else 4.0, "more pixels need more")
    yield Setting("objective.penalty_share", 0.5)
    yield Setting("objective.discriminator_rate_factor", 1.0)
    if recipe.train_images < 20_000:
        yield Setting("objective.augment_policy", ["translation", "cutout"], "few images")
    yield Setting("training.learning_rate", _rounded(1e-3 * (32 / recipe.network.width) ** 0.5))
    yield Setting("training.batch_images", 128 if recipe.gpu else 32)
    yield Setting("training.precision", "auto")


def _vae(recipe: Recipe) -> Iterator[Setting]:
    yield Setting("network.latent_dim", recipe.network.latent_dim)
    yield Setting("network.flow_layers", 8)
    yield Setting("objective.kl_warmup_images", round_number(recipe.total_images / 4))
    yield Setting("training.learning_rate", 2e-3 if recipe.network.width <= 32 else 1e-3)
    yield Setting("training.batch_images", 128 if recipe.gpu else 64)


def _vqvae(recipe: Recipe) -> Iterator[Setting]:
    size, network = recipe.image_size, recipe.network
    # At most 144 tokens, and a stride that divides both sides; every side is a multiple of 4.
    fitting = (stride for stride in (4, 8, 16) if not any(side % stride for side in size))
    stride = next((stride for stride in fitting if size.pixels // stride**2 <= 144), 4)
    yield Setting("network.stride", stride, f"{size.pixels // stride**2} tokens an image")
    rich = channels_of(recipe.data) == 3 or mean_side(size) > 16
    yield Setting("network.levels", [8, 8, 8, 5, 5, 5] if rich else [4, 4, 4], "levels of a token")
    yield Setting("network.prior_width", network.prior_width)
    yield Setting("network.prior_depth", network.prior_depth)
    yield Setting("objective.tokenizer_share", 0.35)
    yield Setting("objective.prior_rate_factor", 0.5)
    yield Setting("training.learning_rate", 2e-3 if network.width <= 32 else 1e-3)
    yield Setting("training.batch_images", 128 if recipe.gpu else 64)
    yield Setting("sampling.temperature", 0.95)


_FAMILIES: dict[str, Callable[[Recipe], Iterator[Setting]]] = {
    "diffusion": _diffusion,
    "gan": _gan,
    "vae": _vae,
    "vqvae": _vqvae,
}


def _rounded(rate: float) -> float:
    return float(f"{rate:.1e}")
