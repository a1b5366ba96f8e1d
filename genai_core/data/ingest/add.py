"""Import a user's images into data/raw: any kind of source becomes packs of CLASS/file."""

import shutil
import unicodedata
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from genai_core.data.dataset.dataset import SPLITS, Split
from genai_core.data.ingest.choices import Choices, giving_up_split
from genai_core.data.ingest.names import BUILTIN_PREFIX, checked_name, class_folder, default_name
from genai_core.data.ingest.packing.importer import Importer
from genai_core.data.ingest.readers.items import Item, Reading, Understood
from genai_core.data.ingest.readers.recognise import read_source
from genai_core.data.ingest.staging import staging
from genai_core.data.raw.captions import NO_CAPTIONS, clean_captions
from genai_core.data.raw.count import Labelled, count_labelled
from genai_core.data.raw.formats import RejectedFile
from genai_core.data.raw.source_json import Origin, read_note

SHOWN_CLASSES = 6
BOTH_SPLITS = frozenset(SPLITS)


@dataclass(frozen=True)
class Added:
    """Result of an ingest."""

    names: tuple[str, ...]  # of the folders below data/raw: NAME, or NAME.train and NAME.test
    added_images: int
    kept_images: int  # already there, with the same bytes or pixels
    classes: dict[str, int]  # images of this source per class; empty: unlabelled
    splits: dict[Split, int]  # images per split; empty: the source's split was not kept, or it has none
    skipped: dict[str, int]
    bad_names: tuple[str, ...]
    wrapper: str | None  # the folder around everything in the source, removed from the names
    rejected: tuple[RejectedFile, ...]  # images and rows of a table
    notes: tuple[str, ...]
    understood: Understood
    captioned_images: int = 0  # images of this source with captions
    changed_captions: int = 0  # images that were already there and have other captions now


class _NoSplitError(Exception):
    """A source that turned out to have no split of its own while it was read."""


def add_source(
    source: str,
    into: Path,
    name: str | None = None,
    *,
    choices: Choices | None = None,
    max_rejected_share: float = 0.05,
    origin: Origin | None = None,
    indexes: Path | None = None,
    on_added: Callable[[int, int], None] | None = None,
) -> Added:
    """Pack the images of `source` into into/NAME (packs.py): all of them or, after any error, none.

    source: builtin:digits, a folder, an archive or a file that holds a dataset (recognise.py). name: defaults to the
    source's name. choices: what the user says about the source. A split of the source's own is kept as into/NAME.train
    and into/NAME.test. max_rejected_share: maximum share of images whose label is missing or wrong, and of labels whose
    image is missing. origin: where the source was fetched from. indexes: folder of the pack indexes.
    on_added(done, total): called for each image.
    If NAME exists, new images are appended; an existing image with the same content is kept, and gets the captions of
    the source if it has any. Either all images of data/raw have a class or none has one, as prepare requires; some of
    them may have captions. Raises ValueError or an OSError that says what to do.
    """
    name = checked_name(name) if name is not None else default_name(source)
    there = count_labelled(into, indexes) if into.is_dir() else Labelled(0, 0, None)
    choices = replace(choices or Choices(), needs_classes=bool(there.with_class))
    with staging(into) as folder:

        def add(*, keeps_split: bool) -> Added:
            with closing(Importer(into, folder / "images", indexes)) as importer:
                reading = read_source(source, into, folder / "source", choices)
                if choices.split is not None or reading.splits not in (None, BOTH_SPLITS):
                    keeps_split = bool(choices.split)
                return _add(
                    source,
                    into,
                    name,
                    reading,
                    importer,
                    choices,
                    there,
                    max_rejected_share,
                    origin,
                    on_added,
                    keeps_split=keeps_split,
                )

        try:
            try:
                return add(keeps_split=True)
            except _NoSplitError:
                for part in ("images", "source"):
                    shutil.rmtree(folder / part, ignore_errors=True)
                return add(keeps_split=False)  # read in the same way: split=False would take split folders as classes
        except ValueError as error:
            # The folder where an archive was unpacked is gone when the message is read.
            raise ValueError(str(error).replace(str(folder / "source"), source)) from None
        except FileNotFoundError as error:
            if error.filename is None or not Path(source).exists():
                raise
            raise ValueError(
                f"{error.filename} disappeared while {source} was read; nothing was added; try again"
            ) from None


def _add(
    source: str,
    into: Path,
    name: str,
    reading: Reading,
    importer: Importer,
    choices: Choices,
    there: Labelled,
    max_rejected_share: float,
    origin: Origin | None,
    on_added: Callable[[int, int], None] | None,
    *,
    keeps_split: bool,
) -> Added:
    if choices.named and not reading.follows_choices:
        kind = reading.understood.layout or "another kind of source"
        raise ValueError(f"{source}: {choices.named}: for folders of image files only; this is {kind}")
    classes, splits, captioned = _add_all(source, reading, importer, name, choices, keeps_split, on_added)
    images = sum(classes.values())
    _check_rejected_share(source, reading, images, max_rejected_share)
    _check_all_or_none_labelled(source, into, classes, there)
    if keeps_split and splits.keys() != BOTH_SPLITS:  # known only after everything is read
        if choices.split is None:
            raise _NoSplitError
        raise ValueError(
            f"{source}: --split: expected images for training and for testing (folders train and test or validation, "
            "files with these names, or a column split), "
            + (f"all of them are for {next(iter(splits))}" if any(splits) else "found no such split")
        )
    if keeps_split and (into / name).is_dir():
        raise ValueError(
            f"{source}: has a split (train and test), but {into / name} was added without one; nothing was added; keep "
            f"the split under another name, --as {name}-2, or give it up: "
            + giving_up_split(reading.understood.split, reading.understood.labels)
        )
    same = Counter(label.casefold() for label in classes if label)
    if alike := sorted(label for label in classes if same[label.casefold()] > 1):
        shown = ", ".join(alike[:SHOWN_CLASSES]) + (" ..." if len(alike) > SHOWN_CLASSES else "")
        reading.notes.append(
            f"note: classes that differ in capitals only: {shown}; if two are one class, remove the images (genai data "
            "remove), correct the labels and add them again"
        )
    folders: dict[str, Split | None] = {f"{name}.{split}": split for split in SPLITS} if keeps_split else {name: None}
    for top, split in folders.items():
        importer.write_note(top, split, origin)
    importer.commit()
    return Added(
        names=tuple(folders),
        added_images=importer.new_images,
        kept_images=importer.kept_images,
        classes={label: count for label, count in sorted(classes.items()) if label},
        splits={split: splits[split] for split in SPLITS} if keeps_split else {},
        skipped=reading.skipped,
        bad_names=reading.bad_names,
        wrapper=None if source.startswith(BUILTIN_PREFIX) else reading.wrapper,
        rejected=tuple(reading.rejected),
        notes=(*reading.notes, *([] if keeps_split else _notes_on_split(into, name, splits))),
        understood=reading.understood if keeps_split else replace(reading.understood, split=""),
        captioned_images=captioned,
        changed_captions=importer.changed_captions,
    )


def _notes_on_split(into: Path, name: str, splits: Counter[Split | None]) -> list[str]:
    """Return what a user should know of a source without a split, or whose split is not kept."""
    notes = []
    if (given := read_note(into / name).split) is not None:
        notes.append(f"note: all images are for {given}, as {into / name}/source.json says")
    elif found := [split for split in SPLITS if splits[split]]:
        notes.append(
            "note: the source's split was not kept; the images' content decides it"
            if len(found) > 1
            else f"note: all images are from a part for {found[0]}; without another, their content decides the split"
        )
    if there := [str(into / f"{name}.{split}") for split in SPLITS if (into / f"{name}.{split}").is_dir()]:
        notes.append(
            f"note: these images have no split, unlike those in {' and '.join(there)}; their content decides it"
        )
    return notes


def _add_all(
    source: str,
    reading: Reading,
    importer: Importer,
    name: str,
    choices: Choices,
    keeps_split: bool,
    on_added: Callable[[int, int], None] | None,
) -> tuple[Counter[str], Counter[Split | None], int]:
    """Add all images; count them by class folder ("": none) and by split, and those with captions."""
    classes: Counter[str] = Counter()
    splits: Counter[Split | None] = Counter()
    captioned = 0
    folders: dict[str, str] = {}
    for done, item in enumerate(reading.items, start=1):
        if on_added is not None:
            on_added(done, reading.total_images)
        folder = _class_folder(item, folders, reading.rejected)
        if folder is None:
            continue
        if keeps_split and item.split is None:
            if choices.split is None:
                raise _NoSplitError
            raise ValueError(
                f"{source}: --split: {item.path} belongs to no split; expected folders train and test or validation, "
                "files with these names, or a column split; assign a split, or add without the option"
            )
        top = f"{name}.{item.split}" if keeps_split else name
        # Without a class, a folder in the name would be one.
        path = f"{top}/{folder}/{item.path}" if folder else f"{top}/{item.path.replace('/', '-')}"
        captions = clean_captions(item.captions) if item.captions else NO_CAPTIONS
        if captions.fault is not None:
            reading.rejected.append(RejectedFile(item.path, "bad_caption", captions.fault))
        importer.add(path, item.content, captions.text)
        classes[folder] += 1
        splits[item.split] += 1
        captioned += bool(captions.text)
    by_folder: dict[str, str] = {}
    for label, folder in folders.items():
        label = unicodedata.normalize("NFC", label)
        if (same := by_folder.setdefault(folder, label)) != label:
            raise ValueError(f"{source}: the labels {label!r} and {same!r} would share the folder {folder}; rename one")
    return classes, splits, captioned


def _class_folder(item: Item, folders: dict[str, str], rejected: list[RejectedFile]) -> str | None:
    """Return the folder of an item's class, "" without one. If it cannot be a folder, reject the item, return None."""
    if item.label is None:
        return ""
    if item.label not in folders:
        try:
            folders[item.label] = class_folder(item.label)
        except ValueError as error:
            rejected.append(RejectedFile(item.path, "bad_label", str(error)))
            return None
    return folders[item.label]


def _check_all_or_none_labelled(source: str, into: Path, classes: Counter[str], there: Labelled) -> None:
    new = Labelled(classes.total() - classes[""], classes[""], None)
    if not (new.with_class or there.with_class) or not (new.without_class or there.without_class):
        return
    if new.with_class and new.without_class:
        raise ValueError(
            f"{source}: nothing was added: {new.with_class:,} of its images have a class, {new.without_class:,} have "
            "none; give all of them a class, or none (--layout flat)"
        )
    if there.first_without is None:
        raise ValueError(
            f"{source}: nothing was added: its images have no class, but the {there.with_class:,} in {into} have one, "
            "and a dataset cannot have both; put the images into a folder for each class, or add a table of labels "
            "(docs/data.md); if the folder around them is the class: --layout class-folders; to use unlabelled images "
            "only, first remove the others: genai data remove NAME --all"
        )
    name, slash, _ = there.first_without.partition("/")
    how = f"genai data remove {name} --all" if slash else f"delete the images directly in {into}"
    raise ValueError(
        f"{source}: nothing was added: its images have a class, but {there.without_class:,} in {into} have none, first "
        f"{there.first_without}, and a dataset cannot have both; remove those first ({how}), "
        "or add these without class folders or labels"
    )


def _check_rejected_share(source: str, reading: Reading, images: int, max_share: float) -> None:
    rejected = reading.rejected
    total = images + sum(file.reason != "bad_caption" for file in rejected)  # such an image is added, without it
    if not total:
        raise ValueError("\n".join([f"{source}: contains no images", *reading.notes]))
    if images and len(rejected) <= max_share * total:
        return
    by_reason = Counter(file.reason for file in rejected).most_common()
    counts = ", ".join(f"{reason} {count:,}" for reason, count in by_reason)
    first = "".join(f"\n  {file.source}: {file.reason}: {file.detail}" for file in rejected[:10])
    raise ValueError(
        f"{source}: nothing was added: {len(rejected):,} of {total:,} images or labels were rejected, more than "
        f"data.max_rejected_share ({max_share:g}) allows: {counts}; fix them, or raise the limit. The first:{first}"
    )
