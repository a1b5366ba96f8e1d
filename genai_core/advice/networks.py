"""Networks to choose from, and which of them a machine trains well enough in a given time."""

from dataclasses import dataclass

from genai_core.advice.facts import MachineFacts, Speed
from genai_core.image_size import ImageSize

EXTRACTOR = "extractor"
_REFERENCE = ImageSize.square(32)
_WIDER_FROM = (64, 128)  # from these sides, the smallest network of each family is left out, then the next


@dataclass(frozen=True)
class Candidate:
    """A network. least_images: training images that it must see at 32 x 32 to be worth its size.

    latent_dim: of a GAN or VAE. prior_width, prior_depth: of a VQ-VAE's transformer.
    """

    family: str
    width: int
    depth: int
    least_images: int
    latent_dim: int = 0
    prior_width: int = 0
    prior_depth: int = 0


# From small to large. The small ones: recipes of benchmarks/fashion_mnist.yaml and of the digits, which were measured
# after that many images. The large ones: presets/cifar10.yaml and photos-64.yaml.
CANDIDATES: dict[str, tuple[Candidate, ...]] = {
    "diffusion": (
        Candidate("diffusion", 32, 1, 40_000),
        Candidate("diffusion", 48, 1, 80_000),
        Candidate("diffusion", 64, 1, 250_000),
        Candidate("diffusion", 96, 2, 2_000_000),
        Candidate("diffusion", 96, 3, 10_000_000),
    ),
    "vqvae": (
        Candidate("vqvae", 16, 1, 30_000, prior_width=64, prior_depth=4),
        Candidate("vqvae", 32, 1, 60_000, prior_width=128, prior_depth=3),
        Candidate("vqvae", 64, 1, 400_000, prior_width=256, prior_depth=6),
        Candidate("vqvae", 64, 2, 4_000_000, prior_width=384, prior_depth=8),
    ),
    "vae": (
        Candidate("vae", 24, 1, 20_000, latent_dim=32),
        Candidate("vae", 32, 1, 60_000, latent_dim=64),
        Candidate("vae", 64, 2, 2_000_000, latent_dim=128),
    ),
    "gan": (
        Candidate("gan", 24, 1, 40_000, latent_dim=32),
        Candidate("gan", 32, 1, 80_000, latent_dim=32),
        Candidate("gan", 64, 2, 2_000_000, latent_dim=64),
        Candidate("gan", 96, 2, 10_000_000, latent_dim=64),
    ),
    EXTRACTOR: (Candidate(EXTRACTOR, 32, 1, 20_000), Candidate(EXTRACTOR, 64, 1, 1_000_000)),
}
# Images per second of the smallest candidate at 32 x 32 in colour, on one core and on a data centre's GPU, in training
# and in sampling. Only for what was not measured on this machine.
_TYPICAL = {
    "diffusion": (250.0, 60.0),
    "vqvae": (600.0, 150.0),
    "vae": (500.0, 2_000.0),
    "gan": (200.0, 3_000.0),
    EXTRACTOR: (900.0, 2_500.0),
}
_GPU_FACTOR = 40.0


def mean_side(size: ImageSize) -> float:
    """Return the side of a square with as many pixels."""
    return float(size.pixels**0.5)


def speed_of(candidate: Candidate, image_size: ImageSize, channels: int, machine: MachineFacts) -> Speed:
    """Return the measured speed of a network, or the speed scaled from the most similar one of its family."""
    own = [speed for speed in machine.speeds if speed.family == candidate.family]
    wanted = _work(candidate.width, candidate.depth, image_size)
    if own:
        near = min(own, key=lambda speed: _distance(_work(speed.width, speed.depth, speed.image_size), wanted))
        factor = _work(near.width, near.depth, near.image_size) / wanted
    else:
        smallest = CANDIDATES[candidate.family][0]
        rates = _TYPICAL[candidate.family]
        near = Speed(candidate.family, smallest.width, smallest.depth, _REFERENCE, 3, *rates)
        factor = _work(smallest.width, smallest.depth, _REFERENCE) / wanted
        factor *= _GPU_FACTOR if machine.gpus else 1.0
    return Speed(
        candidate.family,
        candidate.width,
        candidate.depth,
        image_size,
        channels,
        near.images_per_s * factor,
        near.samples_per_s * factor,
    )


def is_measured(candidate: Candidate, image_size: ImageSize, channels: int, machine: MachineFacts) -> bool:
    """Whether the speed of this very network at this shape was measured."""
    wanted = (candidate.family, candidate.width, candidate.depth, image_size, channels)
    return any((s.family, s.width, s.depth, s.image_size, s.channels) == wanted for s in machine.speeds)


def least_images(candidate: Candidate, image_size: ImageSize) -> float:
    """Return the training images that a network must see at this size: larger images have more to learn."""
    return candidate.least_images * max(1.0, mean_side(image_size) / _REFERENCE.height)


def smallest_for(family: str, image_size: ImageSize) -> Candidate:
    """Return the smallest network that draws images of this size: larger images need wider ones."""
    candidates = CANDIDATES[family]
    return candidates[min(len(candidates) - 1, sum(mean_side(image_size) >= side for side in _WIDER_FROM))]


def network_for(family: str, image_size: ImageSize, channels: int, seconds: float, machine: MachineFacts) -> Candidate:
    """Return the largest network that sees enough images in these seconds of training, else the smallest."""
    chosen = smallest_for(family, image_size)
    for candidate in CANDIDATES[family]:
        if candidate.width < chosen.width:
            continue
        speed = speed_of(candidate, image_size, channels, machine)
        if speed.images_per_s * seconds >= least_images(candidate, image_size):
            chosen = candidate
    return chosen


def _work(width: int, depth: int, image_size: ImageSize) -> float:
    """Relative work per image: on a CPU, wider layers are more efficient, so it grows less than with width squared."""
    return float(image_size.pixels * width**1.5 * (0.5 + depth))


def _distance(a: float, b: float) -> float:
    return max(a / b, b / a)
