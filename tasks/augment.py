"""Stage augment: data/prepared -> data/augmented, which adds augmented training images."""

from pathlib import Path

import numpy as np
import pandas as pd

from genai_core.data.augment.augment import AUGMENTED, augment
from genai_core.data.dataset.card import EXAMPLES_FILE, MAX_ROWS, augmented_card, class_names, example_rows
from genai_core.data.dataset.dataset import Dataset, load_dataset
from genai_core.reporting.grids import image_grid, save_png
from tasks.context import new_folder, running

PREPARED = Path("data/prepared")
AUGMENTED_DATA = Path("data/augmented")
COLUMNS = 10
MAX_VERSIONS = 4


def main() -> None:
    with running("augment") as context, new_folder(AUGMENTED_DATA) as folder:
        before = load_dataset(PREPARED)
        augment(before, folder, context.config.augment)
        after = load_dataset(folder)
        draw_versions(after, folder / EXAMPLES_FILE)
        config = context.config.augment
        settings = config.model_dump(include={"expand", "balance_classes", "policy", *config.policy, "seed"})
        (folder / "card.md").write_text(augmented_card(before, after, settings), encoding="utf-8")
        print(f"{before.info.counts['train']:,} training images became {after.info.counts['train']:,}")


def draw_versions(dataset: Dataset, path: Path) -> None:
    """Draw originals, each with its copies to the right, one row per class; nothing if there are no copies."""
    train = dataset.rows("train").set_index("id")
    copies = train[train["flags"].str.startswith(f"{AUGMENTED}:")]
    if copies.empty:
        return
    origins = copies["flags"].str.removeprefix(f"{AUGMENTED}:")
    counts = origins.value_counts()
    shown = min(MAX_VERSIONS, max(1, round(len(copies) / len(counts))))
    originals_per_row = COLUMNS // (1 + shown)
    # Prefer originals with enough copies; missing copies are drawn white.
    originals = train.loc[counts.index]
    originals = originals[(counts >= shown).to_numpy() | ~originals["label"].isin(originals["label"][counts >= shown])]
    rows = example_rows(originals, originals_per_row if dataset.info.classes else MAX_ROWS // 4 * originals_per_row)
    chosen = origins[origins.isin(pd.concat(rows).index)]
    cells: list[str | None] = []
    for part in rows:
        for original in part.index:
            versions = chosen.index[chosen == original][:shown].tolist()
            cells += [original, *versions, *[None] * (shown - len(versions))]
        cells += [None] * ((1 + shown) * (-len(part) % originals_per_row))
    is_filled = np.array([cell is not None for cell in cells])
    found = dataset.images_at(train.loc[[cell for cell in cells if cell is not None]])
    images = np.full((len(cells), *found.shape[1:]), 255, dtype=np.uint8)
    images[is_filled] = found
    captions = ["real", *["copy"] * shown] * originals_per_row
    names = class_names(dataset.info, rows)
    save_png(path, image_grid(images, len(captions), row_captions=names, column_captions=captions))


if __name__ == "__main__":
    main()
