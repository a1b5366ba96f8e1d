"""Look at data/raw: `python -m tasks.look OUT [--counts]`. Writes DataFacts as JSON.

Not a stage of dvc.yaml: `genai init` runs it for its proposal. Counts are of all images, everything about pixels is
from a decoded sample. --counts: only what names say, without reading an image; for the checks before a run.
"""

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from genai_core.advice.facts import DataFacts, to_json
from genai_core.advice.shape import GREY_SHARE
from genai_core.config.machine import usable_cores
from genai_core.data.dataset.facts import Pixels
from genai_core.data.looking.mirrored import mirrored_accuracy
from genai_core.data.looking.pixels import (
    commonest_ratio,
    deviation,
    is_coloured,
    is_transparent,
    opacity,
    visible_background,
)
from genai_core.data.looking.sample import BLACK, WHITE, Sample, choose_rows, decode_sample, modes
from genai_core.data.prepare.split import GIVEN
from genai_core.data.raw.classes import classes_of
from genai_core.data.raw.images import RawImages, find_raw_images
from genai_core.data.raw.source_json import given_splits
from tasks.errors import one_line

RAW = Path("data/raw")
PACK_INDEXES = Path(".genai/cache/raw")
DECODE_SECONDS = 6.0
MOST_WORKERS = 4
NAMED_UNREADABLE = 5


def main() -> None:
    parser = argparse.ArgumentParser(prog="tasks.look", description=__doc__)
    parser.add_argument("out", type=Path, help="the JSON file to write")
    parser.add_argument("--counts", action="store_true", help="only counts, without reading an image")
    arguments = parser.parse_args()
    with one_line("look"):
        found = find_raw_images(RAW, PACK_INDEXES)
        facts = DataFacts(**counted_facts(found), **({} if arguments.counts else pixel_facts(found)))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(to_json(facts)))


def counted_facts(found: RawImages) -> dict[str, Any]:
    """Return what the names of all images say: count, sources, classes, given splits."""
    classes = classes_of(found.names)
    counts = np.bincount(classes.codes[classes.codes >= 0], minlength=len(classes.names))
    given = Counter(given_splits(found.raw, found.names).tolist())
    return {
        "count": len(found),
        "sources": _sources(found.raw),
        "classes": dict(zip(classes.names, counts.tolist(), strict=True)),
        "without_class": int((classes.codes < 0).sum()),
        "captions": 0 if found.captions is None else len(found.captions) - found.captions.null_count,
        "given": {split: given[code] for split, code in GIVEN.items() if split is not None and given[code]},
    }


def pixel_facts(found: RawImages) -> dict[str, Any]:
    """Return what a decoded sample says."""
    workers = min(MOST_WORKERS, usable_cores())
    rows = choose_rows(len(found))
    sample = decode_sample(found, rows, workers=workers, max_seconds=DECODE_SECONDS)
    unreadable = {
        "sampled": sample.files,
        "unreadable": len(sample.rejected),
        "too_large": sum(reason == "too_large" for _, reason in sample.rejected),
        "unreadable_files": [(found.names[row], reason) for row, reason in sample.rejected[:NAMED_UNREADABLE]],
    }
    if not len(sample.rows):
        return unreadable
    kinds = modes(found.locations(sample.rows))
    transparent, background, pixels = _on_background(found, sample, kinds, workers)
    coloured = float(is_coloured(pixels).mean())
    width, height = np.median(sample.sizes, axis=0)
    ratio, share = commonest_ratio(sample.sizes)
    spread = deviation(pixels, grey=coloured <= GREY_SHARE)
    return {
        **unreadable,
        "width_px": int(width),
        "height_px": int(height),
        "same_size": bool((sample.sizes == sample.sizes[0]).all()),
        "aspect_ratio": ratio,
        "aspect_share": share,
        "modes": dict(Counter(kind.removesuffix("+alpha") or "unknown" for kind in kinds)),
        "colour_share": coloured,
        "transparent_share": transparent,
        "background": background,
        "pixel_std": spread.pixel_std,
        "mean_spread": spread.mean_spread,
        "mirrored_accuracy": mirrored_accuracy(pixels),
        "duplicate_share": 1 - len(set(sample.sha256)) / len(sample.sha256),
        "decode_s": sample.decode_s,
    }


def _on_background(
    found: RawImages, sample: Sample, kinds: list[str], workers: int
) -> tuple[float, tuple[int, int, int], Pixels]:
    """Return the share of transparent images, their background, and the sample's pixels on it."""
    may_be = sample.rows[[kind.endswith("+alpha") for kind in kinds]]
    if not len(may_be):
        return 0.0, BLACK, sample.pixels
    on_white = decode_sample(found, may_be, workers=workers, max_seconds=DECODE_SECONDS, background=WHITE)
    at = np.flatnonzero(np.isin(sample.rows, on_white.rows))
    opaque = opacity(sample.pixels[at], on_white.pixels)
    clear = is_transparent(opaque)
    if not clear.any():
        return 0.0, BLACK, sample.pixels
    pixels, background = sample.pixels.copy(), visible_background(sample.pixels[at][clear], opaque[clear])
    if background == WHITE:
        pixels[at] = on_white.pixels
    return float(clear.sum() / len(sample.rows)), background, pixels


def _sources(raw: Path) -> tuple[str, ...]:
    return tuple(sorted(path.name for path in raw.iterdir() if path.is_dir() and not path.name.startswith(".")))


if __name__ == "__main__":
    main()
