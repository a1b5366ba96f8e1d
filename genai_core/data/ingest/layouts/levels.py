"""Take the folders that are no classes out of the paths: wrappers, splits, first letters."""

from dataclasses import replace

from genai_core.data.ingest.layouts.split_folders import Parts, SplitLevel, find_split_level
from genai_core.data.ingest.layouts.tree import Tree
from genai_core.data.ingest.readers.items import split_of


def strip_wrappers(tree: Tree, *, keep_last: bool, keep_splits: bool) -> str | None:
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


def take_splits(tree: Tree, *, insist: bool) -> SplitLevel | None:
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


def strip_wrappers_of_splits(tree: Tree, *, keep_last: bool) -> None:
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


def strip_letters(tree: Tree) -> None:
    """Keep a and b of a/airfield, a/alley and b/bakery in the names: they only sort the folders below (Places, SUN)."""
    rest = tree.with_rest()
    letters = {folder.first for folder in rest.values()}
    if (
        len(letters) < 2
        or len(rest) < len(tree.folders)
        or any(len(letter) > 1 or not letter.isalpha() for letter in letters)
    ):
        return
    if any(len(folder.left) < 2 or folder.left[1][0].lower() != folder.first.lower() for folder in rest.values()):
        return
    if 2 * sum(folder.left[1][1:2].isalpha() for folder in rest.values()) < len(rest):
        return  # A/A_01, A/A_02, B/B_01: the letters are the classes, and the folders below divide them
    for parts, folder in rest.items():
        tree.folders[parts] = replace(folder, left=folder.left[1:], apart=(*folder.apart, folder.first))
    tree.notes.append(
        f"note: the folders {min(letters)} to {max(letters)} are the first letters of those below them; if they are "
        "the classes, add with --layout class-folders"
    )
