"""Folders of a split: train/hat/1.jpg, hat/test/1.jpg, seg_train/hat/1.jpg, trainA/1.jpg."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from genai_core.data.dataset.dataset import Split
from genai_core.data.ingest.choices import AskError
from genai_core.data.ingest.readers.items import WORDS, split_of

Parts = tuple[str, ...]  # the folders of an image

# What may be added to the word of a split without a meaning of its own.
_EMPTY_WORDS = {"image", "images", "imgs", "img", "set", "data", "dataset", "split", "pictures", "photos", "ing"}


@dataclass(frozen=True)
class SplitLevel:
    """A level of folders that are all splits.

    splits: the split of each folder of this level. rests: what remains of the folder's name, a part of the path:
    ("A",) for trainA, nothing for train.
    """

    depth: int
    splits: dict[str, Split]
    rests: dict[str, Parts]

    @property
    def has_both(self) -> bool:
        return len(set(self.splits.values())) > 1

    @property
    def names(self) -> str:
        return " and ".join(sorted(self.splits))


def find_split_level(images: Mapping[Parts, int]) -> SplitLevel | None:
    """Find the first level at which every folder is a split; None if there is none.

    images: number of images by folder. Raises AskError when both splits are beside folders of neither.
    """
    if not images:
        return None
    for depth in range(min(map(len, images)) + 1):
        at_level = Counter[str]()
        for parts, count in images.items():
            if len(parts) > depth:
                at_level[parts[depth]] += count
        splits = {name: split for name in at_level if (split := split_of(name)) is not None}
        has_all = all(len(parts) > depth for parts in images)
        if splits and len(splits) == len(at_level) and has_all:
            return SplitLevel(depth, splits, dict.fromkeys(splits, ()))
        if len(set(splits.values())) > 1:
            other = next((name for name in sorted(at_level) if name not in splits), None)
            count = at_level[other] if other else sum(n for parts, n in images.items() if len(parts) <= depth)
            what = f"the folder {other}" if other else "no such folder"
            raise AskError(_ask(splits, what, count))
        if depth == 0 and has_all and (level := _compound(at_level)) is not None:
            return level
        if depth == 0 and (partly := _with_one_rest(at_level)):
            other = next(name for name in sorted(at_level) if name not in partly)
            raise AskError(_ask(partly, f"the folder {other}", at_level[other]))
        if depth == 0 and (alike := _without_a_split(at_level)) is not None:
            raise AskError(
                f"{alike[0]} is named like a split, and {alike[1]} beside it like all images; rename {alike[1]} to "
                "what it is for (train, test), or take these folders as classes: --no-split"
            )
    return None


def _ask(splits: Collection[str], what: str, count: int) -> str:
    return (
        f"beside the split folders {', '.join(sorted(splits))} there is {what} for {count:,} images, which belong to "
        "no split; move them away, or take all these folders as classes: --no-split"
    )


def _with_one_rest(names: Collection[str]) -> list[str]:
    """Return the split folders among others: seg_train and seg_test beside seg_pred, but not test_tube beside car."""
    found = [name for name in names if len({*map(split_of, WORDS.findall(name))} - {None}) == 1]
    level = _compound(found) if len(found) < len(names) else None
    return found if level is not None and not any(level.rests.values()) else []


def _without_a_split(names: Collection[str]) -> tuple[str, str] | None:
    """Return val_256 and data_256, or test and images: a split, and a folder beside it that only says data."""
    rests: dict[bool, dict[tuple[str, ...], str]] = {True: {}, False: {}}
    for name in names:
        words = [word.lower() for word in WORDS.findall(name)]
        splits = [word for word in words if split_of(word)]
        rest = tuple(word for word in words if word not in splits and word not in _EMPTY_WORDS)
        if len(splits) == 1 or (not splits and len(rest) < len(words)):
            rests[bool(splits)][rest] = name
    found = (rest for rest in rests[True] if rest in rests[False])
    return next(((rests[True][rest], rests[False][rest]) for rest in found), None)


def _compound(names: Collection[str]) -> SplitLevel | None:
    """Return the level if each name has one word of a split in it, and both splits occur."""
    splits: dict[str, Split] = {}
    rests: dict[str, Parts] = {}
    for name in names:
        words = WORDS.findall(name)
        found = {word: split for word in words if (split := split_of(word)) is not None}
        if len(found) != 1:
            return None
        [(word, splits[name])] = found.items()
        rests[name] = tuple(other for other in words if other != word and other.lower() not in _EMPTY_WORDS)
    if len(set(splits.values())) < 2:
        return None
    # trainA, trainB, testA, testB: the rest has a meaning, if each split has the same ones.
    by_split = {split: {rests[name] for name in names if splits[name] == split} for split in splits.values()}
    if len(set(rests.values())) > 1 and () not in rests.values() and by_split["train"] == by_split["test"]:
        return SplitLevel(0, splits, {name: ("-".join(rest),) for name, rest in rests.items()})
    # train_images and test_images; train2017, val2014.
    if len(set(rests.values())) == 1 or all(all(map(str.isdecimal, rest)) for rest in rests.values()):
        return SplitLevel(0, splits, dict.fromkeys(names, ()))
    return None
