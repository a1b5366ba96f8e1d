"""A folder of image files: one folder per class, or flat with a table of labels, or flat without labels."""

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from genai_core.data.dataset.dataset import Split
from genai_core.data.ingest.readers.items import Item, Reading, join_readings, split_of
from genai_core.data.ingest.readers.label_table import find_table, match_rows, read_table
from genai_core.data.raw.formats import RejectedFile
from genai_core.data.raw.rules import find_images, is_hidden


def read_image_folder(folder: Path, *, split_from_folders: bool) -> Reading:
    """Read every image file below `folder`. split_from_folders: folders train/ and test/ are splits, not classes.

    Raises ValueError or NotADirectoryError when there is nothing to read, or when the layout is ambiguous.
    """
    found = find_images(folder)
    wrapper = _wrapper(found.files)
    root = folder / wrapper if wrapper else folder
    files = [path.removeprefix(f"{wrapper}/") if wrapper else path for path in found.files]
    splits = _split_folders(folder, files) if split_from_folders else {}
    if splits:
        # Paths become hat/1.png for train/hat/1.png; hat/val/1.png where test/ and val/ are both held out.
        several = len(splits) > len(set(splits.values()))
        parts = [
            _read_part(root, [path for path in files if path.startswith(f"{top}/")], top, split, apart=several)
            for top, split in splits.items()
        ]
        reading = join_readings(parts)
    else:
        reading = _read_part(root, files, "", None, apart=False)
    reading.skipped = {**found.skipped}
    reading.bad_names = found.bad_names
    reading.wrapper = wrapper
    tops = {path.split("/", 1)[0] for path in files if "/" in path}
    if empty := sorted(_folders(root) - tops) if tops else []:
        reading.notes.append(f"note: no images in the folders {', '.join(empty)}")
    if not split_from_folders and tops and all(map(split_of, tops)):
        named = " and ".join(sorted(tops))
        reading.notes.append(
            f"note: {named} were taken as classes; if they are splits of one dataset, add it with --split-from-folders"
        )
    return reading


def _folders(root: Path) -> set[str]:
    return {entry.name for entry in root.iterdir() if entry.is_dir() and not is_hidden(entry.name)}


def _read_part(root: Path, files: Sequence[str], top: str, split: Split | None, *, apart: bool) -> Reading:
    """Read the images of one split, those below the folder `top`; apart: keep `top` in their names."""
    below = f"{top}/" if top else ""
    table = _table(root, files, top)
    rejected: list[RejectedFile] = []
    items: list[Item] = []
    if table:
        labelled, rejected = match_rows(table, read_table(table), files)
        inner = _common_folder(files)
        for path, claim in labelled.items():
            rest = path.removeprefix(inner)
            name = f"{top}/{rest}" if apart else rest
            items.append(Item(name, claim.label, split or claim.split, root / path))
        return Reading(items, len(items), rejected, notes=[f"labels: {table.relative_to(root)}"])
    with_class = [path for path in files if "/" in path.removeprefix(below)]
    for path in files:
        label, slash, rest = path.removeprefix(below).partition("/")
        if not slash and with_class:
            rejected.append(RejectedFile(path, "no_label", "not in a class folder, but next to them"))
            continue
        name = rest if slash else label
        items.append(Item(f"{top}/{name}" if apart else name, label if slash else None, split, root / path))
    return Reading(items, len(items), rejected)


def _table(root: Path, files: Sequence[str], top: str) -> Path | None:
    """Find the table of labels: next to the images if they are in one folder, or in a folder above them."""
    if not files:
        return None
    inner = _common_folder(files)
    is_flat = all("/" not in path.removeprefix(inner) for path in files)
    for folder in _upwards(inner if is_flat else top):
        if table := find_table(root / folder, is_flat=is_flat):
            return table
    return None


def _upwards(folder: str) -> Iterator[str]:
    path = PurePosixPath(folder)
    yield from (str(above) for above in (path, *path.parents))


def _common_folder(files: Sequence[str]) -> str:
    """Return the deepest folder that contains all files, with its slash; empty for the root."""
    parents = {path.rpartition("/")[0] for path in files}
    first = min(parents, key=len)
    while first and not all(parent == first or parent.startswith(f"{first}/") for parent in parents):
        first = first.rpartition("/")[0]
    return f"{first}/" if first else ""


def _split_folders(folder: Path, files: Sequence[str]) -> dict[str, Split]:
    """Return the folders train, test ... with their splits, if any. Raises ValueError if there are other folders."""
    tops = sorted({path.split("/", 1)[0] for path in files if "/" in path})
    splits = {top: split for top in tops if (split := split_of(top)) is not None}
    others = [top for top in tops if top not in splits] + [path for path in files if "/" not in path]
    if splits and others:
        raise ValueError(
            f"{folder}: next to {', '.join(splits)} there is {others[0]} ({len(others):,} in all), which belongs to no "
            "split; move it, or add without --split-from-folders"
        )
    return splits


def _wrapper(files: Sequence[str]) -> str | None:
    """Return the single folder around everything, if it has subfolders: photos/shirt/1.jpg, photos/hat/2.jpg."""
    tops = {path.split("/", 1)[0] for path in files}
    return tops.pop() if len(tops) == 1 and all(path.count("/") >= 2 for path in files) else None
