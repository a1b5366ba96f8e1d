"""What is known before a first run: facts about the data and about the machine, and their form as JSON."""

from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from genai_core import GenaiError
from genai_core.image_size import ImageSize

Facts = TypeVar("Facts", bound="DataFacts | MachineFacts")


class AdviceError(GenaiError, ValueError):
    """No run can be proposed; the message says why and what to do."""


@dataclass(frozen=True)
class DataFacts:
    """The images of data/raw. Counts are of all of them; everything about pixels is from a decoded sample.

    classes: images per class; empty without classes. given: images per split that their source states. modes: files of
    the sample by Pillow's mode. aspect_ratio: the commonest width / height, of aspect_share of the sample.
    background: white, or black where too many images are hardly seen on white. pixel_std: of all pixels in -1..1.
    mean_spread: standard deviation of the images' means in -1..1. mirrored_accuracy: how often a classifier tells an
    image from its mirror image (0.5: never); None: too few images to say. decode_s: seconds per image and core.
    unreadable: files of the sample that cannot be decoded; unreadable_files: the first ones, name and reason.
    too_large: how many of these have more pixels than are decoded here, which prepare may decode all the same.
    """

    count: int
    sources: tuple[str, ...] = ()
    classes: dict[str, int] = field(default_factory=dict)
    without_class: int = 0
    given: dict[str, int] = field(default_factory=dict)
    captions: int = 0
    sampled: int = 0
    unreadable: int = 0
    too_large: int = 0
    unreadable_files: tuple[tuple[str, str], ...] = ()
    height_px: int = 32
    width_px: int = 32
    same_size: bool = False
    aspect_ratio: float = 1.0
    aspect_share: float = 1.0
    modes: dict[str, int] = field(default_factory=dict)
    colour_share: float = 1.0
    transparent_share: float = 0.0
    background: tuple[int, int, int] = (0, 0, 0)
    pixel_std: float = 0.5
    mean_spread: float = 0.25
    mirrored_accuracy: float | None = None
    duplicate_share: float = 0.0
    decode_s: float = 0.002

    @property
    def file_size(self) -> ImageSize:
        """The files' size, the median of height and width."""
        return ImageSize(self.height_px, self.width_px)

    @property
    def unreadable_share(self) -> float:
        return self.unreadable / self.sampled if self.sampled else 0.0

    @property
    def first_unreadable(self) -> str:
        """The first file that cannot be decoded, for the middle of a sentence."""
        return ", first {} ({})".format(*self.unreadable_files[0]) if self.unreadable_files else ""

    @property
    def usable(self) -> int:
        """Estimate of the images that are left after rejected files and duplicates."""
        return max(0, round(self.count * (1 - self.unreadable_share) * (1 - self.duplicate_share)))

    def split(self, test_share: float) -> tuple[int, int]:
        """Estimate the numbers of training and test images."""
        rest = self.count - sum(self.given.values())
        kept = self.usable / self.count if self.count else 0.0
        test = self.given.get("test", 0) + rest * test_share
        return round((self.count - test) * kept), round(test * kept)


@dataclass(frozen=True)
class Speed:
    """Measured speed of one network on this machine, with the threads of one stage, beside as many others as fit.

    family: a model family, or "extractor". images_per_s: in training. samples_per_s: images generated per second; for
    the extractor, images turned into features.
    """

    family: str
    width: int
    depth: int
    image_size: ImageSize
    channels: int
    images_per_s: float
    samples_per_s: float


@dataclass(frozen=True)
class MachineFacts:
    """This machine. gpu: name of its GPUs, empty without one. start_s: seconds until a stage's own work begins."""

    cores: int
    memory_gb: float = 8.0
    gpus: int = 0
    gpu: str = ""
    gpu_memory_gb: float = 0.0
    start_s: float = 4.0
    speeds: tuple[Speed, ...] = ()


def to_json(facts: DataFacts | MachineFacts) -> dict[str, Any]:
    """Return facts as JSON values."""
    return asdict(facts)


def from_json(kind: type[Facts], values: Any) -> Facts:
    """Parse what `to_json` returned. Raises ValueError if it is something else."""
    try:
        return TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        raise ValueError(f"not the {kind.__name__} of this version: {error.errors()[0]['msg']}") from None
