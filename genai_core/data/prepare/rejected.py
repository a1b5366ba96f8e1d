"""Rejected files of a dataset: which they are, the limit of their share, and the list of them."""

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from genai_core.data.dataset.facts import Indices
from genai_core.data.prepare.duplicates import Duplicates
from genai_core.data.prepare.read_files import ReadFiles
from genai_core.data.prepare.split import HeldOut
from genai_core.data.raw.classes import Classes
from genai_core.data.raw.formats import Reason, RejectedFile
from genai_core.data.raw.images import RawImages

# Reasons for which a file is rejected although nothing is wrong with it.
HARMLESS: tuple[Reason, ...] = ("duplicate", "in_test", "near_duplicate")


def duplicate_files(names: Sequence[str], classes: Classes, held_out: HeldOut, same: Duplicates) -> list[RejectedFile]:
    files = []
    for row, kept in same.of.items():
        reason: Reason = "in_test" if held_out[kept] and not held_out[row] else "duplicate"
        files.append(RejectedFile(names[row], reason, f"of {names[kept]}"))
    for rows in same.contradicting:
        labels = ", ".join(sorted({classes.of(row) for row in rows}))
        files += [RejectedFile(names[row], "two_labels", f"the same pixels have the labels {labels}") for row in rows]
    return files


def same_names(found: RawImages, read: ReadFiles, decoded: Indices) -> dict[int, RejectedFile]:
    """Find images with the name but not the pixels of another image, by row. A loose file wins, then the first pack."""
    digests = read.index.digests
    files: dict[int, RejectedFile] = {}
    if not found.packs or not found.names.has_duplicates():  # the usual case, and cheap to check
        return files
    first = -1
    for row in decoded.tolist():
        if first < 0 or found.names[row] != found.names[first]:
            first = row
        elif (digests[row] != digests[first]).any():
            detail = f"in {found.packs[found.pack[row]]}; another image with this name is used"
            files[row] = RejectedFile(found.names[row], "same_name", detail)
    return files


def check_rejected_share(rejected: Sequence[RejectedFile], total_files: int, max_share: float) -> None:
    """Raise ValueError if more than `max_share` of the images were rejected because something is wrong with them."""
    faulty = [file for file in rejected if file.reason not in HARMLESS]
    if len(faulty) <= max_share * total_files:
        return
    counts = ", ".join(f"{reason} {count:,}" for reason, count in Counter(file.reason for file in faulty).most_common())
    first = "".join(f"\n  {file.source}: {file.reason}: {file.detail}" for file in faulty[:10])
    raise ValueError(
        f"{len(faulty):,} of {total_files:,} images were rejected, more than data.max_rejected_share "
        f"({max_share:g}) allows: {counts}; fix or remove them, or raise the limit. The first:{first}"
    )


def write_rejected(path: Path, rejected: Sequence[RejectedFile]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(RejectedFile._fields)
        table.writerows(rejected)
