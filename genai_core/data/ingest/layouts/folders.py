"""Class, split and name of each image, from its folders alone."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from genai_core.data.dataset.dataset import Split
from genai_core.data.ingest.choices import BELOW_OTHERS
from genai_core.data.ingest.layouts.file_names import are_counted, name_label, name_labels
from genai_core.data.ingest.layouts.pairs import paired_folders
from genai_core.data.ingest.layouts.split_folders import Parts, SplitLevel, find_split_level
from genai_core.data.ingest.layouts.storage_folders import may_be_classes, storage_kind
from genai_core.data.ingest.readers.items import split_of

# Fewer images are too few to tell folders of single images from small classes.
_FEWEST_TO_JUDGE = 8
_SHOWN_FOLDERS = 3
# Thousands of folders with so few images each are rather persons, products or recordings than classes.
_MANY_CLASSES, _FEW_IMAGES = 1_000, 5
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
    classes, which nobody needs if they are from a table. doubt: why the
    folders can hardly be classes, or may be although they look like storage, with the option that decides.
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


@dataclass(frozen=True)
class _Folder:
    """A folder with images, while its path is taken apart. left: its folders without meaning so far."""

    left: Parts
    split: Split | None = None
    split_name: str = ""
    apart: Parts = ()  # folders that only keep names apart

    @property
    def first(self) -> str:
        return self.left[0] if self.left else ""


@dataclass
class _Tree:
    files: dict[Parts, list[str]]  # names of the images, by folder
    folders: dict[Parts, _Folder]
    notes: list[str] = field(default_factory=list)
    class_notes: list[str] = field(default_factory=list)
    doubt: str = ""

    def with_rest(self) -> dict[Parts, _Folder]:
        """Return the folders that still have a part of their path; the others' images are beside them."""
        return {parts: folder for parts, folder in self.folders.items() if folder.left}


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
    tree = _Tree(files, {parts: _Folder(parts) for parts in files})
    keep_last = layout in ("class-folders", "leaf-folders")
    wrapper = _strip_wrappers(tree, keep_last=keep_last, keep_splits=split is True)
    level = None if split is False else _take_splits(tree, insist=split is True)
    if level is not None and not any(level.rests.values()):
        _strip_wrappers_of_splits(tree, keep_last=keep_last)
    if not keep_last:
        _strip_letters(tree)
    named = [part for part in (wrapper or "").split("/") if split_of(part)]
    if level is None and split is None and named:
        tree.notes.append(f"note: all images are in {named[0]}/; without another split, their content decides it")
    kind = layout if layout in ("flat", *_LABELS) else _kind(tree)
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
    )


def _splits_from(level: SplitLevel) -> str:
    return f"the folders {level.names}" + (f" {BELOW_OTHERS}" if level.depth else "")


def _strip_wrappers(tree: _Tree, *, keep_last: bool, keep_splits: bool) -> str | None:
    """Remove the folders around everything. keep_last: the innermost one is a class; keep_splits: train/ is none."""
    stripped: list[str] = []
    while rest := tree.with_rest():
        firsts = {folder.first for folder in rest.values()}
        has_others = len(rest) < len(tree.folders)  # images beside these folders
        if len(firsts) > 1 or (keep_splits and any(map(split_of, firsts))):
            break
        if keep_last and (has_others or all(len(folder.left) == 1 for folder in rest.values())):
            break
        for parts, folder in rest.items():
            # A folder beside images is not around everything: it keeps names apart.
            apart = (*folder.apart, folder.first) if has_others else folder.apart
            tree.folders[parts] = replace(folder, left=folder.left[1:], apart=apart)
        stripped += [] if has_others else firsts
    return "/".join(stripped) or None


def _take_splits(tree: _Tree, *, insist: bool) -> SplitLevel | None:
    """Assign the splits of the first level of split folders, and remove it from the paths.

    A level with one split only is no split, unless the user insists; at the top, it is no class either.
    """
    rest = tree.with_rest()
    counts: dict[Parts, int] = {}
    for parts, folder in rest.items():
        counts[folder.left] = counts.get(folder.left, 0) + len(tree.files[parts])
    level = find_split_level(counts)
    if level is None or (not level.has_both and not insist and level.depth > 0):
        return None
    several = len(level.splits) > len(set(level.splits.values()))
    for parts, folder in rest.items():
        name = folder.left[level.depth]
        tree.folders[parts] = replace(
            folder,
            left=(*folder.left[: level.depth], *level.rests[name], *folder.left[level.depth + 1 :]),
            split=level.splits[name] if level.has_both or insist else None,
            split_name=name,
            # hat/val/1.png and hat/test/1.png are both held out.
            apart=(*folder.apart, name) if several and not level.rests[name] else folder.apart,
        )
    if not level.has_both and not insist:
        [only] = set(level.splits.values())
        what = "training" if only == "train" else "testing"
        tree.notes.append(
            f"note: {level.names} are all for {what}; without another split, the images' content decides it"
        )
    return level


def _strip_wrappers_of_splits(tree: _Tree, *, keep_last: bool) -> None:
    """Remove seg_train/ and seg_test/ from train/seg_train/hat and test/seg_test/hat, in all split folders alike."""
    while True:
        folders = {parts: folder for parts, folder in tree.folders.items() if folder.split_name}
        firsts: dict[str, set[str]] = {}
        for folder in folders.values():
            firsts.setdefault(folder.split_name, set()).add(folder.first)
        if any(len(found) > 1 or found == {""} for found in firsts.values()):
            return
        if keep_last and all(len(folder.left) == 1 for folder in folders.values()):
            return
        for parts, folder in folders.items():
            tree.folders[parts] = replace(folder, left=folder.left[1:])


def _strip_letters(tree: _Tree) -> None:
    """Keep a and b of a/airfield, a/alley and b/bakery in the names: they only sort the folders below (Places, SUN)."""
    rest = tree.with_rest()
    letters = {folder.first for folder in rest.values()}
    if len(letters) < 2 or len(rest) < len(tree.folders) or any(len(letter) > 1 for letter in letters):
        return
    if any(len(folder.left) < 2 or folder.left[1][0].lower() != folder.first.lower() for folder in rest.values()):
        return
    for parts, folder in rest.items():
        tree.folders[parts] = replace(folder, left=folder.left[1:], apart=(*folder.apart, folder.first))
    tree.notes.append(f"note: the folders {min(letters)} to {max(letters)} are the first letters of those below them")


def _unlabelled(tree: _Tree, kind: str) -> dict[str, tuple[str, ...]]:
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


def _kind(tree: _Tree) -> str:
    """Decide between flat, shards and class folders."""
    by_first: dict[str, list[str]] = {}
    for parts, folder in tree.with_rest().items():
        by_first.setdefault(folder.first, []).extend(tree.files[parts])
    if not by_first:
        _judge_names(tree)
        return "flat"
    if storage := storage_kind(by_first):
        if may_be_classes(by_first):
            tree.doubt = (
                f"the folders {min(by_first)} to {max(by_first)} have {len(by_first[min(by_first)]):,} images each, "
                "whose numbers run on from one to the next; choose --layout flat if they are parts of one set, or "
                "--layout class-folders if they are classes"
            )
        tree.class_notes.append(
            f"note: the folders {min(by_first)} to {max(by_first)} were taken as {storage}, not as classes; if they "
            "are classes, add with --layout class-folders"
        )
        return "storage"
    total = sum(map(len, by_first.values()))
    are_many = len(by_first) > _MANY_CLASSES and total < _FEW_IMAGES * len(by_first)
    if are_many or (total >= _FEWEST_TO_JUDGE and len(by_first) > 0.9 * total):
        tree.doubt = (
            f"{len(by_first):,} folders for {total:,} images are hardly classes; choose --layout flat (no classes) or "
            "--layout class-folders"
        )
    if pair := paired_folders(by_first):
        tree.doubt = (
            f"the images in {pair[0]} and {pair[1]} have the same names, so they may show the same pictures; add only "
            "one of these folders, or choose --layout class-folders if they are classes, --layout flat if not"
        )
    deeper = sorted({folder.left[-1] for folder in tree.folders.values() if len(folder.left) > 1})
    if len(deeper) > 1:
        shown = ", ".join(deeper[:_SHOWN_FOLDERS]) + (" ..." if len(deeper) > _SHOWN_FOLDERS else "")
        tree.class_notes.append(
            f"note: the first folder is the class; deeper ones ({shown}) stay in the names; if the last one is the "
            "class, add with --layout leaf-folders"
        )
    return "class-folders"


def _layout(kind: str, *, has_classes: bool) -> str:
    if kind == "file-names":
        return "classes in file names"
    if has_classes:
        return "class folders"
    return "images in folders that are no classes" if kind == "storage" else "images without class folders"


def _judge_names(tree: _Tree) -> None:
    """Ask, or only say, that file names may hold classes. They are not taken: photographs have such names too."""
    names = [name for found in tree.files.values() for name in found]
    if not (counts := name_labels(names)):
        return
    first = ", ".join(f"{label} {count:,}" for label, count in counts.most_common(_SHOWN_FOLDERS))
    begin = f"the file names begin with {len(counts):,} words ({first}{' ...' if len(counts) > _SHOWN_FOLDERS else ''})"
    if are_counted(names, counts):
        tree.doubt = f"{begin}; choose --layout file-names if these are classes, --layout flat if not"
    else:
        tree.class_notes.append(f"note: {begin}; if these are classes, add with --layout file-names")


def _places(tree: _Tree, kind: str) -> dict[str, Place]:
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
