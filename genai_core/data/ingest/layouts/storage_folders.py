"""Folders that only divide many files, and are no classes: shards, hash prefixes, dates, a camera's folders."""

import re
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise

_SIZES = (100, 1_000, 10_000, 100_000)  # of a full shard, where files are missing
_SPARE_DIGITS = 2  # more than their number needs: of shards, not of classes
_MODULI = (100, 1_000, 10_000)
_LAST_NUMBER = re.compile(r"(\d+)\D*$")
_WORDNET_ID = re.compile(r"n\d{8}")  # ImageNet's classes
_HEX = re.compile(r"[0-9a-f]{8,}", re.IGNORECASE)
# Google Photos' export, in any language: Photos from 2019, Fotos von 2019. Albums are beside them.
_YEAR_OF_PHOTOS = re.compile(r"(photos?|fotos?|foto's) [^\W\d_]+ (19|20)\d\d", re.IGNORECASE)
_DATE = re.compile(r"(photos from )?(19|20)\d\d([-_. ]?\d\d){0,2}", re.IGNORECASE)
_PART = re.compile(
    r"(?P<stem>.*(part|batch|chunk|shard|images?|imgs?|folder|dir|volume|vol|disc|archive|zip)[ ._-]*)\d+( of \d+)?",
    re.IGNORECASE,
)
# Of phones, programs and messengers, each for photographs of any kind.
_DEVICES = {
    *("camera", "camera roll", "saved pictures", "screenshots", "screen recordings", "pictures", "dcim", "100andro"),
    *("download", "downloads", "bluetooth", "instagram", "facebook", "messenger", "snapchat", "telegram", "viber"),
    *("whatsapp", "whatsapp images", "sent", "private", "restored", "panoramas", "selfies", "bursts", "edited"),
}
_FEW_FOLDERS = 3
_NO_KINDS = {  # of pictures, so that they are no classes in any dataset
    *("dcim", "camera", "camera roll", "100andro", "saved pictures", "download", "downloads", "bluetooth"),
    *("sent", "private", "restored"),
}
_CAMERA = re.compile(r"\d{3}[A-Z0-9_]{5}")  # 100CANON, 101APPLE (DCF, JEITA CP-3461)


def storage_kind(files: Mapping[str, Sequence[str]]) -> str:
    """Return what kind of storage folders these are, to show; empty if they are none. files: names per folder.

    Numbered folders are shards only if the files' numbers fit. Classes begin anew in each folder (GTSRB:
    00000/00000_00000.ppm, 00001/00000_00000.ppm), or have the numbers of the whole dataset mixed.
    """
    if len(files) < 2:
        return ""
    if all(map(_DATE.fullmatch, files)):
        return "dates"
    if _DEVICES.issuperset(map(str.lower, files)):
        return "folders of phones and programs"
    if any(map(_YEAR_OF_PHOTOS.fullmatch, files)):
        return "years and albums of a photo library"
    if all(map(_CAMERA.fullmatch, files)):
        return "a camera's folders"
    parts = [match["stem"] for folder in files if (match := _PART.fullmatch(folder))]
    if len(parts) == len(files) and len(set(parts)) == 1:
        return "numbered parts"  # images_001 to images_012, HAM10000_images_part_1 and part_2
    if _are_hash_prefixes(files):
        return "the first letters of the names"
    widths = {len(folder) for folder in files}
    is_padded = any(folder.startswith("0") for folder in files)
    if len(widths) > 1 or widths == {1} or not is_padded or not all(map(str.isdecimal, files)):
        return ""
    numbers = {folder: _numbers(names) for folder, names in sorted(files.items())}
    if any(len(found) < len(files[folder]) for folder, found in numbers.items()):
        return ""
    if _are_parts([*numbers.values()]):
        return "numbered parts of one sequence"
    pairs = [(int(folder), number) for folder, found in numbers.items() for number in found]
    # Danbooru has number % 1000 in four digits.
    if any(all(number % modulus == folder for folder, number in pairs) for modulus in _MODULI):
        return "the last digits of the numbers"
    return ""


def are_numbered(names: Sequence[str]) -> bool:
    """Whether the names are those of parts: train-0000 and train-0001, but not n01440764 and n01443537.

    Only some of the parts may be here (train-0003, train-0077): their numbers are padded and stand apart.
    """
    numbers: dict[str, list[str]] = {}
    for name in names:
        match = _LAST_NUMBER.search(name)
        numbers.setdefault(name[: match.start()] if match else name, []).append(match[1] if match else "")
    return all(all(found) and (_are_close(found) or _are_padded(stem, found)) for stem, found in numbers.items())


def share_stem(names: Sequence[str]) -> bool:
    """Whether the names differ in their last number alone, and are no ids of WordNet (n01440764)."""
    stems = {name[: match.start()] if (match := _LAST_NUMBER.search(name)) else None for name in names}
    return len(names) > 1 and len(stems) == 1 and None not in stems and not all(map(_WORDNET_ID.fullmatch, names))


def _are_close(numbers: Sequence[str]) -> bool:
    values = [*map(int, numbers)]
    return max(values) - min(values) < 2 * len(values)


def _are_padded(stem: str, numbers: Sequence[str]) -> bool:
    is_apart = not stem[-1:].isalnum()
    return is_apart and len({*map(len, numbers)}) == 1 and any(number.startswith("0") for number in numbers)


def _are_parts(numbers: Sequence[Sequence[int]]) -> bool:
    """Whether each folder continues the numbers of the one before, with parts of one size.

    Two folders have only one step between them, so that theirs must be a usual size: 00 and 01 may also be classes.
    """
    ranges = [(min(found), max(found)) for found in numbers]
    if any(before[1] >= after[0] for before, after in pairwise(ranges)):
        return False
    one_step = len(ranges) > 2 and len({after[0] - before[0] for before, after in pairwise(ranges)}) == 1
    return one_step or any(
        all(first // size == last // size for first, last in ranges)
        and len({first // size for first, _ in ranges}) == len(ranges)
        for size in _SIZES
    )


def may_be_classes(files: Mapping[str, Sequence[str]]) -> bool:
    """Whether shards may be classes all the same: numbered without gaps, all of one size, the last one too.

    Balanced classes that were written one after the other are numbered so. Programs that write shards pad their numbers
    for many more (00000), or name them by their first image (FFHQ: 01000). files: names per folder, those of shards.
    """
    numbers = {folder: _numbers(names) for folder, names in sorted(files.items())}
    if not all(numbers.values()) or not all(map(str.isdecimal, numbers)):
        return False
    folders, found = [*numbers], [*numbers.values()]
    sizes, runs = {*map(len, found)}, [own for some in found for own in sorted(some)]
    is_full = len(sizes) == 1 and runs == list(range(runs[0], runs[0] + len(runs)))
    spare_digits = len(folders[0]) - len(str(len(folders)))
    named_by_first = all(int(folder) == min(own) for folder, own in numbers.items())
    return is_full and spare_digits < _SPARE_DIGITS and not named_by_first


def have_usual_names(folders: Collection[str]) -> bool:
    """Whether folders of phones and programs may be classes all the same: a few kinds of pictures.

    Somebody may tell screenshots from pictures, but not sent ones from private ones.
    """
    names = {*map(str.lower, folders)}
    return len(names) <= _FEW_FOLDERS and names <= _DEVICES - _NO_KINDS


def _are_hash_prefixes(files: Mapping[str, Sequence[str]]) -> bool:
    """Whether folders like 3f hold files like 3f09ab77.jpg, with letters in some folders: 0 to 9 may be classes."""
    if not any(char.isalpha() for folder in files for char in folder):
        return False
    return all(
        _HEX.fullmatch(stem := name.rpartition(".")[0]) and stem.startswith(folder)
        for folder, names in files.items()
        for name in names
    )


def _numbers(names: Sequence[str]) -> list[int]:
    return [int(match[1]) for name in names if (match := _LAST_NUMBER.search(name.rpartition(".")[0]))]
