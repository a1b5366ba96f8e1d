"""From images to checked features, what all metrics share, and the sets of features that pairwise figures keep."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchmetrics import Metric

FeatureExtractor = Callable[[Tensor], Tensor]


@torch.no_grad()
def checked_features(extractor: FeatureExtractor, images: Tensor, feature_dim: int | None = None) -> Tensor:
    """Features (N, D) float64 of images (N, C, H, W) uint8.

    Raises TypeError or ValueError when the images are no uint8 (N, C, H, W), or the features are not (N, D) or finite.
    """
    if images.dtype != torch.uint8:
        raise TypeError(
            f"expected uint8 images from 0 to 255, got {images.dtype}; convert them, for values from 0 to 1 by "
            "(x * 255).round().to(torch.uint8)"
        )
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ValueError(f"expected images (N, C, H, W) with C 1 or 3, got shape {tuple(images.shape)}")
    features = extractor(images)
    if features.ndim != 2 or len(features) != len(images) or feature_dim not in (None, features.shape[1]):
        raise ValueError(
            f"expected features ({len(images)}, {feature_dim or 'D'}) of the extractor, got {tuple(features.shape)}"
        )
    if not torch.isfinite(features).all():
        raise ValueError("the extractor gave features that are not finite")
    return features.double()


class SetMetric(Metric):
    """A figure of whole sets of images, in the features of `extractor`: it is updated, and computed at the end."""

    is_differentiable = False
    full_state_update = False

    def __init__(self, extractor: FeatureExtractor, **kwargs: Any) -> None:
        # torchmetrics keeps a result over merge_state() and load_state_dict().
        super().__init__(**{"compute_with_cache": False, **kwargs})
        self.extractor = extractor

    def forward(self, *_args: Any, **_kwargs: Any) -> Any:
        """Raises RuntimeError: torchmetrics would compute the figure of the batch alone, which has none."""
        raise RuntimeError(
            f"{type(self).__name__} is a figure of whole sets of images; call update() with each batch, then compute()"
        )

    def numbers(self, *values: float) -> list[Tensor]:
        """Each value as a float64 tensor where the state is."""
        return [torch.tensor(float(value), dtype=torch.float64, device=self.device) for value in values]

    def _apply(self, fn: Callable[[Tensor], Tensor], exclude_state: Any = ()) -> "SetMetric":
        """Move the state with the module, but keep its type: `.to(torch.float16)` of a model would round the sums."""
        super()._apply(fn, exclude_state=[*self._defaults, *exclude_state])
        for name in self._defaults.keys() - set(exclude_state):
            setattr(self, name, _moved(getattr(self, name), self.device))
            self._defaults[name] = _moved(self._defaults[name], self.device)
        return self


def _moved(state: Any, device: torch.device) -> Any:
    return state.to(device) if isinstance(state, Tensor) else [part.to(device) for part in state]


class FeatureSets(SetMetric):
    """Keeps the features of real and of other images, as they came, up to `max_images` of each in each process.

    Memory is at most 2 * max_images * D numbers of 4 bytes a process; further images are left out, with a warning.
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
        """images: (N, C, H, W) uint8 of the real set, or of the other one."""
        kept = self.real_features if real else self.other_features
        room = self.max_images - sum(len(part) for part in kept)
        if room < len(images):
            warnings.warn(
                f"{type(self).__name__} keeps {self.max_images} images of a set, further ones are left out",
                stacklevel=2,
            )
        if room > 0:
            kept.append(checked_features(self.extractor, images[:room]).float())

    def sets(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """(real, other), each (N, D). Raises RuntimeError when one is empty."""
        found = []
        for name, parts in (("real", self.real_features), ("other", self.other_features)):
            # After a sync the list is one tensor.
            tensors = [parts] if isinstance(parts, Tensor) else parts
            if not sum(len(part) for part in tensors):
                raise RuntimeError(f"no {name} images yet: call update(images, real={name == 'real'}) first")
            found.append(torch.cat(tensors).cpu().numpy())
        return found[0], found[1]
