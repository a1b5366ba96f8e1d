"""COCO's JSON: captions, and the categories of objects where a picture shows one (Lin et al. 2014, arXiv:1405.0312).

One file holds {"images": [{"id", "file_name"}], "annotations": [{"image_id", "caption" or "category_id"}],
"categories": [{"id", "name"}]}, usually a file per split and task: instances_train2017.json, captions_val2017.json.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any

from genai_core.counted import counted
from genai_core.data.ingest.annotations.annotations import Annotations
from genai_core.data.ingest.annotations.finder import Finder
from genai_core.data.ingest.choices import AskError, Choices
from genai_core.data.ingest.listing import Listing

_MAX_FILES = 50  # more JSON files are one per image, in some other form
_MAX_BYTES = 2 << 30
_HEAD_BYTES = 1 << 20


def read_coco(listing: Listing, images: Sequence[str], choices: Choices) -> Annotations | None:
    """Read the COCO files of a source; None if there is none whose images exist.

    Labels are taken if each picture has objects of one category only. Raises ValueError if some have several and there
    are no captions, naming the option that decides; or if --layout coco was asked for and there is no such file.
    """
    insist = choices.layout == "coco"
    found = [(path, document) for path in _json_files(listing) if (document := _document(listing, path)) is not None]
    finder = Finder(images)
    labels: dict[str, dict[str, None]] = {}
    captions: dict[str, dict[str, None]] = {}
    missing: set[str] = set()
    named: set[str] = set()
    without_id = 0
    label_files, caption_files = [], []
    for path, document in found:
        folder = path.rpartition("/")[0]
        by_id: dict[int | str, str] = {}
        categories: dict[int | str, str] = {}
        file_names = [str(entry.get("file_name", "")) for entry in document["images"]]
        for entry, file, image in zip(document["images"], file_names, finder.find_all(file_names, folder), strict=True):
            if image is None:
                missing.add(file)
            elif (key := _id(entry.get("id"))) is None:
                without_id += 1
            else:
                by_id[key] = image
        for entry in document.get("categories") or []:
            if (key := _id(entry.get("id"))) is None:
                without_id += 1
            else:
                categories[key] = str(entry.get("name"))
        named.update(by_id.values())
        for annotation in document["annotations"]:
            image_id, category_id = (_id(annotation.get(key)) for key in ("image_id", "category_id"))
            image = by_id.get(image_id) if image_id is not None else None
            category = categories.get(category_id) if category_id is not None else None
            if image is None:
                continue
            if isinstance(annotation.get("caption"), str):
                captions.setdefault(image, {})[annotation["caption"].strip()] = None
                caption_files.append(path)
            elif category is not None and "keypoints" not in annotation:
                labels.setdefault(image, {})[category] = None
                label_files.append(path)
    if not named:
        if insist:
            raise ValueError(f"{listing.root}: --layout coco: no JSON file in COCO's form names one of the images")
        return None
    several = sum(len(said) > 1 for said in labels.values())
    without = len(named - labels.keys())
    notes = (
        [f"note: {len(missing):,} pictures of {_listed([path for path, _ in found])} are not here"] if missing else []
    )
    if without_id:
        files = _listed([path for path, _ in found])
        notes.append(f"note: {files}: {counted(without_id, 'entry')} left out, whose id is no number or text")
    if several or (without and captions and labels):
        counts = f"{several:,} of {len(named):,} pictures show objects of several categories, {without:,} of none"
        if not captions and choices.layout != "flat":
            raise AskError(
                f"{listing.root}: {counts}, so the categories of {label_files[0]} are no classes; to add the pictures "
                "without classes: --layout flat"
            )
        notes.append(f"note: {counts}, so the categories are not taken as classes")
        labels.clear()
    if choices.layout == "flat":
        labels.clear()
    return Annotations(
        layout="COCO",
        labels={image: tuple(said) for image, said in labels.items()},
        captions={image: tuple(said) for image, said in captions.items()},
        labels_from=f"the categories of {_listed(label_files)}" if labels else "",
        labels_in=_listed(label_files),
        captions_from=_listed(caption_files),
        used=frozenset(path for path, _ in found),
        overrides=True,
        is_chosen=insist,
        notes=tuple(notes),
    )


def _id(value: Any) -> int | str | None:
    """Return an id if it is a number or a text, as COCO's are; any other value of JSON is none."""
    return value if isinstance(value, int | str) and not isinstance(value, bool) else None


def _json_files(listing: Listing) -> list[str]:
    files = [path for path in listing.others if path.lower().endswith(".json")]
    return files if len(files) <= _MAX_FILES else []


def _document(listing: Listing, path: str) -> dict[str, Any] | None:
    """Return the contents of a file in COCO's form with annotations; None for any other JSON."""
    file = listing.root / path
    try:
        with file.open("rb") as opened:
            head = opened.read(_HEAD_BYTES)
        is_small = len(head) < _HEAD_BYTES
        if file.stat().st_size > _MAX_BYTES or not (is_small or b'"images"' in head or b'"annotations"' in head):
            return None
        document = json.loads(head if is_small else file.read_bytes())
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict):
        return None
    parts = [document.get(key) for key in ("images", "annotations")]
    if not all(isinstance(part, list) and part and isinstance(part[0], dict) for part in parts):
        return None
    if not isinstance(document.get("categories"), list | None):
        return None
    return document if all(isinstance(entry, dict) for entry in _entries(document)) else None


def _entries(document: dict[str, Any]) -> Iterator[Any]:
    for key in ("images", "annotations", "categories"):
        yield from document.get(key) or []


def _listed(paths: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(PurePosixPath(path).name for path in paths))
