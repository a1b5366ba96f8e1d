"""Labels, captions and splits from all tables beside the images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from genai_core.data.dataset.dataset import Split
from genai_core.data.ingest.annotations.annotations import Annotations
from genai_core.data.ingest.annotations.attributes import combined_labels, one_hot_labels
from genai_core.data.ingest.annotations.finder import Finder
from genai_core.data.ingest.annotations.roles import Roles, file_column, roles_of
from genai_core.data.ingest.annotations.table_files import LABEL_STEMS, Table, cell_text, is_list, is_table, read_table
from genai_core.data.ingest.choices import AskError, Choices
from genai_core.data.ingest.listing import Listing
from genai_core.data.ingest.readers.columns import FILE_COLUMNS, column_among
from genai_core.data.ingest.readers.items import split_of
from genai_core.data.raw.formats import RejectedFile
from genai_core.data.raw.rules import is_image_name

# Answers of a competition to be filled in: their labels are placeholders.
_NO_LABELS = ("submission",)
_PARTITIONS: dict[str, Split] = {"0": "train", "1": "test", "2": "test"}  # CelebA: train, validation, test
_SHOWN_COLUMNS = 5


@dataclass
class _Matched:
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


def read_tables(listing: Listing, images: Sequence[str], choices: Choices, *, has_classes: bool) -> Annotations | None:
    """Read every table of the source whose rows name images; None if there is none.

    has_classes: the images are in class folders. Then tables are optional: damaged and ambiguous ones are left out,
    unless they are named labels, metadata or annotations, or the user chose a column or the layout. Raises ValueError
    when the tables cannot be used as they are, with the option that decides.
    """
    insist = choices.layout == "table" or bool(choices.label_columns or choices.caption_column)
    paths = [path for path in listing.others if _may_label(listing, path)]
    if not paths:
        if insist:
            raise ValueError(f"{listing.root}: no table (CSV, TSV, JSONL, Parquet) beside the images")
        return None
    finder = Finder(images)
    matched: list[_Matched] = []
    unmatched: list[Table] = []
    ambiguous: list[AskError] = []
    for path in paths:
        is_named = PurePosixPath(path).stem.lower() in LABEL_STEMS
        has_other_labels = has_classes and not is_named and not insist
        is_optional = has_other_labels or (is_list(path) and not insist)
        try:
            table = read_table(listing.root, path)
        except (ValueError, OSError):
            if is_optional:
                continue
            raise
        file = file_column(table, finder)
        if file is None:
            unmatched += [] if is_optional else [table]
            continue
        try:
            roles = roles_of(table, file, _for_table(choices, table, file))
        except AskError as error:
            if not has_other_labels:
                ambiguous.append(error)
            continue
        rows = [finder.find(text, table.folder, table.split) for text in table.texts(file)]
        one = _Matched(table, roles, rows)
        if not (has_other_labels and one.has_labels and not roles.is_known_label):
            matched.append(one)
    if ambiguous and not any(one.has_labels for one in matched):
        raise AskError(f"{listing.root}: {ambiguous[0]}")
    if not matched and unmatched and choices.layout != "flat":
        raise ValueError(f"{listing.root}: {_no_match(unmatched)}")
    _check_choices(listing, matched, choices)
    return _joined(_without_doubles(listing, matched), choices, insist=insist) if matched else None


def _may_label(listing: Listing, path: str) -> bool:
    if any(word in PurePosixPath(path).stem.lower() for word in _NO_LABELS):
        return False
    if path.lower().endswith(".parquet"):
        return not _holds_bytes(listing, path)
    return is_table(path) or is_list(path)


def _holds_bytes(listing: Listing, path: str) -> bool:
    try:
        kinds = [field.type for field in pq.read_schema(listing.root / path)]
        kinds += [part.type for kind in kinds if pa.types.is_struct(kind) for part in kind]
        return any(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) for kind in kinds)
    except (pa.ArrowException, OSError):
        return False  # the message comes when it is read


def _for_table(choices: Choices, table: Table, file: str) -> Choices:
    """Return the choices for one of several tables: a chosen column is only in some of them."""
    columns = set(table.columns) - {file}
    if set(choices.label_columns) <= columns and (choices.caption_column or file) in {*columns, file}:
        return choices
    labels = choices.label_columns if set(choices.label_columns) <= columns else ()
    caption = choices.caption_column if choices.caption_column in columns else None
    # Without the chosen column, a table gives captions and a split, but no labels.
    layout = "flat" if choices.label_columns and not labels else choices.layout
    return Choices(layout, labels, caption, choices.split)


def _check_choices(listing: Listing, matched: Sequence[_Matched], choices: Choices) -> None:
    known = {column: None for one in matched for column in one.table.columns}
    for option, columns in (("--label-column", choices.label_columns), ("--caption-column", [choices.caption_column])):
        for column in filter(None, columns):
            if column not in known:
                raise ValueError(f"{listing.root}: {option} {column}: no such column; there are {', '.join(known)}")


def _no_match(tables: Sequence[Table]) -> str:
    table = next((table for table in tables if table.stem in LABEL_STEMS), tables[0])
    columns = list(table.columns)
    file = column_among(columns, FILE_COLUMNS) or next(
        (column for column in columns if any(map(is_image_name, table.texts(column)))), None
    )
    if file is None:
        return (
            f"{table.path}: no file column among {', '.join(columns)}, none of them names an image; correct the names, "
            "or move the table away"
        )
    first = next(filter(None, table.texts(file)), "(no row)")
    return (
        f"{table.path}: none of its {table.total_rows:,} rows names an existing image; the first: {first}; correct the "
        "names, or move the table away"
    )


def _without_doubles(listing: Listing, matched: Sequence[_Matched]) -> list[_Matched]:
    """Return the tables to use. Of several with labels for the same images, the ones with a name for labels count."""
    labelled = [one for one in matched if one.has_labels]
    named = [one for one in labelled if one.is_named]
    for index, one in enumerate(labelled):
        others = [other for other in labelled[index + 1 :] if one.images & other.images]
        if others and not any(table in named for table in (one, *others)):
            listed = ", ".join(table.table.path for table in (one, *others))
            raise AskError(
                f"{listing.root}: several tables could hold the labels: {listed}; rename the right one to "
                f"labels{PurePosixPath(one.table.path).suffix}"
            )
    covered = {image for one in named for image in one.images}
    return [one for one in matched if not one.has_labels or one in named or not one.images & covered]


def _joined(tables: Sequence[_Matched], choices: Choices, *, insist: bool) -> Annotations | None:
    labels: dict[str, dict[str, None]] = {}
    captions: dict[str, dict[str, None]] = {}
    splits: dict[str, dict[Split, None]] = {}
    rejected: list[RejectedFile] = []
    by_names = _splits_of_names(tables) if choices.split is not False else {}
    with_labels = [one for one in tables if one.has_labels]
    # A table with names alone says which images have no label, beside others with labels.
    matched = [
        one for one in tables if with_labels or one.roles.captions or one.roles.split or one.table.path in by_names
    ]
    if not matched:
        return None
    for one in matched:
        table, roles = one.table, one.roles
        row_labels = one_hot_labels(table, roles.one_hot) if roles.one_hot else combined_labels(table, roles.labels)
        row_splits = _row_splits(table, roles.split) if roles.split else [by_names.get(table.path)] * table.total_rows
        row_captions = [_texts(table.columns[column]) for column in roles.captions]
        files = table.texts(roles.file)
        # Lists are published for a whole dataset of which only a part may be here.
        must_exist = (one.has_labels or bool(roles.captions)) and not is_list(table.path)
        for row, image in enumerate(one.rows):
            if image is None and not must_exist:
                continue
            if image is None:
                detail = f"{table.name} row {row + 1}: no such image"
                rejected.append(RejectedFile(files[row] or "(empty)", "missing_file", detail))
                continue
            if one.has_labels:
                said = labels.setdefault(image, {})
                if row_labels[row]:
                    said[row_labels[row]] = None
            for column in row_captions:
                captions.setdefault(image, {}).update(dict.fromkeys(column[row]))
            if (split := row_splits[row]) is not None:
                splits.setdefault(image, {})[split] = None
    without = frozenset(image for one in matched if not one.has_labels for image in one.images)
    return Annotations(
        layout=f"images with {_names(matched)}",
        labels={image: tuple(said) for image, said in labels.items()},
        captions={image: tuple(said) for image, said in captions.items() if said},
        splits={image: tuple(said) for image, said in splits.items()},
        unlabelled=without - labels.keys() if with_labels else frozenset(),
        labels_from=" and ".join(map(_labels_from, with_labels)),
        labels_in=", ".join(one.table.name for one in with_labels),
        captions_from=" and ".join(
            f"the column {', '.join(one.roles.captions)} of {one.table.path}" for one in matched if one.roles.captions
        ),
        splits_from=_splits_from(matched, by_names),
        used=frozenset(one.table.path for one in matched),
        overrides=insist or any(one.is_named for one in with_labels),
        is_chosen=insist,
        rejected=tuple(rejected),
        notes=tuple(note for one in matched if (note := _unused(one))),
    )


def _splits_of_names(matched: Sequence[_Matched]) -> Mapping[str, Split]:
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


def _labels_from(one: _Matched) -> str:
    if one.roles.one_hot:
        return f"the names of the columns of {one.table.path} that are 1"
    return f"the column {', '.join(one.roles.labels)} of {one.table.path}"


def _splits_from(matched: Sequence[_Matched], by_names: Mapping[str, Split]) -> str:
    columns = [f"the column {one.roles.split} of {one.table.path}" for one in matched if one.roles.split]
    names = [path for path in by_names if not any(one.table.path == path and one.roles.split for one in matched)]
    return " and ".join([*columns, *([f"the names {', '.join(names)}"] if names else [])])


def _unused(one: _Matched) -> str:
    if not one.roles.unused:
        return ""
    shown = ", ".join(one.roles.unused[:_SHOWN_COLUMNS]) + (" ..." if len(one.roles.unused) > _SHOWN_COLUMNS else "")
    return f"note: columns of {one.table.path} that are not used: {shown}"


def _names(matched: Sequence[_Matched]) -> str:
    paths = [one.table.path for one in matched]
    return paths[0] if len(paths) == 1 else f"the tables {', '.join(paths)}"
