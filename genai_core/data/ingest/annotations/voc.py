"""Pascal VOC's XML: Annotations/1.xml names the objects in JPEGImages/1.jpg (Everingham et al. 2010)."""

import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import PurePosixPath

from genai_core.data.dataset.dataset import Split
from genai_core.data.ingest.annotations.annotations import Annotations
from genai_core.data.ingest.annotations.finder import Finder
from genai_core.data.ingest.choices import AskError, Choices
from genai_core.data.ingest.listing import Listing
from genai_core.data.ingest.readers.items import split_of

_MAX_BYTES = 1 << 20
_FEWEST_SHARE = 0.5  # of the images that have a file, so that the files can give the labels


def read_voc(listing: Listing, images: Sequence[str], choices: Choices) -> Annotations | None:
    """Read the XML files beside the images; None if fewer than half of the images have one.

    The class is the name of the objects, if each picture shows one kind only. ImageSets/Main gives the split. Raises
    ValueError if some pictures show several, naming the option that decides; or if --layout voc was asked for and
    there are no such files.
    """
    insist = choices.layout == "voc"
    finder = Finder(images)
    files = {
        image: path
        for path in listing.others
        if path.lower().endswith(".xml") and (image := finder.find(PurePosixPath(path).stem)) is not None
    }
    if not files or (len(files) < _FEWEST_SHARE * len(images) and not insist):
        if insist:
            raise ValueError(f"{listing.root}: --layout voc: no XML file has the name of an image")
        return None
    objects = {image: names for image, path in files.items() if (names := _object_names(listing, path)) is not None}
    if not objects:
        return None
    xml_files = str(PurePosixPath(next(iter(files.values()))).parent / "*.xml")
    labels = {image: names for image, names in objects.items() if names}
    wrong = sum(len(names) != 1 for names in objects.values())
    if wrong and choices.layout != "flat":
        raise AskError(
            f"{listing.root}: {wrong:,} of {len(objects):,} pictures show several kinds of objects or none, so the "
            f"names in {xml_files} are no classes; to add the pictures without classes: --layout flat"
        )
    if choices.layout == "flat":
        labels = {}
    splits, lists = _splits(listing, finder) if choices.split is not False else ({}, [])
    return Annotations(
        layout="Pascal VOC",
        labels=labels,
        splits=splits,
        labels_from=f"the objects in {xml_files}" if labels else "",
        labels_in=xml_files,
        splits_from=" and ".join(lists),
        used=frozenset([*files.values(), *lists]),
        overrides=True,
        is_chosen=insist,
    )


def _object_names(listing: Listing, path: str) -> tuple[str, ...] | None:
    """Return the different names of the objects in a file; None if it is not in this form."""
    file = listing.root / path
    if file.stat().st_size > _MAX_BYTES:
        return None
    try:
        # Expat limits the expansion of entities, and nothing outside the file is loaded.
        root = ElementTree.fromstring(file.read_bytes())  # noqa: S314
    except (ElementTree.ParseError, ValueError, LookupError):
        return None
    if root.tag != "annotation":
        return None
    names = (name.text.strip() for name in root.findall("object/name") if name.text and name.text.strip())
    return tuple(dict.fromkeys(names))


def _splits(listing: Listing, finder: Finder) -> tuple[dict[str, tuple[Split, ...]], list[str]]:
    """Read the lists train.txt, val.txt and test.txt below ImageSets/: a name per line."""
    splits: dict[str, dict[Split, None]] = {}
    lists = []
    for path in listing.others:
        file = PurePosixPath(path)
        split = split_of(file.stem)
        if split is None or file.suffix.lower() != ".txt" or "imagesets" not in path.lower():
            continue
        lists.append(path)
        for line in (listing.root / path).read_text(encoding="utf-8", errors="replace").split("\n"):
            if (words := line.split()) and (image := finder.find(words[0])) is not None:
                splits.setdefault(image, {})[split] = None
    return {image: tuple(said) for image, said in splits.items()}, lists
