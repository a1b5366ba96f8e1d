"""WebDataset format: the files of one sample share a key, as in 000123.jpg with 000123.cls, .json or .txt.

The key is the path up to the first dot of the file name (https://github.com/webdataset/webdataset). Names that people
give can have dots of their own: cat.close-up.jpg with cat.close-up.txt is a sample beside cat.jpg with cat.txt.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from genai_core.data.dataset.dataset import Split
from genai_core.data.ingest.convert.kinds import SOURCE_EXTENSIONS
from genai_core.data.ingest.layouts.masks import is_mask_name
from genai_core.data.ingest.layouts.storage_folders import storage_kind
from genai_core.data.ingest.readers.columns import CAPTION_COLUMNS, LABEL_COLUMNS, column_among
from genai_core.data.ingest.readers.items import Item, Reading, Understood, split_in
from genai_core.data.ingest.readers.texts import are_boxes, are_captions, boxes_note, fits_label, lines_of
from genai_core.data.raw.captions import stem_of
from genai_core.data.raw.formats import RejectedFile
from genai_core.data.raw.rules import is_bad_name, printable

LABEL_EXTENSIONS = (".cls", ".json", ".txt")  # in order of precedence
_MAX_TEXT_BYTES = 1 << 20


@dataclass
class _Sample:
    images: list[str] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)  # extension -> file
    label: str | None = None
    captions: tuple[str, ...] = ()
    text: str = ""  # of .txt: a label or a caption, depending on the others
    has_boxes: bool = False  # in .txt or .json instead
    fault: str = ""


def are_samples(files: Sequence[str]) -> bool:
    """Whether the files of a folder are WebDataset samples.

    They are if any file is a .cls or, without class folders, if at least half of the images have a .json or .txt.
    They are not in a plain folder with cat.jpg, cat.close-up.jpg and cat.txt, and no .json: each is a picture then,
    with the captions of its stem (raw/captions.py). Masks, such as cat.seg.png, are no such pictures.
    """
    if any(path.lower().endswith(".cls") for path in files):
        return True
    files = [path for path in files if not (_is_image(path) and is_mask_name(path))]
    samples = [sample for sample in _grouped(files).values() if sample.images]
    folders: dict[str, list[str]] = {}
    for sample in samples:
        folder, _, name = sample.images[0].rpartition("/")
        folders.setdefault(folder, []).append(name)
    # img2dataset unpacks shards into 00000/000000000.jpg, 00001/000010000.jpg ...
    is_sharded = len(folders) > 1 and bool(storage_kind(folders))
    if not is_sharded and any(map(_has_dotted_images, samples)) and not any(".json" in one.texts for one in samples):
        return False
    has_classes = len(folders) > 1 and not is_sharded
    return not has_classes and 2 * sum(bool(sample.texts) for sample in samples) >= len(samples)


def read_samples(folder: Path, files: Sequence[str]) -> Reading:
    """Read one image per key; files: relative to `folder`, with "/".

    A label is the text of .cls, or the value of label, class ... in .json, or the text of .txt if few values repeat.
    Captions are the values of caption, text ... in .json, and the lines of .txt if its values nearly all differ
    (texts.py). The name of a shard (a top folder) states the split: train-0000/000123.jpg.
    """
    samples = {key: sample for key, sample in sorted(_grouped(files).items()) if sample.images}
    bad_names = tuple(printable(sample.images[0]) for key, sample in samples.items() if is_bad_name(key))
    samples = {key: sample for key, sample in samples.items() if not is_bad_name(sample.images[0])}
    for sample in samples.values():
        _read_texts(folder, sample)
    understood = _decide(list(samples.values()))
    rejected: list[RejectedFile] = []
    if understood.labels:
        for key, sample in samples.items():
            if sample.fault:
                rejected.append(RejectedFile(key, "bad_label", sample.fault))
            elif sample.label is None:
                rejected.append(RejectedFile(key, "no_label", f"none of {', '.join(LABEL_EXTENSIONS)} holds a label"))
    rejected_keys = {file.source for file in rejected}
    reading = Reading((), len(samples) - len(rejected_keys), rejected, bad_names=bad_names, understood=understood)

    def items() -> Iterator[Item]:
        for key, sample in samples.items():
            if key in rejected_keys:
                continue
            image = _image(sample)
            if image is None:
                detail = f"{len(sample.images)} images for one key: {', '.join(sorted(sample.images))}"
                rejected.append(RejectedFile(key, "several_images", detail))
                continue
            yield Item(image, sample.label, _split(key), folder / image, sample.captions)

    reading.items = items()
    further = sum(
        len(sample.images) - 1 for key, sample in samples.items() if key not in rejected_keys and _image(sample)
    )
    if further:
        reading.skipped["further images of a sample"] = further
    reading.splits = frozenset(map(_split, samples))
    if any(reading.splits):
        reading.understood = replace(understood, split="names of the shards")
    if boxes := sum(sample.has_boxes for sample in samples.values()):
        reading.notes.append(boxes_note(boxes))
    if not understood.labels:
        reading.notes.append("no sample has a label (.cls, .json or .txt of a few words); the images have no class")
    return reading


def _read_texts(folder: Path, sample: _Sample) -> None:
    """Fill in what the sample's own files say; `text` is decided on later."""
    for extension in LABEL_EXTENSIONS:
        name = sample.texts.get(extension)
        if name is None:
            continue
        try:
            with (folder / name).open("rb") as file:
                text = file.read(_MAX_TEXT_BYTES + 1).decode("utf-8-sig").strip()
            if extension == ".json":
                value = json.loads(text)
                sample.has_boxes = isinstance(value, dict) and isinstance(value.get("shapes"), list)  # LabelMe
                label, sample.captions = _from_json(value)
                sample.label = label if sample.label is None else sample.label
            elif extension == ".cls":
                sample.label = text if fits_label(text) else None
            elif are_boxes(text):
                sample.has_boxes = True
            else:
                sample.text = text
        except (ValueError, RecursionError) as error:
            sample.fault = sample.fault or f"{name}: {error}"


def _decide(samples: Sequence[_Sample]) -> Understood:
    """Make each .txt a label or a caption, and say which; a label that .cls or .json states comes first."""
    texts = [sample.text for sample in samples if sample.text]
    stated = [sample.label for sample in samples if sample.label is not None]
    if stated and not all(label.isdecimal() for label in stated) and are_captions(stated):
        for sample in samples:
            if sample.label is not None:
                sample.captions, sample.label = (*lines_of(sample.label), *sample.captions), None
    named = sum(sample.label is not None for sample in samples)
    captions = "caption in .json" if any(sample.captions for sample in samples) else ""
    labels = ".cls or label in .json" if named else ""
    if texts and (are_captions(texts) or (named and 2 * named >= len(samples))):
        for sample in samples:
            sample.captions = tuple(dict.fromkeys((*sample.captions, *lines_of(sample.text))))
        captions = " and ".join(filter(None, (captions, f".txt ({len(set(texts)):,} different in {len(texts):,})")))
    elif texts:
        for sample in samples:
            if sample.label is None and fits_label(sample.text):
                sample.label = sample.text
        labels = " or ".join(filter(None, (labels, f".txt ({len(set(texts)):,} different in {len(texts):,})")))
    return Understood(layout="WebDataset samples", labels=labels, captions=captions)


def _from_json(value: Any) -> tuple[str | None, tuple[str, ...]]:
    """Return the label and the captions of a .json, which may also be the label alone."""
    if not isinstance(value, dict):
        return _label(value), ()
    keys = [str(key) for key in value]
    label = column_among(keys, LABEL_COLUMNS)
    caption = column_among([key for key in keys if key != label], CAPTION_COLUMNS)
    captions = value[caption] if caption else []
    captions = captions if isinstance(captions, list) else [captions]
    return _label(value.get(label)), tuple(
        line for text in captions if isinstance(text, str) for line in lines_of(text)
    )


def _split(key: str) -> Split | None:
    top = key.split("/", 1)[0] if "/" in key else ""
    return split_in(top)


def _label(value: Any) -> str | None:
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else None


def _image(sample: _Sample) -> str | None:
    """Return the sample's image, preferring 1.jpg over 1.mask.png; None if ambiguous."""
    plain = [name for name in sample.images if PurePosixPath(name).name.count(".") == 1]
    images = plain or sample.images
    return images[0] if len(images) == 1 else None


def _has_dotted_images(sample: _Sample) -> bool:
    return len(sample.images) > 1 and any(PurePosixPath(name).name.count(".") > 1 for name in sample.images)


def _grouped(files: Sequence[str]) -> dict[str, _Sample]:
    stems_of_texts = {stem_of(path) for path in files if path.lower().endswith(LABEL_EXTENSIONS)}
    stems = {stem for path in files if _is_image(path) and (stem := stem_of(path)) in stems_of_texts}
    samples: dict[str, _Sample] = {}
    for path in files:
        folder, slash, name = path.rpartition("/")
        key = stem if (stem := stem_of(path)) in stems else folder + slash + name.split(".", 1)[0]
        extension = PurePosixPath(name).suffix.lower()
        if _is_image(path):
            samples.setdefault(key, _Sample()).images.append(path)
        elif extension in LABEL_EXTENSIONS:
            samples.setdefault(key, _Sample()).texts.setdefault(extension, path)
    return samples


def _is_image(path: str) -> bool:
    return PurePosixPath(path).suffix.lower() in SOURCE_EXTENSIONS
