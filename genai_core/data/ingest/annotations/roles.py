"""What the columns of a table are: the image's file, its label, its captions, its split."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from genai_core.data.ingest.annotations.attributes import attribute_columns, is_one_hot
from genai_core.data.ingest.annotations.finder import Finder
from genai_core.data.ingest.annotations.table_files import Table
from genai_core.data.ingest.choices import AskError, Choices
from genai_core.data.ingest.readers.columns import (
    CAPTION_COLUMNS,
    FILE_COLUMNS,
    LABEL_COLUMNS,
    SPLIT_COLUMNS,
    column_among,
)

_SAMPLED_ROWS = 200
# Labels are judged from this number of rows on. Of fewer, all may differ.
_FEWEST_TO_JUDGE = 8
_MAX_DIFFERENT_SHARE = 0.9
_AGREEING_SHARE = 0.8  # with the folders: the others are mistakes, which the user is asked about
_SHOWN_COLUMNS = 8


@dataclass(frozen=True)
class Roles:
    """Names of columns. one_hot: the columns of a one-hot table, whose names are the classes; then `labels` is empty.

    is_known_label: the label column was found by its name or chosen. unused: the others.
    """

    file: str
    labels: tuple[str, ...] = ()
    one_hot: tuple[str, ...] = ()
    captions: tuple[str, ...] = ()
    split: str | None = None
    is_known_label: bool = False
    unused: tuple[str, ...] = ()


def file_column(table: Table, finder: Finder) -> str | None:
    """Return the column that names images: the one with most matches, of equal ones the first known name."""
    known = [column for name in FILE_COLUMNS if (column := column_among(list(table.columns), [name])) is not None]
    endings = [column for column in table.columns if column.lower().endswith(("_file_name", "_file_names"))]
    candidates = dict.fromkeys([*known, *endings, *table.columns])
    for rows in (_spread(table.total_rows), range(table.total_rows)):
        best, best_share = None, 0.0
        for column in candidates:
            values = table.columns[column]
            # A label is no file name, even if images are called 0.png, 1.png ...: it has few values.
            texts = [str(values[row]).strip() for row in rows if isinstance(values[row], (str, int))]
            hits = set(finder.find_all(texts, table.folder, table.split)) - {None}
            share = len(hits) / max(1, len(rows))
            if share > best_share + 1e-9:
                best, best_share = column, share
        if best is not None or table.total_rows <= _SAMPLED_ROWS:
            return best
    return None


def roles_of(
    table: Table, file: str, choices: Choices, rows: Sequence[str | None], folders: Mapping[str, str]
) -> Roles:
    """Return what the columns are, by the user's choice, by their names, or because only one is left.

    rows: the image of each row. folders: the class of each image by its folder. A column without a known name that
    says the same has the labels.
    Raises AskError when a label cannot be told from the other columns, or hardly can be one.
    """
    rest = [column for column in table.columns if column != file and not _is_index(column)]
    for column in (*choices.label_columns, *filter(None, [choices.caption_column])):
        if column not in rest:
            raise ValueError(f"{table.path}: no column {column}; its columns are {_listed(list(table.columns))}")
    for column in choices.label_columns:
        if not _is_scalar(table, column):
            raise ValueError(f"{table.path}: --label-column {column}: its cells hold lists, not one label each")
    split = None
    if choices.split is not False:
        split = column_among([column for column in rest if column not in choices.label_columns], SPLIT_COLUMNS)
    rest = [column for column in rest if column != split]
    captions = _caption_columns(rest, choices)
    rest = [column for column in rest if column not in captions and _is_scalar(table, column)]
    if choices.layout == "flat":
        return Roles(file, captions=captions, split=split, unused=tuple(rest))
    if choices.label_columns:
        unused = tuple(column for column in rest if column not in choices.label_columns)
        return Roles(file, choices.label_columns, captions=captions, split=split, is_known_label=True, unused=unused)
    label = column_among(rest, LABEL_COLUMNS)
    if label is None:
        label = _of_folders(table, rest, rows, folders)
    is_known = label is not None
    if label is None and len(rest) > 1:
        attributes = attribute_columns(table, rest)
        if is_one_hot(table, attributes):
            unused = tuple(column for column in rest if column not in attributes)
            return Roles(file, one_hot=tuple(attributes), captions=captions, split=split, unused=unused)
        if not captions:
            raise AskError(_which_label(table, rest, attributes))
    if label is None and len(rest) == 1 and not captions:
        label = rest[0]
    if label is not None:
        _refuse_unique(table, label)
        _refuse_several(table, label)
    unused = tuple(column for column in rest if column != label)
    return Roles(file, (label,) if label else (), (), captions, split, is_known, unused)


def _of_folders(
    table: Table, columns: Sequence[str], rows: Sequence[str | None], folders: Mapping[str, str]
) -> str | None:
    """Return the column with the classes of the folders: fold and sex may be 0 or 1 too, and say something else.

    If no row is for an image in a class folder (val_annotations.txt), the only column with such values is meant.
    """
    classes = {*folders.values()}
    same = [column for column in columns if classes and table.distinct(column) <= classes]
    own = [folders.get(image) if image is not None else None for image in rows]
    labelled = [row for row, label in enumerate(own) if label is not None]
    if not labelled:
        return same[0] if len(same) == 1 else None
    for column in same:
        values = table.texts(column)
        if sum(values[row] == own[row] for row in labelled) >= _AGREEING_SHARE * len(labelled):
            return column
    return None


def _caption_columns(columns: Sequence[str], choices: Choices) -> tuple[str, ...]:
    if choices.caption_column:
        return (choices.caption_column,)
    known = column_among([column for column in columns if column not in choices.label_columns], CAPTION_COLUMNS)
    return (known,) if known else ()


def _refuse_unique(table: Table, label: str) -> None:
    values = [value for value in table.texts(label) if value]
    different = len(set(values))
    if len(values) >= _FEWEST_TO_JUDGE and different > _MAX_DIFFERENT_SHARE * len(values):
        raise AskError(
            f"{table.path}: {label} has {different:,} different values in {len(values):,} rows, so it is hardly a "
            f"class; choose --caption-column {quoted(label)} if these are captions, --label-column COLUMN, or "
            "--layout flat (no classes)"
        )


def _refuse_several(table: Table, label: str) -> None:
    """Raise AskError if the cells hold several labels each: many different cells of few words (haze primary)."""
    values = {value for value in table.distinct(label) if value}
    for separator in ("|", ";", ",", None):
        parts = {part.strip() for value in values for part in value.split(separator)}
        if len(values) >= _FEWEST_TO_JUDGE and 2 * len(parts) <= len(values):
            first = max(values, key=len)
            raise AskError(
                f"{table.path}: the cells of {label} hold several of {len(parts):,} labels, such as {first!r}; choose "
                f"--label-column {quoted(label)} to take each of the {len(values):,} combinations as a class, or "
                "--layout flat (no classes)"
            )


def _which_label(table: Table, columns: Sequence[str], attributes: Sequence[str]) -> str:
    counts = {column: len(table.distinct(column)) for column in columns}
    first = quoted(min(attributes or columns, key=lambda column: (counts[column] < 2, counts[column])))
    if len(attributes) > 1:
        two = quoted(",".join(attributes[:2]))
        return (
            f"{table.path}: has {len(attributes)} attributes ({_listed(attributes)}) and no label; choose one, "
            f"--label-column {first}, combinations, --label-column {two}, or no classes: --layout flat"
        )
    return (
        f"{table.path}: no label column can be told among {_listed(columns)}; choose one, --label-column {first}, or "
        "none: --layout flat; its captions: --caption-column COLUMN"
    )


def _listed(columns: Sequence[str]) -> str:
    more = f" and {len(columns) - _SHOWN_COLUMNS} more" if len(columns) > _SHOWN_COLUMNS else ""
    return ", ".join(columns[:_SHOWN_COLUMNS]) + more


def quoted(column: str) -> str:
    """Return a column as it is typed after an option."""
    return json.dumps(column, ensure_ascii=False) if " " in column else column


def _is_index(column: str) -> bool:
    """Whether a column is the row number that pandas writes."""
    return column.strip() == "" or column.lower().startswith(("unnamed: ", "__index_level_"))


def _is_scalar(table: Table, column: str) -> bool:
    return table.is_plain or not any(isinstance(value, (dict, list)) for value in table.columns[column])


def _spread(total: int) -> list[int]:
    step = max(1, total // _SAMPLED_ROWS)
    return list(range(0, total, step))
