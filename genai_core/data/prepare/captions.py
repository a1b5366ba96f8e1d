"""Captions of the images of a dataset: an image keeps its own and those of its copies."""

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from genai_core.data.dataset.facts import Indices


def captions_of(captions: pa.LargeStringArray | None, kept: Indices, copies: Mapping[int, int]) -> pa.ListArray | None:
    """Return the captions of the kept files (n,), each a list, null without one; None if none of them has one.

    captions: (N,) of all files, one per line. kept: (n,) rows. copies: row of each dropped file with the same pixels ->
    the kept one. Captions that differ describe the same picture, so all of them stay: its own, then those of the
    copies in the order of their names.
    """
    if captions is None:
        return None
    of_copies: dict[int, list[str]] = {}
    for row, original in sorted(copies.items()):
        if (text := captions[row].as_py()) is not None:
            of_copies.setdefault(original, []).append(text)
    column = captions.take(pa.array(kept))
    if of_copies:
        texts = column.to_pylist()
        for number, row in enumerate(kept.tolist()):
            if row in of_copies:
                own = [texts[number]] if texts[number] is not None else []
                texts[number] = "\n".join(dict.fromkeys("\n".join([*own, *of_copies[row]]).split("\n")))
        column = pa.array(texts, pa.large_string())
    return pc.split_pattern(column, "\n") if column.null_count < len(column) else None
