"""Parts shared by all metrics: one extractor pass, checked features, and feature sets for pairwise figures."""

import warnings
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from genai_core.evaluation.feature_network import ExtractorOutput
from genai_core.evaluation.features import float32_convolutions

# A FeatureNetwork, the first value of load_extractor, or any callable that returns what the metric needs.
FeatureExtractor = Callable[[Tensor], Tensor | ExtractorOutput]


class SharedExtractor(nn.Module):
    """Runs `extractor` once per batch for all metrics that get it.

        network, description = load_extractor("models/extractor")
        shared = SharedExtractor(network)
        metrics = MetricCollection([FrechetDistance(shared, description.feature_dim), PrecisionRecall(shared)])
        metrics.update(images, real=True)

    The last output is kept as long as the metrics get the same, unchanged tensor.
    """

    def __init__(self, extractor: FeatureExtractor) -> None:
        super().__init__()
        self.extractor = extractor
        self._last: tuple[Tensor, int, Tensor | ExtractorOutput] | None = None

    def forward(self, images: Tensor) -> Tensor | ExtractorOutput:
        """images: (N, C, H, W) uint8, as the extractor takes them."""
        if images.is_inference():  # no version counter: a change could not be noticed
            return self.extractor(images)
        if self._last is None or self._last[0] is not images or self._last[1] != images._version:
            self._last = images, images._version, self.extractor(images)
        return self._last[2]


@torch.no_grad()
def checked_features(
    extractor: FeatureExtractor,
    images: Tensor,
    feature_dim: int | None = None,
    output: Literal["features", "logits"] = "features",
) -> Tensor:
    """Return features (N, D) float64 of images (N, C, H, W) uint8. output: which one of an ExtractorOutput.

    Raises TypeError or ValueError when the images are not uint8 (N, C, H, W), or the features are not (N, D) or finite.
    """
    if images.dtype != torch.uint8:
        raise TypeError(
            f"expected uint8 images from 0 to 255, got {images.dtype}; convert values from 0 to 1 by "
            "(x * 255).round().to(torch.uint8)"
        )
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ValueError(f"expected images (N, C, H, W) with C 1 or 3, got shape {tuple(images.shape)}")
    with float32_convolutions():
        found = extractor(images)
    features = found if isinstance(found, Tensor) else getattr(found, output)
    if features.ndim != 2 or len(features) != len(images) or feature_dim not in (None, features.shape[1]):
        raise ValueError(
            f"expected {output} ({len(images)}, {feature_dim or 'D'}) from the extractor, got {tuple(features.shape)}"
        )
    if not torch.isfinite(features).all():
        raise ValueError(f"the extractor returned non-finite {output}")
    return features.double()


class SetMetric(Metric):
    """A figure of whole sets of images, in the features of `extractor`: call update, then compute at the end.

    An extractor that is a module is put into evaluation mode and stays in it, whatever the model around it does.
    """

    is_differentiable = False
    full_state_update = False

    def __init__(self, extractor: FeatureExtractor, **kwargs: Any) -> None:
        # torchmetrics would keep a cached result across merge_state() and load_state_dict().
        super().__init__(**{"compute_with_cache": False, **kwargs})
        self.extractor = extractor
        self.train(self.training)

    def train(self, mode: bool = True) -> "SetMetric":
        super().train(mode)
        if isinstance(self.extractor, nn.Module):
            self.extractor.eval()
        return self

    def forward(self, *_args: Any, **_kwargs: Any) -> Any:
        """Raise RuntimeError: torchmetrics would compute the figure of one batch, which is meaningless."""
        raise RuntimeError(
            f"{type(self).__name__} is a figure of whole sets of images; call update() with each batch, then compute()"
        )

    def numbers(self, *values: float) -> list[Tensor]:
        """Return each value as a float64 tensor on the state's device."""
        return [torch.tensor(float(value), dtype=torch.float64, device=self.device) for value in values]

    def _apply(self, fn: Callable[[Tensor], Tensor], exclude_state: Any = ()) -> "SetMetric":
        """Move the state with the module, but keep its dtype: a model's `.to(torch.float16)` would round the sums."""
        super()._apply(fn, exclude_state=[*self._defaults, *exclude_state])
        for name in self._defaults.keys() - set(exclude_state):
            setattr(self, name, _moved(getattr(self, name), self.device))
            self._defaults[name] = _moved(self._defaults[name], self.device)
        return self


def _moved(state: Any, device: torch.device) -> Any:
    return state.to(device) if isinstance(state, Tensor) else [part.to(device) for part in state]


class FeatureSets(SetMetric):
    """Stores the features of real and of other images, up to `max_images` of each per process.

    Memory per process: at most 2 * max_images * D values of 4 bytes. Further images are skipped, with a warning.
    """

    higher_is_better: bool | None = None

    real_features: list[Tensor]
    other_features: list[Tensor]

    def __init__(self, extractor: FeatureExtractor, max_images: int = 50_000, **kwargs: Any) -> None:
        super().__init__(extractor, **kwargs)
        self.max_images = max_images
        self.add_state("real_features", [], dist_reduce_fx="cat")
        self.add_state("other_features", [], dist_reduce_fx="cat")

    def update(self, images: Tensor, real: bool) -> None:
        """Add images (N, C, H, W) uint8 to the real set, or to the other one."""
        kept = self.real_features if real else self.other_features
        room = self.max_images - sum(len(part) for part in kept)
        if room < len(images):
            warnings.warn(
                f"{type(self).__name__} stores {self.max_images} images per set; further images are skipped",
                stacklevel=2,
            )
        if room > 0:
            fitting = images if room >= len(images) else images[:room]  # the same tensor: its features may be known
            kept.append(checked_features(self.extractor, fitting).float())

    def sets(self) -> tuple[Tensor, Tensor]:
        """Return (real, other), each (N, D) on the metric's device. Raises RuntimeError when one is empty."""
        found = []
        for name, parts in (("real", self.real_features), ("other", self.other_features)):
            # After a sync the list is one tensor.
            tensors = [parts] if isinstance(parts, Tensor) else parts
            if not sum(len(part) for part in tensors):
                raise RuntimeError(f"no {name} images yet: call update(images, real={name == 'real'}) first")
            found.append(torch.cat(tensors))
        return found[0], found[1]
