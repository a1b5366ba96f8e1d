"""Join what several tables say about the images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from genai_core.data.dataset.dataset import Split
from genai_core.data.ingest.annotations.annotations import Annotations
from genai_core.data.ingest.annotations.attributes import combined_labels, one_hot_labels
from genai_core.data.ingest.annotations.roles import Roles
from genai_core.data.ingest.annotations.table_files import LABEL_STEMS, Table, cell_text, is_text
from genai_core.data.ingest.choices import Choices
from genai_core.data.ingest.readers.items import split_of
from genai_core.data.raw.formats import RejectedFile

_PARTITIONS: dict[str, Split] = {"0": "train", "1": "test", "2": "test"}  # CelebA: train, validation, test
_SHOWN_COLUMNS = 5


@dataclass
class MatchedTable:
    """A table whose rows name images. rows: the image of each row, None if there is none."""

    table: Table
    roles: Roles
    rows: list[str | None]
    images: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        self.images = frozenset(image for image in self.rows if image is not None)

    @property
    def has_labels(self) -> bool:
        return bool(self.roles.labels or self.roles.one_hot)

    @property
    def is_named(self) -> bool:
        return self.table.stem in LABEL_STEMS


@dataclass
class _Said:
    """What the rows say of each image, without repetitions."""

    labels: dict[str, dict[str, None]] = field(default_factory=dict)
    captions: dict[str, dict[str, None]] = field(default_factory=dict)
    splits: dict[str, dict[Split, None]] = field(default_factory=dict)
    rejected: list[RejectedFile] = field(default_factory=list)

    def add(self, one: MatchedTable, split_of_name: Split | None) -> None:
        """Take over a table; split_of_name: of its rows without a column for it."""
        table, roles = one.table, one.roles
        labels = one_hot_labels(table, roles.one_hot) if roles.one_hot else combined_labels(table, roles.labels)
        splits = _row_splits(table, roles.split) if roles.split else [split_of_name] * table.total_rows
        captions = [_texts(table.columns[column]) for column in roles.captions]
        files = table.texts(roles.file)
        # Lists are published for a whole dataset of which only a part may be here.
        must_exist = (one.has_labels or bool(roles.captions)) and not is_text(table.path)
        for row, image in enumerate(one.rows):
            if image is None:
                if must_exist:
                    detail = f"{table.name} row {row + 1}: no such image"
                    self.rejected.append(RejectedFile(files[row] or "(empty)", "missing_file", detail))
                continue
            if one.has_labels:
                self.labels.setdefault(image, {}).update({labels[row]: None} if labels[row] else {})
            for column in captions:
                self.captions.setdefault(image, {}).update(dict.fromkeys(column[row]))
            if (split := splits[row]) is not None:
                self.splits.setdefault(image, {})[split] = None


def join_tables(tables: Sequence[MatchedTable], choices: Choices, *, insist: bool) -> Annotations | None:
    """Return what the tables say together; None if that is nothing. insist: the user chose them."""
    by_names = _splits_of_names(tables) if choices.split is not False else {}
    with_labels = [one for one in tables if one.has_labels]
    # A table with names alone says which images have no label, beside others with labels.
    matched = [
        one for one in tables if with_labels or one.roles.captions or one.roles.split or one.table.path in by_names
    ]
    if not matched:
        return None
    said = _Said()
    for one in matched:
        said.add(one, by_names.get(one.table.path))
    return Annotations(
        layout=f"images with {_names(matched)}",
        labels={image: tuple(found) for image, found in said.labels.items()},
        captions={image: tuple(found) for image, found in said.captions.items() if found},
        splits={image: tuple(found) for image, found in said.splits.items()},
        unlabelled=_unlabelled(matched, said) if with_labels else frozenset(),
        labels_from=" and ".join(map(_labels_from, with_labels)),
        labels_in=", ".join(one.table.name for one in with_labels),
        captions_from=" and ".join(
            f"the column {', '.join(one.roles.captions)} of {one.table.path}" for one in matched if one.roles.captions
        ),
        splits_from=_splits_from(matched, by_names),
        used=frozenset(one.table.path for one in matched),
        overrides=insist or any(one.is_named for one in with_labels),
        is_chosen=insist,
        rejected=tuple(said.rejected),
        notes=tuple(note for one in matched if (note := _unused(one))),
    )


def _unlabelled(matched: Sequence[MatchedTable], said: _Said) -> frozenset[str]:
    """Return the images of tables without labels whose part or split has none in other tables either.

    captions.csv for all images and labels.csv for half of them leave the other half without a row: not among these.
    """
    labelled = {image for image, labels in said.labels.items() if labels}
    with_labels = {split for image in labelled for split in said.splits.get(image, ())}
    found: set[str] = set()
    for one in matched:
        if not one.has_labels and labelled.isdisjoint(one.images):
            found |= one.images
        elif not one.has_labels:
            by_split = ((image, said.splits.get(image, {})) for image in one.images)
            found |= {image for image, splits in by_split if splits and with_labels.isdisjoint(splits)}
    return frozenset(found - said.labels.keys())


def _splits_of_names(matched: Sequence[MatchedTable]) -> Mapping[str, Split]:
    """Return the splits that the tables' names stand for (train.csv, test.csv), if both occur."""
    found = {one.table.path: split for one in matched if (split := one.table.split) is not None}
    return found if len(set(found.values())) > 1 else {}


def _row_splits(table: Table, column: str) -> list[Split | None]:
    texts = table.texts(column)
    if column.lower() == "partition" and set(texts) <= _PARTITIONS.keys():
        return [_PARTITIONS[text] for text in texts]
    splits: list[Split | None] = []
    for row, text in enumerate(texts, start=1):
        split = split_of(text)
        if split is None and text:
            raise ValueError(
                f"{table.path} row {row}: {column} is {text!r}; expected train, test or validation; to ignore the "
                "column: --no-split"
            )
        splits.append(split)
    return splits


def _texts(values: Sequence[Any]) -> list[tuple[str, ...]]:
    """Return the captions in each cell: one text, or a list of them."""
    return [
        tuple(text for part in (value if isinstance(value, list) else [value]) if (text := cell_text(part)))
        for value in values
    ]


def _labels_from(one: MatchedTable) -> str:
    if one.roles.one_hot:
        return f"the names of the columns of {one.table.path} that are 1"
    return f"the column {', '.join(one.roles.labels)} of {one.table.path}"


def _splits_from(matched: Sequence[MatchedTable], by_names: Mapping[str, Split]) -> str:
    columns = [f"the column {one.roles.split} of {one.table.path}" for one in matched if one.roles.split]
    names = [path for path in by_names if not any(one.table.path == path and one.roles.split for one in matched)]
    return " and ".join([*columns, *([f"the names {', '.join(names)}"] if names else [])])


def _unused(one: MatchedTable) -> str:
    if not one.roles.unused:
        return ""
    shown = ", ".join(one.roles.unused[:_SHOWN_COLUMNS]) + (" ..." if len(one.roles.unused) > _SHOWN_COLUMNS else "")
    return f"note: columns of {one.table.path} that are not used: {shown}"


def _names(matched: Sequence[MatchedTable]) -> str:
    paths = [one.table.path for one in matched]
    return paths[0] if len(paths) == 1 else f"the tables {', '.join(paths)}"
