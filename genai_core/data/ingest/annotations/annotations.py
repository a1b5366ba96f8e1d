"""What annotation files say about images, in one form for all their formats."""

from dataclasses import dataclass, field

from genai_core.data.dataset.dataset import Split
from genai_core.data.raw.formats import RejectedFile


@dataclass(frozen=True)
class Annotations:
    """labels, captions, splits: by the image's path in the source; several labels or splits contradict each other.

    layout, labels_from, captions_from, splits_from: to show; empty: there are none. labels_in: the files with labels.
    unlabelled: the images of a part or split whose tables have no labels. used: the annotation files. overrides: the
    labels count although the images are in folders. is_chosen: the user chose them. rejected: rows without an image.
    """

    layout: str
    labels: dict[str, tuple[str, ...]] = field(default_factory=dict)
    captions: dict[str, tuple[str, ...]] = field(default_factory=dict)
    splits: dict[str, tuple[Split, ...]] = field(default_factory=dict)
    unlabelled: frozenset[str] = frozenset()
    labels_from: str = ""
    labels_in: str = ""
    captions_from: str = ""
    splits_from: str = ""
    used: frozenset[str] = frozenset()
    overrides: bool = False
    is_chosen: bool = False
    rejected: tuple[RejectedFile, ...] = ()
    notes: tuple[str, ...] = ()
