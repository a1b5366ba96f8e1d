"""Class, split and name of each image, from its folders alone."""

from collections.abc import Sequence
from dataclasses import dataclass

from genai_core.data.dataset.dataset import Split
from genai_core.data.ingest.choices import BELOW_OTHERS
from genai_core.data.ingest.layouts.file_names import name_label
from genai_core.data.ingest.layouts.kind import kind_of
from genai_core.data.ingest.layouts.levels import strip_letters, strip_wrappers, strip_wrappers_of_splits, take_splits
from genai_core.data.ingest.layouts.split_folders import Parts, SplitLevel
from genai_core.data.ingest.layouts.tree import Folder, Tree
from genai_core.data.ingest.readers.items import split_of

_LABELS = {
    "class-folders": "the folders",
    "leaf-folders": "the last folders",
    "file-names": "the words before the numbers in the files' names",
}


@dataclass(frozen=True)
class Place:
    """name: the image's path below its class, with what keeps it apart from others."""

    name: str
    label: str | None
    split: Split | None


@dataclass(frozen=True)
class FolderLayout:
    """What the folders mean. places: by the image's path in the source.

    wrapper: the folders around everything. labels, splits: where they are from, to show; empty: there are none.
    unlabelled: the images of split folders without classes, beside others with classes; by folder. class_notes: about
    classes, which nobody needs if they are from a table. doubt: why the folders can hardly be classes, or may be
    although they look like storage, with the option that decides; empty if there is none. doubt_with_captions: a note
    that takes the place of the doubt where the images have captions; empty if the doubt stays.
    """

    places: dict[str, Place]
    wrapper: str | None
    layout: str
    labels: str
    splits: str
    unlabelled: dict[str, tuple[str, ...]]
    notes: tuple[str, ...]
    class_notes: tuple[str, ...]
    doubt: str
    doubt_with_captions: str


def folder_layout(images: Sequence[str], *, split: bool | None = None, layout: str | None = None) -> FolderLayout:
    """Decide what each folder is: a wrapper, a split, a class, or a part of the name.

    images: paths with "/". split: True insists on split folders, False takes them as classes, None takes them as splits
    if both splits occur. layout: flat, class-folders, leaf-folders or file-names; None or another one: decided here.
    Raises AskError, one sentence without the source's name, if only some folders are splits.
    """
    files: dict[Parts, list[str]] = {}
    for path in images:
        *parts, name = path.split("/")
        files.setdefault(tuple(parts), []).append(name)
    tree = Tree(files, {parts: Folder(parts) for parts in files})
    keep_last = layout in ("class-folders", "leaf-folders")
    wrapper = strip_wrappers(tree, keep_last=keep_last, keep_splits=split is True)
    level = None if split is False else take_splits(tree, insist=split is True)
    if level is not None and not any(level.rests.values()):
        strip_wrappers_of_splits(tree, keep_last=keep_last)
    if not keep_last:
        strip_letters(tree)
    named = [part for part in (wrapper or "").split("/") if split_of(part)]
    if level is None and split is None and named:
        tree.notes.append(f"note: all images are in {named[0]}/; without another split, their content decides it")
    kind = layout if layout in ("flat", *_LABELS) else kind_of(tree)
    has_classes = kind == "file-names" or (kind in _LABELS and bool(tree.with_rest()))
    has_splits = level is not None and (level.has_both or split is True)
    return FolderLayout(
        places=_places(tree, kind if has_classes else "flat"),
        wrapper=wrapper,
        layout=_layout(kind, has_classes=has_classes),
        labels=_LABELS[kind] if has_classes else "",
        splits=_splits_from(level) if level is not None and has_splits else "",
        unlabelled=_unlabelled(tree, kind) if has_classes and has_splits else {},
        notes=tuple(tree.notes),
        class_notes=tuple(tree.class_notes),
        doubt=tree.doubt,
        doubt_with_captions=tree.doubt_with_captions,
    )


def _splits_from(level: SplitLevel) -> str:
    return f"the folders {level.names}" + (f" {BELOW_OTHERS}" if level.depth else "")


def _unlabelled(tree: Tree, kind: str) -> dict[str, tuple[str, ...]]:
    """Return the images of split folders that have no classes, where others have: a competition's test images.

    Such a folder has images directly in it, or in one folder that is no class elsewhere: test/1.jpg, test/new/1.jpg.
    """
    classes: dict[str, set[str]] = {}
    for parts, folder in tree.folders.items():
        if folder.split_name:
            named = kind == "file-names"
            found_here = {name_label(name) or "" for name in tree.files[parts]} if named else {folder.first}
            classes.setdefault(folder.split_name, set()).update(found_here)
    known = {name for found in classes.values() if len(found) > 1 for name in found} - {""}
    without = {split_name for split_name, found in classes.items() if len(found) == 1 and not found & known}
    found: dict[str, list[str]] = {}
    for parts, folder in tree.folders.items():
        if known and folder.split_name in without:
            found.setdefault(folder.split_name, []).extend("/".join((*parts, name)) for name in tree.files[parts])
    return {split_name: tuple(paths) for split_name, paths in sorted(found.items())}


def _layout(kind: str, *, has_classes: bool) -> str:
    if kind == "file-names":
        return "classes in file names"
    if has_classes:
        return "class folders"
    return "images in folders that are no classes" if kind == "storage" else "images without class folders"


def _places(tree: Tree, kind: str) -> dict[str, Place]:
    places = {}
    for parts, folder in tree.folders.items():
        label, names = None, folder.left
        if kind in ("class-folders", "leaf-folders") and folder.left:
            at = 0 if kind == "class-folders" else len(folder.left) - 1
            label, names = folder.left[at], (*folder.left[:at], *folder.left[at + 1 :])
        above = "".join(f"{name}/" for name in parts)
        below = "".join(f"{name}/" for name in (*folder.apart, *names))
        for name in tree.files[parts]:
            word = name_label(name) if kind == "file-names" else label
            places[above + name] = Place(below + name, word, folder.split)
    return places
