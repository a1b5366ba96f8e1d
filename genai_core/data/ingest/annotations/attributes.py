"""Tables with one column per attribute: -1 or 1 in CelebA's form, 0 or 1 in others."""

from collections.abc import Sequence

from genai_core.data.ingest.annotations.table_files import Table, cell_text

_YES, _NO = {"1", "1.0", "true", "yes"}, {"0", "0.0", "-1", "-1.0", "false", "no"}
_JOIN = " and "


def attribute_columns(table: Table, columns: Sequence[str]) -> list[str]:
    """Return the columns that only have yes and no in them, in whatever form, and both of them."""
    found = []
    for column in columns:
        values = {value.lower() for value in table.distinct(column)}
        if values <= _YES | _NO and values & _YES and values & _NO:
            found.append(column)
    return found


def is_one_hot(table: Table, columns: Sequence[str]) -> bool:
    """Whether exactly one of the columns says yes in each row, so that its name is the class."""
    if len(columns) < 2:
        return False
    counts = [0] * table.total_rows
    for column in columns:
        for row, value in enumerate(table.columns[column]):
            counts[row] += cell_text(value).lower() in _YES
        if max(counts, default=0) > 1:
            return False
    return set(counts) == {1}


def one_hot_labels(table: Table, columns: Sequence[str]) -> list[str]:
    """Return the name of the column that says yes, for each row of a one-hot table."""
    labels = [""] * table.total_rows
    for column in columns:
        for row, value in enumerate(table.texts(column)):
            if value.lower() in _YES:
                labels[row] = column
    return labels


def combined_labels(table: Table, columns: Sequence[str]) -> list[str]:
    """Return the label of each row from the columns that the user chose; empty if one of them is.

    An attribute's yes is its name, its no "not" and its name: `Male and not Smiling`. Other values stay as they are.
    """
    parts = []
    attributes = set(attribute_columns(table, columns))
    for column in columns:
        values = table.texts(column)
        if column in attributes and (len(columns) > 1 or not {"-1", "-1.0"}.isdisjoint(values)):
            values = [column if value.lower() in _YES else f"not {column}" for value in values]
        parts.append(values)
    return [_JOIN.join(row) if all(row) else "" for row in zip(*parts, strict=True)]
