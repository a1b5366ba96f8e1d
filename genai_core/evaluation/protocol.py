"""Under which conditions a figure was measured; figures of different protocols do not compare. No import of torch."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Protocol:
    """All that decides a figure, but for the model and how it was sampled."""

    extractor: str  # kind
    extractor_sha256: str
    extractor_test_accuracy: float
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

    def to_json(self) -> dict[str, Any]:
        """The block "protocol" of a metrics file."""
        return asdict(self)


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
        if a.get(name) != b.get(name):
            yield f"{name} {a.get(name)} and {b.get(name)}"
