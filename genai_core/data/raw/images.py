"""Every image of data/raw by its name NAME/CLASS/file, loose or in a pack."""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from genai_core.data.dataset.facts import Indices
from genai_core.data.raw.caption_files import CaptionFiles
from genai_core.data.raw.captions import is_caption_name
from genai_core.data.raw.formats import Reason, RejectedFile
from genai_core.data.raw.locations import Location, Member
from genai_core.data.raw.name_column import Names
from genai_core.data.raw.pack_indexes import PackStamp, delete_other_indexes, indexed_pack
from genai_core.data.raw.packs import is_pack
from genai_core.data.raw.rules import REFUSED, accepted_formats, find_images

ORPHANS = "texts without an image"  # of the same stem
REFUSED_DETAILS: dict[Reason, str] = {
    "link": "points outside the folder, to a folder, or nowhere",
    "special_file": "not a regular file; never opened",
}


@dataclass(frozen=True)
class RawImages:
    """N images, sorted by name independently of the file system; with equal names, the file first, then pack by pack.

    names: (N) NAME/CLASS/file. packs: paths relative to `raw`, with their stamps. pack: (N,) index into packs, or -1
    for a loose file. member: (N,) the image's number in its pack. offsets, sizes: (N,) in bytes, in the pack.
    captions: (N,) texts of one caption per line, null without one; None if there are none at all.
    """

    raw: Path
    names: Names
    packs: tuple[str, ...]
    stamps: tuple[PackStamp, ...]
    pack: Indices
    member: Indices
    offsets: Indices
    sizes: Indices
    rejected: tuple[RejectedFile, ...]
    skipped: dict[str, int]  # number of files by kind: no image extension, hidden, texts without an image
    captions: pa.LargeStringArray | None = None

    def __len__(self) -> int:
        return len(self.names)

    def locations(self, rows: Indices) -> list[Location]:
        """Return the locations of these images."""
        root = os.fspath(self.raw) + "/"
        packs = [root + path for path in self.packs]
        columns = (self.pack[rows], self.offsets[rows], self.sizes[rows])
        return [
            root + name if pack < 0 else Member(packs[pack], offset, size, name)
            for name, pack, offset, size in zip(
                self.names.at(rows), *(column.tolist() for column in columns), strict=True
            )
        ]

    def in_storage_order(self, rows: Indices) -> Indices:
        """Sort rows by pack and offset, so that each pack is read from start to end."""
        return rows[np.lexsort((self.offsets[rows], self.pack[rows]))] if self.packs else rows


# Called with the paths of the image files and of the packs, relative to `raw`, before anything is read.
OnListed = Callable[[Sequence[str], Sequence[str]], None]


def find_raw_images(
    raw: Path, indexes: Path | None = None, *, on_listed: OnListed = lambda _files, _packs: None
) -> RawImages:
    """Find all images below `raw`. indexes: folder of the pack indexes, so that known packs are not read again.

    Raises NotADirectoryError when `raw` is not a folder and ValueError when it contains no image.
    """
    found = find_images(raw, is_pack, is_caption_name)
    on_listed(found.files, found.packs)
    names = [Names.of(found.files)]
    skipped = Counter({kind: count for kind, count in found.skipped.items() if kind not in REFUSED})
    rejected = [RejectedFile(name, "bad_name", "not UTF-8, or control characters") for name in found.bad_names]
    rejected += [RejectedFile(name, reason, REFUSED_DETAILS[reason]) for name, reason in found.refused.items()]
    stamps: list[PackStamp] = []
    pack_of = [np.full(len(found.files), -1, dtype=np.int64)]
    members = [np.zeros(len(found.files), dtype=np.int64)]
    offsets, sizes = [np.zeros(len(found.files), dtype=np.int64)], [np.zeros(len(found.files), dtype=np.int64)]
    packs: list[str] = []
    texts = CaptionFiles()
    for path in found.packs:
        folder = path.partition("/")[0]
        try:
            pack, stamp = indexed_pack(raw / path, indexes)
        except OSError as error:
            rejected.append(RejectedFile(path, "bad_pack", f"cannot be read: {error.strerror}"))
            continue
        for source, reason, detail in pack.rejected:
            rejected.append(RejectedFile(f"{folder}/{source}", reason, f"{detail}, in {path}"))
        skipped.update(pack.skipped)
        if pack.damage is not None:
            # A damaged pack may lack images or hold wrong ones, so all its images are rejected.
            rejected.append(RejectedFile(path, "bad_pack", pack.damage))
            detail = f"in {path}, which is damaged"
            rejected += [RejectedFile(f"{folder}/{name}", "bad_pack", detail) for name in pack.names]
            continue
        names.append(pack.names.below(folder))
        pack_of.append(np.full(len(pack.names), len(packs), dtype=np.int64))
        members.append(np.arange(len(pack.names)))
        offsets.append(pack.offsets)
        sizes.append(pack.sizes)
        packs.append(path)
        stamps.append(stamp)
        texts.add(pack.texts.names.below(folder), pack.texts.captions, pack.texts.faults)
    texts.add_files(raw, found.texts)
    if indexes is not None:
        delete_other_indexes([raw / path for path in found.packs], indexes)
    joined = Names.joined(names)
    if not joined and not rejected:
        raise ValueError(f"{raw}: contains no image files; {accepted_formats()}")
    order = joined.order()
    ordered = joined.at(order)
    matched = texts.match(ordered)
    rejected += matched.rejected
    skipped.update({ORPHANS: matched.orphans} if matched.orphans else {})
    return RawImages(
        raw,
        ordered,
        tuple(packs),
        tuple(stamps),
        np.concatenate(pack_of)[order],
        np.concatenate(members)[order],
        np.concatenate(offsets)[order],
        np.concatenate(sizes)[order],
        tuple(sorted(rejected, key=lambda file: file.source)),
        dict(sorted(skipped.items())),
        matched.captions,
    )
