"""Decide what the first folders are, after wrappers and splits: classes, storage, or nothing."""

from genai_core.data.ingest.layouts.file_names import are_counted, name_labels
from genai_core.data.ingest.layouts.pairs import paired_folders
from genai_core.data.ingest.layouts.storage_folders import have_usual_names, may_be_classes, storage_kind
from genai_core.data.ingest.layouts.tree import Tree

# Fewer images are too few to tell folders of single images from small classes.
_FEWEST_TO_JUDGE = 8
_SHOWN_FOLDERS = 3
# Thousands of folders with so few images each are rather persons, products or recordings than classes.
_MANY_CLASSES, _FEW_IMAGES = 1_000, 5


def kind_of(tree: Tree) -> str:
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
        if have_usual_names(by_first):
            tree.doubt = (
                f"the folders {', '.join(sorted(by_first))} may be those of a phone, or classes; choose --layout flat "
                "if they only store images, or --layout class-folders if they are classes"
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


def _judge_names(tree: Tree) -> None:
    """Ask, or only say, that file names may hold classes. They are not taken: photographs have such names too."""
    names = [name for found in tree.files.values() for name in found]
    if not (counts := name_labels(names)):
        return
    first = ", ".join(f"{label} {count:,}" for label, count in counts.most_common(_SHOWN_FOLDERS))
    begin = f"the file names begin with {len(counts):,} words ({first}{' ...' if len(counts) > _SHOWN_FOLDERS else ''})"
    note = f"note: {begin}; if these are classes, add with --layout file-names"
    if are_counted(names, counts):
        tree.doubt = f"{begin}; choose --layout file-names if these are classes, --layout flat if not"
        tree.doubt_with_captions = note
    else:
        tree.class_notes.append(note)
