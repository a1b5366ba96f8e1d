"""card.md: the contents of a dataset in text and tables, and the choice of images for its pictures."""

import unicodedata
from collections.abc import Mapping, Sequence

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from genai_core.data.dataset.dataset import CAPTIONS, NO_LABEL, SPLITS, Dataset, DatasetInfo

EXAMPLES_FILE = "examples.png"
CLASSES_FILE = "classes.png"
CAPTIONS_FILE = "captions.png"
SIZES_FILE = "sizes.png"
REJECTED_FILE = "rejected.csv"
MAX_ROWS = 20
LISTED_FILES = 3


def prepared_card(
    dataset: Dataset,
    *,
    total_files: int,
    rejected: pd.DataFrame,
    skipped: Mapping[str, int],
    untrained: Sequence[str],
    lost: Sequence[str],
) -> str:
    """Return the card of data/prepared as Markdown.

    rejected: columns source, reason, detail. skipped: file types that were not examined, with counts. untrained:
    classes too small to have a training image. lost: classes without a single usable image.
    """
    lines = [
        "# Dataset, prepared",
        "",
        *_facts(dataset.info),
        f"- {total_files:,} image files found, {(rejected['reason'] != 'bad_caption').sum():,} rejected",
        *_caption_facts(dataset.manifest),
        "",
        f"![Examples of the training images, one row per class]({EXAMPLES_FILE})",
        "",
        f"![Images per class and split]({CLASSES_FILE})",
        "",
        *_class_table(dataset),
        "",
        f"![Files by length of the shorter side, in pixels]({SIZES_FILE})",
    ]
    if len(captioned_rows(dataset.rows("train"), 1)):
        lines += ["", f"![Training images, each with its first caption]({CAPTIONS_FILE})"]
    if untrained:
        lines += ["", f"Classes too small to have a training image: {', '.join(untrained)}."]
    if lost:
        lines += ["", f"Classes dropped because none of their images is usable: {', '.join(lost)}."]
    for group in similar_names(dataset.info.classes):
        lines += ["", f"Classes whose names differ only in case or Unicode form: {', '.join(group)}."]
    lines += ["", "## Rejected files", "", *_rejected_lines(rejected)]
    if skipped:
        lines += ["", "Not read: " + ", ".join(f"{kind} {count:,}" for kind, count in skipped.items()) + "."]
    return "\n".join(lines) + "\n"


def augmented_card(before: Dataset, after: Dataset, settings: Mapping[str, object]) -> str:
    """Return the card of data/augmented as Markdown. settings: the applied settings of the `augment` section."""
    new = after.info.counts["train"] - before.info.counts["train"]
    lines = [
        "# Dataset, augmented",
        "",
        *_facts(after.info),
        f"- {new:,} of the training images are augmented copies; the test split has none",
        f"- made from dataset {before.info.fingerprint[:16]}",
        "",
    ]
    if new:
        lines += [f"![Training images, each with its copies to the right]({EXAMPLES_FILE})", ""]
    lines += [*_class_table(after), "", "## Settings", ""]
    lines += [f"- {name}: {_setting(value)}" for name, value in settings.items()]
    return "\n".join(lines) + "\n"


def _setting(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {part}" for name, part in value.items())
    return (", ".join(map(str, value)) or "none") if isinstance(value, tuple) else str(value)


def class_counts(dataset: Dataset) -> list[tuple[str, tuple[int, ...]]]:
    """Return each class's name and number of images per split, in class order; one row without classes."""
    labels = [dataset.rows(split)["label"].to_numpy() for split in SPLITS]
    names = enumerate(dataset.info.classes) if dataset.info.classes else [(NO_LABEL, "(none)")]
    return [(name, tuple(int((split == label).sum()) for split in labels)) for label, name in names]


def similar_names(classes: Sequence[str]) -> list[list[str]]:
    """Group names that a person or another file system confuses: A and a; é as one code point or two.

    They stay separate classes, because a dataset of letters has both A and a.
    """
    groups: dict[str, list[str]] = {}
    for name in classes:
        groups.setdefault(unicodedata.normalize("NFKC", name).casefold(), []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def size_counts(sizes: Sequence[tuple[int, int, int]], most_rows: int = 16) -> list[tuple[str, tuple[int, ...]]]:
    """Count files by the length of their shorter side in pixels; sizes: width, height and number of files.

    Few distinct lengths are listed one by one. Many are put into bins that grow by half, finest for small images.
    """
    sides: dict[int, int] = {}
    for width, height, files in sizes:
        sides[min(width, height)] = sides.get(min(width, height), 0) + files
    if len(sides) <= most_rows:
        return [(str(side), (files,)) for side, files in sorted(sides.items())]
    rows: list[tuple[str, tuple[int, ...]]] = []
    begin, largest = min(sides), max(sides)
    while begin <= largest:
        end = begin + max(1, begin // 2)
        files = sum(count for side, count in sides.items() if begin <= side < end)
        rows.append((f"{begin} to {end - 1}", (files,)))
        begin = end
    return rows


def example_rows(rows: pd.DataFrame, columns: int) -> list[pd.DataFrame]:
    """Choose manifest rows to show: at most `columns` per class (or in all without classes), chosen by content."""
    chosen = rows.sort_values("sha256", kind="stable")
    return [part.head(columns) for _, part in chosen.groupby("label", sort=True)][:MAX_ROWS]


def class_names(info: DatasetInfo, rows: Sequence[pd.DataFrame]) -> list[str]:
    """Return a caption for each of example_rows; empty without classes."""
    return [info.classes[int(part["label"].iloc[0])] for part in rows] if info.classes else []


def _facts(info: DatasetInfo) -> list[str]:
    kind = {1: "grey", 3: "colour"}[info.channels]
    moments = ", ".join(f"{mean:.4f} and {std:.4f}" for mean, std in zip(info.mean, info.std, strict=True))
    return [
        f"- {info.counts['train']:,} training and {info.counts['test']:,} test images, "
        f"{info.image_size} pixels, {kind}",
        f"- {len(info.classes) or 'no'} classes",
        f"- mean and standard deviation of the training pixels, scaled to 0..1, by channel: {moments}",
        f"- fingerprint {info.fingerprint[:16]}",
    ]


def captioned_rows(rows: pd.DataFrame, count: int) -> pd.DataFrame:
    """Choose at most `count` manifest rows with captions to show, by content."""
    if CAPTIONS not in rows:
        return rows.head(0)
    return rows[rows[CAPTIONS].notna()].sort_values("sha256", kind="stable").head(count)


def _caption_facts(manifest: pd.DataFrame) -> list[str]:
    if CAPTIONS not in manifest:
        return []
    counts = pc.list_value_length(pa.array(manifest[CAPTIONS]))
    captions, images = pc.sum(counts).as_py() or 0, len(manifest) - counts.null_count
    return [f"- {images:,} of {len(manifest):,} images have captions, {captions / max(images, 1):.1f} each on average"]


def _class_table(dataset: Dataset) -> list[str]:
    lines = ["| class | " + " | ".join(SPLITS) + " |", "|---|" + "---:|" * len(SPLITS)]
    for name, counts in class_counts(dataset):
        escaped = name.replace("|", "\\|")
        lines.append(f"| {escaped} | " + " | ".join(f"{count:,}" for count in counts) + " |")
    return lines


def _rejected_lines(rejected: pd.DataFrame) -> list[str]:
    if rejected.empty:
        return ["Nothing."]
    lines = ["| reason | files |", "|---|---:|"]
    lines += [f"| {reason} | {count:,} |" for reason, count in rejected["reason"].value_counts(sort=True).items()]
    lines += ["", f"`{REJECTED_FILE}` lists all of them; the first of each reason:", ""]
    first = rejected.groupby("reason", sort=True).head(LISTED_FILES)
    lines += [f"- `{file.source}`: {file.reason}: {file.detail}" for file in first.itertuples()]
    return lines
