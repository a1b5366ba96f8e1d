"""Everything in a source's folder, found in one pass."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from genai_core.data.ingest.convert.kinds import SOURCE_EXTENSIONS, advice, is_source_image
from genai_core.data.raw.rules import is_bad_name, kind_of_file, printable, walk

_SHOWN_KINDS = 4
_HEADER_BYTES = 1 << 16


@dataclass(frozen=True)
class Listing:
    """images, others: files relative to `root`, with "/", sorted. Hidden and special files are only counted.

    bad_names: images whose names cannot be written into tables, made printable. skipped: number of links, hidden files
    and special files.
    """

    root: Path
    images: tuple[str, ...]
    others: tuple[str, ...]
    folders: frozenset[str]
    bad_names: tuple[str, ...]
    skipped: dict[str, int]

    def skipped_without(self, used: Collection[str]) -> dict[str, int]:
        """Return the number of skipped files by kind: all that are not images, except the used ones."""
        kinds = Counter(kind_of_file(path) for path in self.others if path not in used)
        return dict(sorted((self.skipped | kinds).items()))

    def require_images(self) -> None:
        if not self.images and not self.bad_names:
            accepted = f"supported extensions: {', '.join(sorted(SOURCE_EXTENSIONS))}"
            kinds = Counter(self.skipped_without(())).most_common(_SHOWN_KINDS)
            found = f" ({', '.join(f'{kind} {count:,}' for kind, count in kinds)})" if kinds else ""
            lines = [f"{self.root}: contains no image files{found}; {accepted}", *advice(self.skipped_without(()))]
            lines += [
                f"{path} has pixels as numbers; save them as .npz, with x (N, H, W) as uint8 and y for the labels"
                for path in self.others
                if path.lower().endswith(".csv") and _has_pixels(self.root / path)
            ]
            raise ValueError("\n".join(lines))


def _has_pixels(table: Path) -> bool:
    """Whether the columns of a table are pixels, as in the competitions with digits (pixel0, pixel1 ...) and faces."""
    with table.open("rb") as file:
        return b"pixel" in file.readline(_HEADER_BYTES).lower()


def list_folder(folder: Path) -> Listing:
    """List every file below a folder. Links are followed only to files in the same folder, or in DVC's cache."""
    images: list[str] = []
    others: list[str] = []
    folders: list[str] = []
    bad_names: list[str] = []
    skipped: Counter[str] = Counter()
    for path, kind in walk(folder, folder.resolve()):
        if kind == "folder":
            folders.append(path)
        elif kind != "file":
            skipped[kind] += 1
        elif not is_source_image(path):
            others.append(path)
        elif is_bad_name(path):
            bad_names.append(printable(path))
        else:
            images.append(path)
    return Listing(
        folder,
        tuple(sorted(images)),
        tuple(sorted(others)),
        frozenset(folders),
        tuple(sorted(bad_names)),
        dict(sorted(skipped.items())),
    )
