"""Class, split and captions of each image, from its folders and from annotation files together."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from genai_core.counted import counted
from genai_core.data.dataset.dataset import Split
from genai_core.data.ingest.annotations.annotations import Annotations
from genai_core.data.ingest.choices import AskError, Choices, giving_up_split
from genai_core.data.ingest.layouts.folders import FolderLayout, Place
from genai_core.data.ingest.names import class_folder
from genai_core.data.ingest.readers.items import Understood
from genai_core.data.raw.formats import RejectedFile

_OVERSIGHT_SHARE = 0.2
_BESIDE = "not in a class folder, but next to them (--layout flat ignores the folders)"
UNLABELLED = "images without a class, beside others with one"


@dataclass(frozen=True)
class Entry:
    """An image to add; path: in the source, name: below its class."""

    path: str
    name: str
    label: str | None
    split: Split | None
    captions: tuple[str, ...]


@dataclass
class Combined:
    entries: list[Entry] = field(default_factory=list)
    rejected: list[RejectedFile] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    understood: Understood = field(default_factory=Understood)


def combine(
    images: Sequence[str], folders: FolderLayout, annotations: Annotations | None, choices: Choices
) -> Combined:
    """Join what folders and annotation files say. Raises AskError, one sentence, if they contradict each other."""
    said = annotations or Annotations("")
    from_files = bool(said.labels) and not (folders.labels and _folders_win(folders, said))
    if folders.doubt and not from_files and choices.layout is None:
        raise AskError(folders.doubt)
    combined = Combined(rejected=[*said.rejected], notes=[*folders.notes, *said.notes])
    combined.notes[:0] = [] if from_files else folders.class_notes
    if not from_files:
        _ask_about_foreign_labels(folders, said)
    dropped = _unlabelled(images, folders, said, from_files=from_files)
    for where, paths in dropped.items():
        combined.left_out[UNLABELLED] = combined.left_out.get(UNLABELLED, 0) + len(paths)
        combined.notes.append(f"note: {where} has no classes and was left out ({counted(len(paths), 'image')})")
    unlabelled = {path for paths in folders.unlabelled.values() for path in paths} if folders.labels else set()
    gone = {path for paths in dropped.values() for path in paths}
    has_labels = from_files or bool(folders.labels)
    labels_from = said.labels_from if from_files else folders.labels
    splits_from = " and ".join(filter(None, [folders.splits, said.splits_from]))
    no_split = giving_up_split(splits_from, labels_from)
    for path in images:
        if path in gone:
            continue
        place = folders.places[path]
        split = _split(path, place, said, no_split)
        # val_annotations.txt beside train/hat
        label = place.label if path not in unlabelled else _as_folder(said.labels[path][0])
        if from_files:
            labels = said.labels.get(path, ())
            if len(labels) != 1:
                combined.rejected.append(_no_single_label(path, labels, said))
                continue
            label = labels[0]
        elif has_labels and label is None:
            combined.rejected.append(RejectedFile(path, "no_label", _why_unlabelled(choices)))
            continue
        # Folders that turned out to be no classes keep names apart.
        name = f"{place.label}/{place.name}" if from_files and place.label is not None else place.name
        combined.entries.append(Entry(path, name, label, split, said.captions.get(path, ())))
    if choices.layout is None:
        _ask_about_rejected(combined.rejected, len(images), said)
    splits_from = _settle_splits(combined, splits_from, no_split, choices)
    captioned = sum(bool(entry.captions) for entry in combined.entries)
    combined.understood = Understood(
        layout=said.layout if said.layout and (from_files or not folders.labels) else folders.layout,
        labels=labels_from,
        split=splits_from,
        captions=said.captions_from if captioned else "",
    )
    return combined


def _folders_win(folders: FolderLayout, said: Annotations) -> bool:
    """Whether the class folders count and not the labels of a file. Raises AskError when the user has to choose."""
    without = {path for paths in folders.unlabelled.values() for path in paths}
    both = [
        (place.label, _as_folder(said.labels[path][0]), path)
        for path, place in folders.places.items()
        if place.label is not None and path not in without and len(said.labels.get(path, ())) == 1
    ]
    differing = [path for folder, label, path in both if folder != label]
    if not differing:
        return True
    names = {(folder, label) for folder, label, _ in both}
    is_renaming = len(names) == len({folder for folder, _ in names}) == len({label for _, label in names})
    if is_renaming:  # names say more than numbers
        return not said.overrides or all(label.isdecimal() for _, label in names)
    if said.overrides and said.is_chosen:
        return False
    folder_names, label_names = {folder for folder, _ in names}, {label for _, label in names}
    first = differing[0]
    if folder_names & label_names:
        raise AskError(
            f"{said.labels_from} says {said.labels[first][0]} for {first}, and {len(differing):,} of {len(both):,} "
            "labels differ from the class folders; choose --layout table or --layout class-folders"
        )
    if said.overrides:
        return False
    raise AskError(
        f"the classes may be the folders ({_some(folder_names)}) or {said.labels_from} ({_some(label_names)}); choose "
        "--layout class-folders or --layout table"
    )


def _ask_about_foreign_labels(folders: FolderLayout, said: Annotations) -> None:
    """Raise AskError if a table gives images beside class folders labels that are no class: numbers beside names."""
    without = {path for paths in folders.unlabelled.values() for path in paths} if folders.labels else set()
    classes = {place.label for path, place in folders.places.items() if path not in without}
    labels = {_as_folder(label) for path in without for label in said.labels.get(path, ())}
    if foreign := labels - classes:
        first = next(path for path in sorted(without) if not foreign.isdisjoint(map(_as_folder, said.labels[path])))
        raise AskError(
            f"{said.labels_in} says {said.labels[first][0]} for {first}, which is no class of the folders "
            f"({_some({label for label in classes if label is not None})}); write these names into the table, or "
            "choose --layout class-folders to leave these images out"
        )


def _unlabelled(
    images: Sequence[str], folders: FolderLayout, said: Annotations, *, from_files: bool
) -> dict[str, Sequence[str]]:
    """Return the images that have no class because none of their kind has: a competition's test images."""
    if not from_files:
        without = folders.unlabelled if folders.labels else {}
        still = {
            where: [path for path in paths if len(said.labels.get(path, ())) != 1] for where, paths in without.items()
        }
        return {where: paths for where, paths in still.items() if paths}
    dropped: dict[str, Sequence[str]] = {}
    if said.unlabelled:
        dropped["the part whose table has no labels"] = sorted(said.unlabelled)
    in_split = Counter(folders.places[path].split for path in images)
    with_label = Counter(folders.places[path].split for path in images if said.labels.get(path))
    for split, count in in_split.items():
        paths = [path for path in images if folders.places[path].split == split and path not in said.unlabelled]
        if split is not None and count and not with_label[split] and with_label.total() and paths:
            dropped[f"the split {split}"] = paths
    return dropped


def _split(path: str, place: Place, said: Annotations, no_split: str) -> Split | None:
    splits = set(said.splits.get(path, ()))
    if place.split is not None:
        splits.add(place.split)
    if len(splits) > 1:
        raise AskError(
            f"{path} is for training and for testing, by its folder or by {said.splits_from}; correct it, or give "
            f"the split up: {no_split}"
        )
    return next(iter(splits), None)


def _settle_splits(combined: Combined, where: str, no_split: str, choices: Choices) -> str:
    """Keep the split if every image has one and both occur, and return where it is from; forget one that is alone."""
    counts = Counter(entry.split for entry in combined.entries)
    if len(counts.keys() - {None}) == 2:
        if counts[None]:
            first = next(entry.path for entry in combined.entries if entry.split is None)
            raise AskError(
                f"{counts[None]:,} of {counts.total():,} images, first {first}, have no split in {where}; give them "
                f"one, or give the split up: {no_split}"
            )
        return where
    if choices.split is None and counts.keys() - {None}:
        [only] = counts.keys() - {None}
        combined.entries = [Entry(one.path, one.name, one.label, None, one.captions) for one in combined.entries]
        combined.notes.append(f"note: all images that are left are for {only}, so their content decides the split")
    return ""


def _no_single_label(path: str, labels: Sequence[str], said: Annotations) -> RejectedFile:
    if labels:
        return RejectedFile(path, "two_labels", f"{said.labels_in} says {' and '.join(sorted(labels))}")
    why = "an empty label" if path in said.labels else "no row for it"
    return RejectedFile(path, "no_label", f"{said.labels_in} has {why}")


def _ask_about_rejected(rejected: Sequence[RejectedFile], total: int, said: Annotations) -> None:
    """Raise AskError if so many images are beside class folders, or have two labels, that it is no oversight."""
    beside = [file.source for file in rejected if file.detail == _BESIDE]
    if len(beside) > _OVERSIGHT_SHARE * total:
        raise AskError(
            f"{len(beside):,} of {total:,} images, first {beside[0]}, are beside the class folders and not in one; "
            "choose --layout flat (all without classes), or move them into a folder of a class, or away"
        )
    several = [file.source for file in rejected if file.reason == "two_labels"]
    if len(several) > _OVERSIGHT_SHARE * total:
        raise AskError(
            f"{len(several):,} of {total:,} images, first {several[0]}, have several labels in {said.labels_in}; "
            "choose --layout flat (no classes), or write one for each into labels.csv"
        )


def _why_unlabelled(choices: Choices) -> str:
    if choices.layout == "file-names":
        return "no word before a number in its name"
    return _BESIDE


def _as_folder(label: str) -> str:
    try:
        return class_folder(label)
    except ValueError:
        return label


def _some(names: set[str]) -> str:
    return ", ".join(sorted(names)[:2]) + (" ..." if len(names) > 2 else "")
