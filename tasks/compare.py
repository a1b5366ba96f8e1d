"""Compare two versions of a dataset: `python -m tasks.compare BEFORE AFTER OUT`, with dataset folders without shards.

Not a stage of dvc.yaml: `genai data diff` runs it. Writes OUT, JSON.
"""

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import pandas as pd

from genai_core.data.dataset.card import REJECTED_FILE
from genai_core.data.dataset.compare import added_rows, compare_datasets, same_shape
from genai_core.data.dataset.dataset import Dataset, load_dataset
from tasks.context import write_json
from tasks.errors import one_line


def main() -> None:
    parser = argparse.ArgumentParser(prog="tasks.compare", description=__doc__)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    with one_line("compare"):
        before, after = (load_dataset(folder, needs_pixels=False) for folder in (arguments.before, arguments.after))
        change = compare_datasets(before, after)
        values = {**dataclasses.asdict(change), "added_share": change.added_share}
        write_json(
            arguments.out,
            {
                **values,
                "before": description(before),
                "after": description(after),
                "shards": shards_to_measure(before, after),
            },
        )


def description(dataset: Dataset) -> dict[str, Any]:
    """Return fingerprint, shape, images per split and rejected files per reason."""
    rejected = pd.read_csv(dataset.folder / REJECTED_FILE, keep_default_na=False)["reason"].value_counts()
    return {
        "fingerprint": dataset.info.fingerprint,
        "image_size": dataset.info.image_size.to_json(),
        "channels": dataset.info.channels,
        "splits": dataset.info.counts,
        "rejected": {str(reason): int(count) for reason, count in sorted(rejected.items())},
    }


def shards_to_measure(before: Dataset, after: Dataset) -> dict[str, list[str]]:
    """Return the shards that tasks.distance reads; empty if there is nothing to measure."""
    if not same_shape(before, after):
        return {"before": [], "after": []}
    added = set(added_rows(before, after)["shard"])
    old = set(before.manifest["shard"]) if added else set()
    return {"before": sorted(old), "after": sorted(added)}


if __name__ == "__main__":
    main()
