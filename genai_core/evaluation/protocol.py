"""Measuring conditions of a figure; figures with different protocols are not comparable. Does not import torch."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

from genai_core.image_size import ImageSize

LIBRARIES = ("torch", "numpy", "torch-fidelity", "pillow")
# Not compared: library versions change only the last digits of a figure.
RECORDED_ONLY = ("libraries",)


@dataclass(frozen=True)
class Protocol:
    """Everything that determines a figure, except the model and how it was sampled."""

    extractor: str  # kind
    extractor_sha256: str
    extractor_source_sha256: str  # of an external weights file; empty if trained here
    extractor_test_accuracy: float | None
    precision: str
    resize: str
    feature_dim: int
    image_size: ImageSize
    channels: int
    dataset: str  # fingerprint
    reference_split: str
    reference_images: int
    test_images: int
    floor_images: int  # held-out real images used for the floor
    generated_images: int
    requested_labels: tuple[int, ...]  # generated images of each class; empty without labels
    seed: int  # image i uses seed + i
    is_splits: int
    precision_neighbours: int
    density_neighbours: int
    pairwise_images: int  # maximum images per set for figures over all pairs
    fd_inf_points: int
    near_copy_percentile: float
    near_copy_distance: float
    near_identical_distance: float
    bootstrap_resamples: int
    confidence: float
    libraries: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """Return the block "protocol" of a metrics file."""
        return {**asdict(self), "image_size": self.image_size.to_json()}


def library_versions() -> dict[str, str]:
    """Return the versions of the libraries that computed the figures."""
    return {name: version(name) for name in LIBRARIES}


def comparable(a: Mapping[str, Any], b: Mapping[str, Any]) -> None:
    """Raise ValueError, naming each difference, when two parsed metrics files have different protocols."""
    differences = list(_differences(a.get("protocol"), b.get("protocol")))
    if differences:
        raise ValueError(
            f"figures with different protocols cannot be compared: {'; '.join(differences)}; measure both again"
        )


def _differences(a: Any, b: Any) -> Iterator[str]:
    if not isinstance(a, Mapping) or not isinstance(b, Mapping):
        yield "a metrics file without a protocol"
        return
    for name in [*a, *(name for name in b if name not in a)]:
        if name not in RECORDED_ONLY and a.get(name) != b.get(name):
            yield f"{name} {a.get(name)} and {b.get(name)}"
