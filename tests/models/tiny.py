"""Recipes of networks as small as they can be."""

from genai_core.config import DiffusionRecipe, GanRecipe, TrainingConfig, VaeRecipe, VqvaeRecipe
from genai_core.image_size import ImageSize
from genai_core.models.protocol import ImageShape

SHAPE = ImageShape(image_size=ImageSize.square(8), channels=1, classes=("a", "b", "c"))


def training_config(**changes):
    values = {
        "total_images": 64,
        "max_seconds": None,
        "batch_images": 8,
        "micro_batch_images": None,
        "learning_rate": 1e-3,
        "warmup_images": 16,
        "decay_share": 0.5,
        "muon": False,
        "adam_betas": (0.5, 0.99),
        "weight_decay": 0.0,
        "ema_halflife_images": 16,
        "gradient_clip_norm": 1.0,
        "precision": "fp32",
        "watch": {"max_rollbacks": 0, "rollback_rate_factor": 0.5},
        "early_stop": None,
        "seed": 0,
    }
    return TrainingConfig(**{**values, **changes})


def diffusion_recipe(training=None, **objective):
    values = {
        "kind": "edm",
        "sigma_data": 0.5,
        "log_sigma_mean": -0.4,
        "log_sigma_std": 1.0,
        "label_dropout": 0.1,
        "augment": ("flip", "translation"),
        "augment_share": 0.0,
    }
    return DiffusionRecipe(
        family="diffusion",
        network={"width": 8, "depth": 1},
        objective={**values, **objective},
        training=training or training_config(),
    )


def gan_recipe(training=None, **objective):
    values = {
        "r1_gamma": 0.5,
        "penalty_share": 0.5,
        "discriminator_rate_factor": 2.0,
        "augment_policy": ("translation",),
        "ada_target": None,
        "ada_images": 1000,
    }
    return GanRecipe(
        family="gan",
        network={"width": 8, "depth": 1, "latent_dim": 4},
        objective={**values, **objective},
        training=training or training_config(),
    )


def vae_recipe(training=None, **objective):
    return VaeRecipe(
        family="vae",
        network={"width": 8, "depth": 1, "latent_dim": 6, "flow_layers": 2},
        objective={"kl_warmup_images": 0, **objective},
        training=training or training_config(),
    )


def vqvae_recipe(training=None, **objective):
    return VqvaeRecipe(
        family="vqvae",
        network={"width": 8, "depth": 1, "stride": 4, "levels": (4, 3), "prior_width": 32, "prior_depth": 1},
        objective={"tokenizer_share": 0.5, "prior_rate_factor": 1.0, **objective},
        training=training or training_config(),
    )


RECIPES = {"diffusion": diffusion_recipe, "gan": gan_recipe, "vae": vae_recipe, "vqvae": vqvae_recipe}
