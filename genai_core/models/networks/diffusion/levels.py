"""Noise levels at which a diffusion model is evaluated."""

from collections.abc import Sequence

from genai_core.config import DiffusionSampling, FewStep

_RHO = 7.0  # exponent of the sampler's noise levels (Karras et al. 2022, table 1)


def noise_levels(steps: int, sigma_min: float, sigma_max: float) -> list[float]:
    """Return the sampler's noise levels: `steps` from sigma_max to sigma_min, then 0 (Karras et al. 2022, eq. 5)."""
    top, bottom = sigma_max ** (1 / _RHO), sigma_min ** (1 / _RHO)
    shares = [step / max(steps - 1, 1) for step in range(steps)]
    return [(top + share * (bottom - top)) ** _RHO for share in shares] + [0.0]


def sampling_levels(sampling: DiffusionSampling) -> list[float]:
    """Return the noise levels of these options, largest first, ending with 0."""
    if sampling.noise_levels is not None:
        return [*sampling.noise_levels, 0.0]
    return noise_levels(sampling.steps, sampling.sigma_min, sampling.sigma_max)


def few_step_levels(distilled: FewStep, steps: int) -> list[float]:
    """Return the levels of `steps` network evaluations, largest first, ending with 0; of 4, 2 use the first and third.

    Raises ValueError for more steps than the model was trained for.
    """
    if steps > distilled.steps:
        raise ValueError(
            f"sampling.steps: got {steps}; allowed: at most {distilled.steps}, for which this model was trained "
            "(finetune.few_step.steps)"
        )
    return [*distilled.noise_levels[:: distilled.steps // steps], 0.0]


def levels_from(levels: Sequence[float], strength: float, sigma_min: float) -> list[float]:
    """Return the last `strength` (0 to 1) of the way along `levels`, at least from sigma_min; 1 gives all of them.

    Between two levels, the first one is interpolated as noise_levels spaces them.
    """
    place = (1.0 - strength) * (len(levels) - 1)
    index = min(int(place), len(levels) - 2)
    if place == index:
        return [*levels[index:]]
    higher, lower = levels[index] ** (1 / _RHO), levels[index + 1] ** (1 / _RHO)
    first = max((higher + (place - index) * (lower - higher)) ** _RHO, min(sigma_min, levels[index]))
    return [first, *(level for level in levels[index + 1 :] if level < first)]


def evaluations(sampler: str, levels: Sequence[float]) -> int:
    """Return how often a sampler evaluates the denoiser at these levels, the last of which is 0."""
    steps = len(levels) - 1
    return 2 * steps - 1 if sampler == "heun" else steps
