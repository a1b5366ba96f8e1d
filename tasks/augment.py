"""Stage augment: data/prepared -> data/augmented, with new training images made from old ones."""

from pathlib import Path

import numpy as np
import torch

from genai_core.data.augment import AUGMENTED, augment
from genai_core.data.card import EXAMPLES_FILE, augmented_card, class_names, example_rows
from genai_core.data.dataset import Dataset, load_dataset
from genai_core.reporting.grids import image_grid, save_png
from tasks.context import new_folder, running

PREPARED = Path("data/prepared")
AUGMENTED_DATA = Path("data/augmented")
PAIRS_A_CLASS = 5


def main() -> None:
    with running("augment") as context, new_folder(AUGMENTED_DATA) as folder:
        # One image at a time is too little work to share: more threads only wait for each other.
        torch.set_num_threads(1)
        before = load_dataset(PREPARED)
        augment(before, folder, context.config.augment)
        after = load_dataset(folder)
        draw_pairs(after, folder / EXAMPLES_FILE)
        settings = context.config.augment.model_dump()
        (folder / "card.md").write_text(augmented_card(before, after, settings), encoding="utf-8")
        print(f"{before.info.counts['train']:,} training images became {after.info.counts['train']:,}")


def draw_pairs(dataset: Dataset, path: Path) -> None:
    """A picture of originals, each with a copy to the right, a row a class; nothing when there are no copies."""
    train = dataset.rows("train")
    copies = train[train["flags"].str.startswith(f"{AUGMENTED}:")]
    if copies.empty:
        return
    originals = train.set_index("id")
    rows = example_rows(copies, PAIRS_A_CLASS if dataset.info.classes else 5 * PAIRS_A_CLASS)
    blank = np.full((1, dataset.info.channels, dataset.info.image_size, dataset.info.image_size), 255, dtype=np.uint8)
    images = []
    for part in rows:
        origins = originals.loc[part["flags"].str.removeprefix(f"{AUGMENTED}:").tolist()]
        pairs = np.stack([dataset.images_at(origins), dataset.images_at(part)], axis=1)
        missing = 2 * (-len(part) % PAIRS_A_CLASS)
        images += [pairs.reshape(-1, *pairs.shape[2:]), np.repeat(blank, missing, axis=0)]
    captions = ["real", "copy"] * PAIRS_A_CLASS
    names = class_names(dataset.info, rows)
    save_png(path, image_grid(np.concatenate(images), len(captions), row_captions=names, column_captions=captions))


if __name__ == "__main__":
    main()
