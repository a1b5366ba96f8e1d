"""Compare two versions of a dataset image by image: added, removed, relabelled, recaptioned, moved between splits."""

from dataclasses import dataclass

import pandas as pd

from genai_core.data.dataset.dataset import NO_LABEL, SPLITS, Dataset, caption_lines
from genai_core.data.decoding.versions import DECODERS_FILE

EXAMPLES = 5
NO_CLASS = "(no class)"


@dataclass(frozen=True)
class ClassCount:
    """Number of images of one class, train and test together, and their share of all images."""

    name: str
    before: int
    after: int
    before_share: float
    after_share: float


@dataclass(frozen=True)
class ImageExample:
    """One changed image: its source file, and its class, split or captions before and after."""

    source: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class DatasetChange:
    """Differences between dataset A (before) and dataset B (after).

    matched_by: "pixels" (sha256 of an image, so renaming changes nothing), or "source" (file name) when image size or
    channels differ. redecoded: images whose pixels changed because other decoder versions read them, matched by name.
    """

    matched_by: str
    before_images: int
    after_images: int
    added: int
    removed: int
    relabelled: int
    moved_between_splits: int
    recaptioned: int
    renamed: int
    redecoded: int
    added_train: int
    added_test: int
    removed_train: int  # of those removed: in the train split of A
    relabelled_train: int  # in the train split of B
    classes: tuple[ClassCount, ...]
    examples: dict[str, tuple[ImageExample, ...]]  # the first of each kind, in order of their names

    @property
    def added_share(self) -> float:
        """Share of new images among all images of B."""
        return self.added / self.after_images


def same_shape(before: Dataset, after: Dataset) -> bool:
    """Whether the images have the same size and channels; otherwise no pixels can be equal."""
    a, b = before.info, after.info
    return (a.image_size, a.channels) == (b.image_size, b.channels)


def compare_datasets(before: Dataset, after: Dataset) -> DatasetChange:
    """Compare two datasets by their manifests and facts, without reading pixels."""
    is_same_shape = same_shape(before, after)
    keys = image_keys(before, after)
    old, new = (_described(dataset, key) for dataset, key in zip((before, after), keys, strict=True))
    added, removed = new[~new.index.isin(old.index)], old[~old.index.isin(new.index)]
    both = old.add_suffix("_before").join(new.add_suffix("_after"), how="inner")
    relabelled = both[both["class_before"] != both["class_after"]]
    moved = both[both["split_before"] != both["split_after"]]
    recaptioned = both[both["captions_before"] != both["captions_after"]]
    renamed = both[both["source_before"] != both["source_after"]]
    redecoded = both[both["sha256_before"] != both["sha256_after"]]
    return DatasetChange(
        matched_by="pixels" if is_same_shape else "source",
        before_images=len(before.manifest),
        after_images=len(after.manifest),
        added=len(added),
        removed=len(removed),
        relabelled=len(relabelled),
        moved_between_splits=len(moved),
        recaptioned=len(recaptioned),
        renamed=len(renamed),
        redecoded=len(redecoded) if is_same_shape else 0,
        **{f"added_{split}": int((added["split"] == split).sum()) for split in SPLITS},
        removed_train=int((removed["split"] == "train").sum()),
        relabelled_train=int((relabelled["split_after"] == "train").sum()),
        classes=tuple(_class_counts(before, after, old, new)),
        examples={
            "added": _examples(added, None, "class"),
            "removed": _examples(removed, "class", None),
            "relabelled": _examples(relabelled, "class_before", "class_after", source="source_after"),
            "moved_between_splits": _examples(moved, "split_before", "split_after", source="source_after"),
            "recaptioned": _examples(recaptioned, "captions_before", "captions_after", source="source_after"),
        },
    )


def added_rows(before: Dataset, after: Dataset) -> pd.DataFrame:
    """Return the manifest rows of `after` whose images are not in `before`, in manifest order."""
    old, new = image_keys(before, after)
    return after.manifest[~new.isin(old)]


def image_keys(before: Dataset, after: Dataset) -> tuple["pd.Series[str]", "pd.Series[str]"]:
    """Return a key for each image of the two datasets; an image in both has equal keys."""
    if not same_shape(before, after):
        return before.manifest["source"], after.manifest["source"]
    old, new = before.manifest["sha256"], after.manifest["sha256"]
    if _same_decoders(before, after):
        return old, new
    # Equal pixels still mean the same image. The rest is matched by file name.
    unmatched = before.manifest[~old.isin(new)]
    by_name = after.manifest["source"].map(unmatched.set_index("source")["sha256"])
    return old, new.where(new.isin(old) | by_name.isna(), by_name)


def _same_decoders(before: Dataset, after: Dataset) -> bool:
    """Whether the same decoder versions made both. Older datasets without that record count as the same."""
    notes = [dataset.folder / DECODERS_FILE for dataset in (before, after)]
    return not all(note.is_file() for note in notes) or notes[0].read_bytes() == notes[1].read_bytes()


def _described(dataset: Dataset, keys: "pd.Series[str]") -> pd.DataFrame:
    """source, split, sha256, class and captions (one per line) of each image, by its key."""
    names = dict(enumerate(dataset.info.classes)) | {NO_LABEL: NO_CLASS}
    described = {"class": dataset.manifest["label"].map(names), "captions": caption_lines(dataset.manifest)}
    rows = dataset.manifest[["source", "split", "sha256"]].assign(**described)
    rows.index = pd.Index(keys, name="key")
    return rows


def _class_counts(before: Dataset, after: Dataset, old: pd.DataFrame, new: pd.DataFrame) -> list[ClassCount]:
    counts = [rows["class"].value_counts() for rows in (old, new)]
    names = list(dict.fromkeys([*after.info.classes, *before.info.classes]))
    names += [NO_CLASS] if any(NO_CLASS in count.index for count in counts) else []
    rows = [(name, int(counts[0].get(name, 0)), int(counts[1].get(name, 0))) for name in names]
    return [ClassCount(name, a, b, a / max(len(old), 1), b / max(len(new), 1)) for name, a, b in rows]


def _examples(
    rows: pd.DataFrame, before: str | None, after: str | None, source: str = "source"
) -> tuple[ImageExample, ...]:
    first = rows.sort_values(source).head(EXAMPLES)
    return tuple(
        ImageExample(str(row[source]), str(row[before]) if before else None, str(row[after]) if after else None)
        for _, row in first.iterrows()
    )
