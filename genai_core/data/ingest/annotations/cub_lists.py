"""The lists of CUB-200 and NABirds: images.txt gives each image an id, and further lists say something of each id.

images.txt              1 001.Black_footed_Albatross/1.jpg
image_class_labels.txt  1 1
classes.txt             1 001.Black_footed_Albatross
train_test_split.txt    1 0    (1: for training)
"""

from collections.abc import Sequence
from pathlib import PurePosixPath

from genai_core.data.dataset.dataset import Split
from genai_core.data.ingest.annotations.annotations import Annotations
from genai_core.data.ingest.annotations.finder import Finder
from genai_core.data.ingest.choices import Choices
from genai_core.data.ingest.listing import Listing

_IMAGES, _LABELS, _CLASSES, _SPLIT = "images.txt", "image_class_labels.txt", "classes.txt", "train_test_split.txt"
_SPLITS: dict[str, Split] = {"1": "train", "0": "test"}


def read_cub_lists(listing: Listing, images: Sequence[str], choices: Choices) -> Annotations | None:
    """Read the lists beside an images.txt whose paths are images here; None if there are none."""
    found = [path for path in listing.others if PurePosixPath(path).name == _IMAGES]
    if len(found) != 1:
        return None
    folder = found[0].removesuffix(_IMAGES)
    paths = _by_id(listing, found[0])
    finder = Finder(images).find_all([*paths.values()], folder.removesuffix("/"))
    image_of = {key: image for key, image in zip(paths, finder, strict=True) if image is not None}
    if 2 * len(image_of) < max(1, len(paths)):
        return None
    values = {name: _by_id(listing, folder + name) for name in (_LABELS, _CLASSES, _SPLIT)}
    names = values[_CLASSES]
    labels: dict[str, tuple[str, ...]] = {
        image: (names.get(number, number),)
        for key, image in image_of.items()
        if choices.layout != "flat" and (number := values[_LABELS].get(key)) is not None
    }
    splits: dict[str, tuple[Split, ...]] = {
        image: (split,)
        for key, image in image_of.items()
        if choices.split is not False and (split := _SPLITS.get(values[_SPLIT].get(key, ""))) is not None
    }
    if not labels and not splits:
        return None
    return Annotations(
        layout="images with the lists of CUB",
        labels=labels,
        splits=splits,
        labels_from=folder + _LABELS if labels else "",
        labels_in=folder + _LABELS,
        splits_from=folder + _SPLIT if splits else "",
        overrides=True,  # the folders of NABirds are numbers: 0295 for American Crow
        used=frozenset([found[0], *(folder + name for name, said in values.items() if said)]),
    )


def _by_id(listing: Listing, path: str) -> dict[str, str]:
    """Return the value of each id in a list; empty if there is no such list."""
    if path not in listing.others:
        return {}
    text = (listing.root / path).read_text(encoding="utf-8", errors="replace")
    rows = (line.split(maxsplit=1) for line in text.split("\n"))
    return {row[0]: row[1].strip() for row in rows if len(row) == 2}
