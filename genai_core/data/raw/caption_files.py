"""Collect the texts of data/raw, loose or in packs, and find the captions of its images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from genai_core.data.raw.captions import MAX_TEXT_BYTES, Captions, match_texts, parse_captions
from genai_core.data.raw.formats import RejectedFile
from genai_core.data.raw.name_column import Names


@dataclass(frozen=True)
class MatchedCaptions:
    """captions: (N,) of the images, one per line, null without one; None if no image has one.

    orphans: number of texts whose stem no image has. rejected: texts of which something was left out.
    """

    captions: pa.LargeStringArray | None = None
    orphans: int = 0
    rejected: tuple[RejectedFile, ...] = ()


class CaptionFiles:
    """Texts by rising precedence: those of the packs, pack by pack, then loose files.

    A later pack wins, so captions are changed by adding a pack. A loose file wins over packs, as among images.
    """

    def __init__(self) -> None:
        self._names: list[Names] = []
        self._captions: list[Names] = []
        self._faults: dict[int, str] = {}
        self._total = 0

    def add(self, names: Names, captions: Names, faults: Mapping[int, str]) -> None:
        """Add texts. names: (T) NAME/CLASS/a.txt; captions: (T) one per line; faults: what was left out, by index."""
        if len(names) == 0:
            return
        self._faults |= {self._total + number: fault for number, fault in faults.items()}
        self._names.append(names)
        self._captions.append(captions)
        self._total += len(names)

    def add_files(self, raw: Path, paths: Sequence[str]) -> None:
        """Read and add loose texts; paths: relative to `raw`."""
        read = [read_caption_file(raw / path) for path in paths]
        faults = {number: captions.fault for number, captions in enumerate(read) if captions.fault is not None}
        self.add(Names.of(paths), Names.of([captions.text for captions in read]), faults)

    def match(self, images: Names) -> MatchedCaptions:
        """Find the captions of images (N): of each the last text with its stem."""
        if not self._total:
            return MatchedCaptions()
        names = Names.joined(self._names)
        text_of = match_texts(images, names)
        orphans = int((match_texts(names, images) < 0).sum())
        found = Names.joined(self._captions).column.take(pa.array(text_of, mask=text_of < 0))
        captions = pc.if_else(pc.equal(found, ""), None, found)
        used = set(np.unique(text_of).tolist()) if self._faults else set()
        faults = [RejectedFile(names[n], "bad_caption", fault) for n, fault in self._faults.items() if n in used]
        return MatchedCaptions(captions if captions.null_count < len(captions) else None, orphans, tuple(faults))


def read_caption_file(path: Path) -> Captions:
    """Return the captions in a file; a fault if it cannot be read."""
    try:
        with path.open("rb") as file:
            return parse_captions(file.read(MAX_TEXT_BYTES + 1))
    except OSError as error:
        return Captions("", f"cannot be read: {error.strerror}")
