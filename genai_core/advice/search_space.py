"""Ranges for `genai search` around a proposal: the keys of a model that most often deserve another value."""

from collections.abc import Mapping
from typing import Any

from genai_core.advice.settings import Setting

_RATE_FACTOR = 4.0  # on both sides of the proposed learning rate
# Ranges that do not depend on the proposal, by family.
_FIXED: dict[str, dict[str, dict[str, Any]]] = {
    "diffusion": {"objective.log_sigma_mean": {"low": -1.6, "high": 0.2}},
    "gan": {"objective.r1_gamma": {"low": 0.01, "high": 10.0, "log": True}},
    "vae": {"sampling.temperature": {"low": 0.5, "high": 1.2}},
    "vqvae": {"sampling.temperature": {"low": 0.5, "high": 1.2}},
}
_GUIDANCE = {"low": 1.0, "high": 3.0}


def search_setting(values: Mapping[str, Any], model: str) -> Setting:
    """Return `search.space` for one model of a proposal, which lies in it. values: a complete params.yaml."""
    own = values["models"][model]
    rate = own["training"]["learning_rate"]
    space = {
        "training.learning_rate": {
            "low": _rounded(rate / _RATE_FACTOR),
            "high": _rounded(min(1.0, rate * _RATE_FACTOR)),
            "log": True,
        },
        **_FIXED[own["family"]],
    }
    if own["family"] == "diffusion" and own["sampling"]["guidance_scale"] > 1.0:
        space["sampling.guidance_scale"] = _GUIDANCE
    named = {f"models.{model}.{key}": given for key, given in space.items()}
    return Setting("search.space", named, f"around the proposal for {model}; genai search tries them")


def _rounded(value: float) -> float:
    return float(f"{value:.2g}")
