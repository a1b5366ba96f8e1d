"""Stage prepare: data/raw -> data/prepared, a dataset in one format, split and checked."""

from contextlib import suppress
from pathlib import Path

import pandas as pd

from genai_core.data.dataset.card import (
    CAPTIONS_FILE,
    CLASSES_FILE,
    EXAMPLES_FILE,
    MAX_ROWS,
    REJECTED_FILE,
    SIZES_FILE,
    captioned_rows,
    class_counts,
    example_rows,
    prepared_card,
    similar_names,
    size_counts,
)
from genai_core.data.dataset.dataset import SPLITS, Dataset, captions_of, load_dataset
from genai_core.data.decoding.versions import other_decoders
from genai_core.data.prepare.prepare import prepare
from genai_core.reporting.bars import Bar, bar_chart
from genai_core.reporting.captioned import captioned_sheet
from genai_core.reporting.grids import class_grid, save_png
from tasks.context import new_folder, running

RAW = Path("data/raw")
PREPARED = Path("data/prepared")
CACHE = Path(".genai/cache/prepare")
PACK_INDEXES = Path(".genai/cache/raw")
EXAMPLES_PER_CLASS = 10
CAPTIONED_EXAMPLES = 24


def main() -> None:
    with running("prepare") as context, new_folder(PREPARED) as folder:
        if not RAW.is_dir():
            raise FileNotFoundError(f"{RAW}: no images yet; add some, for example: genai data add builtin:digits")

        def on_decoded(done: int, total: int) -> None:
            if done == 0:
                context.progress.begin("decode", total=total, unit="images")
            else:
                context.progress.update(done)

        workers = context.config.compute.cpu_threads
        prepared = prepare(
            RAW,
            folder,
            context.config.data,
            workers=workers,
            previous=PREPARED,
            cache_folder=CACHE,
            indexes=PACK_INDEXES,
            on_decoded=on_decoded,
        )
        dataset = load_dataset(folder)
        draw_examples(dataset, folder / EXAMPLES_FILE)
        draw_captioned(dataset, folder / CAPTIONS_FILE)
        classes = [Bar(*row) for row in class_counts(dataset)]
        save_png(folder / CLASSES_FILE, bar_chart("images per class", classes, SPLITS))
        sizes = [Bar(*row) for row in size_counts(prepared.sizes)]
        save_png(folder / SIZES_FILE, bar_chart("files by shorter side, in pixels", sizes, ["files"]))
        card = prepared_card(
            dataset,
            total_files=prepared.total_files,
            rejected=pd.read_csv(folder / REJECTED_FILE, keep_default_na=False),
            skipped=prepared.skipped,
            untrained=prepared.untrained,
            lost=prepared.lost,
        )
        (folder / "card.md").write_text(card, encoding="utf-8")
        if decoders := _changed_decoders():
            print(f"note: the previous version was decoded by {'; '.join(decoders)}")
        counts = dataset.info.counts
        print(f"{counts['train']:,} training and {counts['test']:,} test images, {len(prepared.rejected):,} rejected")
        if prepared.untrained:
            print(f"note: too few images to train on: {', '.join(prepared.untrained)}")
        if prepared.lost:
            print(f"note: classes dropped because none of their images is usable: {', '.join(prepared.lost)}")
        for group in similar_names(dataset.info.classes):
            print(f"note: classes whose names differ only in case or Unicode form: {', '.join(group)}")


def _changed_decoders() -> list[str]:
    """Return how the decoders of the previous version differ from those of this one."""
    with suppress(FileNotFoundError, ValueError):  # no previous version, or an old one without a record
        return other_decoders(PREPARED)
    return []


def draw_examples(dataset: Dataset, path: Path) -> None:
    """Draw some training images, one row per class."""
    rows = pd.concat(example_rows(dataset.rows("train"), EXAMPLES_PER_CLASS))
    images = dataset.images_at(rows)
    labels = rows["label"].to_numpy() if dataset.info.classes else None
    save_png(path, class_grid(images, labels, dataset.info.classes, max_images=EXAMPLES_PER_CLASS * MAX_ROWS))


def draw_captioned(dataset: Dataset, path: Path) -> None:
    """Draw some training images with their first captions; nothing if none has one."""
    rows = captioned_rows(dataset.rows("train"), CAPTIONED_EXAMPLES)
    if len(rows):
        save_png(path, captioned_sheet(dataset.images_at(rows), [captions[0] for captions in captions_of(rows)]))


if __name__ == "__main__":
    main()
