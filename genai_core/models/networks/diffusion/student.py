"""A few-step model, the student: its recipe, and how it draws from noise and from start images."""

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from genai_core.config import (
    DiffusionRecipe,
    DiffusionSampling,
    DistilledRecipe,
    FewStep,
    GroupedDistilledRecipe,
    GroupedRecipe,
)
from genai_core.models.editing import Generate, Start, noise_of_start
from genai_core.models.networks.diffusion.ode import Denoise, few_step
from genai_core.models.protocol import Lesson, own_sampling

# Noise levels over sigma_data. The first is far below that of the teacher's first step: from pure noise, its estimate
# hardly depends on the noise, so the weights would have to learn first to look at it. (Zhou et al. 2024, arXiv
# 2404.04057, begin at 5 times sigma_data too.)
_LEVELS = {1: (5.0,), 2: (5.0, 0.9), 4: (5.0, 2.0, 0.9, 0.4)}


def student_recipe(teacher: DiffusionRecipe, lesson: Lesson) -> DistilledRecipe:
    """Return the recipe of a student. teacher: the teacher's, with the training section of the distillation."""
    few_step = FewStep(
        teacher=lesson.weights,
        steps=lesson.steps,
        noise_levels=student_levels(lesson.steps, teacher.objective.sigma_data),
        teacher_sampling=own_sampling(lesson.sampling, DiffusionSampling),
    )
    # As for a GAN: an average of earlier gradients, or a limit of their norm, would slow each side's answers.
    betas = (0.0, teacher.training.adam_betas[1])
    own_training = {"muon": False, "adam_betas": betas, "gradient_clip_norm": None}
    training = teacher.training.model_copy(update=own_training)
    is_grouped = isinstance(teacher, GroupedRecipe)
    base, recipe = (GroupedRecipe, GroupedDistilledRecipe) if is_grouped else (DiffusionRecipe, DistilledRecipe)
    own = {name: getattr(teacher, name) for name in base.model_fields}
    return recipe(**{**own, "training": training}, few_step=few_step)


def student_levels(steps: int, sigma_data: float) -> tuple[float, ...]:
    """Return the noise levels of a student's evaluations, largest first."""
    return tuple(sigma_data * level for level in _LEVELS[steps])


def images_of_noise(denoise: Denoise, levels: Sequence[float], shape: tuple[int, ...]) -> Generate:
    """Return what a student draws as a function of noise, (N, *shape) or (N, their product)."""

    def generate(noise: Tensor) -> Tensor:
        noise = noise.reshape(-1, *shape)
        return few_step(denoise, noise * levels[0], noise, levels)

    return generate


def first_noise(generate: Generate, noise: Tensor, start: Start | None) -> Tensor:
    """Return the noise (N, C, H, W) with which a student begins: `noise` itself without start images.

    Raises as noise_of_start.
    """
    if start is None or start.noise is None:
        return noise_of_start(generate, noise, start)
    flat = replace(start, noise=start.noise.flatten(1))
    return noise_of_start(generate, noise.flatten(1), flat).reshape(noise.shape)
