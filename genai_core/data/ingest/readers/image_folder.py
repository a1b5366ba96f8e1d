"""A folder of image files: class folders, split folders, or tables and other annotation files beside the images."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from genai_core.data.ingest.annotations.annotations import Annotations
from genai_core.data.ingest.annotations.coco import read_coco
from genai_core.data.ingest.annotations.cub_lists import read_cub_lists
from genai_core.data.ingest.annotations.table_files import is_text
from genai_core.data.ingest.annotations.tables import read_tables
from genai_core.data.ingest.annotations.unread import unread_annotations
from genai_core.data.ingest.annotations.voc import read_voc
from genai_core.data.ingest.choices import AskError, Choices
from genai_core.data.ingest.layouts.combine import combine
from genai_core.data.ingest.layouts.folders import FolderLayout, folder_layout
from genai_core.data.ingest.layouts.masks import find_masks
from genai_core.data.ingest.listing import Listing
from genai_core.data.ingest.readers.items import Item, Reading
from genai_core.data.ingest.readers.texts import are_boxes, boxes_note
from genai_core.data.raw.caption_files import read_caption_file
from genai_core.data.raw.captions import MAX_TEXT_BYTES, caption_name, is_caption_name, stem_of

CAPTION_ENDING = ".caption"  # as training scripts for Stable Diffusion call them
_SHOWN_FOLDERS = 5
_JUDGED_TEXTS = 20


def read_image_folder(listing: Listing, choices: Choices) -> Reading:
    """Read every image file of a folder, except masks of others.

    Raises ValueError when there is nothing to read, and AskError when folders and files can mean several things.
    """
    listing.require_images()
    try:
        masks = find_masks(listing.images, choices.layout)
    except AskError as error:
        raise AskError(f"{listing.root}: {error}") from None
    images = [path for path in listing.images if path not in masks.paths]
    folders = _folder_layout(listing, images, choices)
    annotations = _annotations(listing, images, choices, folders)
    if folders.doubt_with_captions and _have_captions(listing, images, annotations):
        folders = replace(folders, doubt="", class_notes=(*folders.class_notes, folders.doubt_with_captions))
    has_labels = bool(folders.labels or (annotations and annotations.labels))
    if choices.needs_classes and choices.layout is None and folders.wrapper and not has_labels:
        folders = _folder_layout(listing, images, replace(choices, layout="class-folders"))
    try:
        combined = combine(images, folders, annotations, choices)
    except AskError as error:
        raise AskError(f"{listing.root}: {error}") from None
    texts: dict[str, tuple[str, ...]] = {}
    texts_used: set[str] = set()
    if not combined.understood.captions:
        texts, texts_used = _texts_beside(listing, [entry.path for entry in combined.entries])
    items = [
        Item(entry.name, entry.label, entry.split, listing.root / entry.path, texts.get(entry.path, entry.captions))
        for entry in combined.entries
    ]
    understood = replace(combined.understood, captions="the texts beside the images") if texts else combined.understood
    if choices.layout is None and not understood.labels and not understood.captions:
        used = annotations.used if annotations else ()
        if question := unread_annotations(listing, images, used):
            raise AskError(f"{listing.root}: {question}")
        notes_on_boxes = _notes_on_boxes(listing)
    else:
        notes_on_boxes = []
    skipped = listing.skipped_without({*(annotations.used if annotations else ()), *texts_used})
    notes = combined.notes + notes_on_boxes
    if masks.paths:
        skipped["masks"] = len(masks.paths)
        notes.append(f"note: {masks.where}: taken as masks of other images and left out")
    if folders.labels and (empty := _empty_folders(listing, folders)):
        shown = ", ".join(empty[:_SHOWN_FOLDERS]) + (" ..." if len(empty) > _SHOWN_FOLDERS else "")
        notes.append(f"note: no images in the folders {shown}")
    if (others := sum(count for kind, count in skipped.items() if kind.endswith(" files"))) >= len(images):
        notes.append(f"note: {others:,} of {others + len(images):,} files are no images, and were left out")
    return Reading(
        items,
        len(items),
        combined.rejected,
        skipped=skipped | combined.left_out,
        bad_names=listing.bad_names,
        wrapper=folders.wrapper,
        notes=notes,
        understood=understood,
        follows_choices=True,
        splits=frozenset(item.split for item in items),
    )


def _texts_beside(listing: Listing, images: Sequence[str]) -> tuple[dict[str, tuple[str, ...]], set[str]]:
    """Return the captions in texts with an image's stem, as data/raw has them (raw/captions.py), and their files.

    Of .txt and .caption, the first with a caption counts.
    """
    texts = {path for path in listing.others if is_caption_name(path) or path.endswith(CAPTION_ENDING)}
    found, used = {}, set()
    for image in images if texts else ():
        for path in _texts_of(image):
            if path in texts and (captions := read_caption_file(listing.root / path)).text:
                found[image] = tuple(captions.text.split("\n"))
                used.add(path)
                break
    return found, used


def _have_captions(listing: Listing, images: Sequence[str], annotations: Annotations | None) -> bool:
    """Whether most of the first images have captions, in tables or in texts beside them."""
    said = annotations.captions if annotations else {}
    first = images[:_JUDGED_TEXTS]
    captioned = said or _texts_beside(listing, first)[0]
    return 2 * sum(image in captioned for image in first) > len(first)


def _texts_of(image: str) -> tuple[str, str]:
    return caption_name(image), stem_of(image) + CAPTION_ENDING


def _notes_on_boxes(listing: Listing) -> list[str]:
    """Say that texts hold boxes, judged by the first ones."""
    texts = [path for path in listing.others if is_caption_name(path)]
    first = (listing.root / path for path in texts[:_JUDGED_TEXTS])
    boxes = sum(
        path.stat().st_size < MAX_TEXT_BYTES and are_boxes(path.read_text("utf-8", "replace")) for path in first
    )
    return [boxes_note(len(texts))] if boxes > len(texts[:_JUDGED_TEXTS]) / 2 else []


def _folder_layout(listing: Listing, images: Sequence[str], choices: Choices) -> FolderLayout:
    try:
        return folder_layout(images, split=choices.split, layout=choices.layout)
    except AskError as error:
        raise AskError(f"{listing.root}: {error}") from None


def _annotations(
    listing: Listing, images: Sequence[str], choices: Choices, folders: FolderLayout
) -> Annotations | None:
    """Return what annotation files say, of the chosen kind or of the only one with labels."""
    if choices.layout in ("class-folders", "leaf-folders", "file-names"):
        choices = Choices("flat", (), choices.caption_column, choices.split)
    found: dict[str, Annotations] = {}
    if choices.layout in (None, "flat", "coco") and (coco := read_coco(listing, images, choices)):
        found["coco"] = coco
    if choices.layout in (None, "flat", "voc") and (voc := read_voc(listing, images, choices)):
        found["voc"] = voc
    if choices.layout in (None, "flat", "table"):
        without = {path for paths in folders.unlabelled.values() for path in paths}
        classes = {
            path: place.label
            for path, place in folders.places.items()
            if path not in without and place.label is not None
        }
        has_classes = bool(folders.labels or found)
        chosen = bool(choices.label_columns or choices.caption_column)
        lists = None if chosen else read_cub_lists(listing, images, choices)
        if lists:
            tables: Annotations | None = _with_tables(lists, listing, images, choices, classes)
        else:
            tables = read_tables(listing, images, choices, has_classes=has_classes, folders=classes)
        found |= {"table": tables} if tables else {}
    with_labels = [name for name, said in found.items() if said.labels]
    if len(with_labels) > 1:
        files = " and ".join(found[name].labels_in for name in with_labels)
        raise AskError(
            f"{listing.root}: both {files} hold labels; choose " + " or ".join(f"--layout {one}" for one in with_labels)
        )
    if not found:
        return None
    return max(found.values(), key=lambda said: (bool(said.labels), bool(said.captions), bool(said.splits)))


def _with_tables(
    lists: Annotations, listing: Listing, images: Sequence[str], choices: Choices, classes: Mapping[str, str]
) -> Annotations:
    """Add to CUB's lists what tables say beside them. Raises AskError if both hold labels.

    Of texts, only captions.txt is read: CUB's own further lists (image_attribute_labels.txt) have millions of rows.
    classes: those of the folders, by the image.
    """
    further = (path for path in listing.others if path not in lists.used)
    others = tuple(path for path in further if not is_text(path) or PurePosixPath(path).stem.lower() == "captions")
    choices = replace(choices, layout=None) if choices.layout == "table" else choices  # the lists are the table
    has_classes = bool(lists.labels or classes)
    said = read_tables(replace(listing, others=others), images, choices, has_classes=has_classes, folders=classes)
    if said is None:
        return lists
    if lists.labels and said.labels:
        raise AskError(
            f"{listing.root}: both {lists.labels_in} and {said.labels_in} hold labels; choose --label-column COLUMN to "
            f"use the table, or move {said.labels_in} away"
        )
    used = lists.used | said.used
    if not lists.labels:
        return replace(said, splits=lists.splits, splits_from=lists.splits_from, used=used)
    return replace(
        lists,
        captions=said.captions,
        captions_from=said.captions_from,
        splits=lists.splits or said.splits,
        splits_from=lists.splits_from or said.splits_from,
        used=used,
        rejected=said.rejected,
        notes=said.notes,
    )


def _empty_folders(listing: Listing, folders: FolderLayout) -> list[str]:
    """Return the names of the folders beside class folders that have no images."""
    used = {""}
    parents = set()
    for path, place in folders.places.items():
        folder = path.rpartition("/")[0]
        if folder not in used:
            above, _, name = folder.rpartition("/")
            parents |= {above} if name == place.label else set()
            while folder:
                used.add(folder)
                folder = folder.rpartition("/")[0]
    empty = (folder for folder in listing.folders - used if folder.rpartition("/")[0] in parents)
    return sorted({folder.rpartition("/")[2] for folder in empty})
