"""Under which conditions a figure was measured; figures of different protocols do not compare. No import of torch."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

LIBRARIES = ("torch", "numpy", "torch-fidelity", "pillow")
# They move figures in the last digits only: stated, but no reason to refuse a comparison.
STATED_ONLY = ("libraries",)


@dataclass(frozen=True)
class Protocol:
    """All that decides a figure, but for the model and how it was sampled."""

    extractor: str  # kind
    extractor_sha256: str
    extractor_source_sha256: str  # of the weights' file that was given; empty for one that was trained here
    extractor_test_accuracy: float | None
    precision: str
    resize: str
    feature_dim: int
    image_size: int
    channels: int
    dataset: str  # fingerprint
    reference_split: str
    reference_images: int
    test_images: int
    floor_images: int  # held-out real images that the floor was measured on
    generated_images: int
    seed: int  # image i is drawn from seed + i
    is_splits: int
    precision_neighbours: int
    density_neighbours: int
    pairwise_images: int  # of each set, at most, for figures of all pairs
    fd_inf_points: int
    near_copy_percentile: float
    near_copy_distance: float
    near_identical_distance: float
    bootstrap_resamples: int
    confidence: float
    libraries: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """The block "protocol" of a metrics file."""
        return asdict(self)


def library_versions() -> dict[str, str]:
    """Of the libraries that computed the figures."""
    return {name: version(name) for name in LIBRARIES}


def comparable(a: Mapping[str, Any], b: Mapping[str, Any]) -> None:
    """Raises ValueError, naming each difference, when two metrics files (parsed) have different protocols."""
    differences = list(_differences(a.get("protocol"), b.get("protocol")))
    if differences:
        raise ValueError(
            f"figures of different protocols cannot be compared: {'; '.join(differences)}; measure both again"
        )


def _differences(a: Any, b: Any) -> Iterator[str]:
    if not isinstance(a, Mapping) or not isinstance(b, Mapping):
        yield "a metrics file without a protocol"
        return
    for name in [*a, *(name for name in b if name not in a)]:
        if name not in STATED_ONLY and a.get(name) != b.get(name):
            yield f"{name} {a.get(name)} and {b.get(name)}"
