"""Labels, captions and splits from all tables beside the images."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

import pyarrow as pa
import pyarrow.parquet as pq

from genai_core.data.ingest.annotations.annotations import Annotations
from genai_core.data.ingest.annotations.finder import Finder
from genai_core.data.ingest.annotations.join_tables import MatchedTable, join_tables
from genai_core.data.ingest.annotations.roles import file_column, quoted, roles_of
from genai_core.data.ingest.annotations.table_files import (
    LABEL_STEMS,
    MOST_FILES,
    Table,
    is_list,
    is_table,
    is_text,
    is_without_labels,
    json_table,
    read_table,
)
from genai_core.data.ingest.choices import AskError, Choices
from genai_core.data.ingest.convert.kinds import is_source_image
from genai_core.data.ingest.listing import Listing
from genai_core.data.ingest.readers.columns import FILE_COLUMNS, column_among

_MEANT_SHARE = 0.2


def read_tables(
    listing: Listing, images: Sequence[str], choices: Choices, *, has_classes: bool, folders: Mapping[str, str]
) -> Annotations | None:
    """Read every table of the source whose rows name images; None if there is none.

    has_classes: the images have labels without tables, such as those of folders. folders: these, by the image; those
    beside class folders are not in it. Then tables are optional:
    damaged and ambiguous ones are left out, unless they are named labels, metadata or annotations, or the user chose a
    column or the layout. Raises ValueError when the tables cannot be used as they are, with the option that decides.
    """
    insist = choices.layout == "table" or bool(choices.label_columns or choices.caption_column)
    paths = [path for path in listing.others if _may_label(listing, path)]
    # Judged by their contents; lists with any name only if there is nothing else. Each is read when it is needed,
    # because all of them together may not fit into memory.
    by_content = [*_json_files(listing), *([] if paths or has_classes else _other_lists(listing))]
    total_tables = 0
    exact: Finder | None = None
    loose: Finder | None = None
    matched: list[MatchedTable] = []
    notes: list[str] = []
    unmatched: list[Table] = []
    ambiguous: list[AskError] = []
    for path in (*paths, *by_content):
        is_named = PurePosixPath(path).stem.lower() in LABEL_STEMS
        has_other_labels = has_classes and not is_named and not insist
        is_optional = has_other_labels or ((is_list(path) or path in by_content) and not insist)
        try:
            table = _table_by_content(listing, path) if path in by_content else read_table(listing.root, path)
        except (ValueError, OSError):
            if is_optional or path in by_content:
                continue
            raise
        if table is None:
            continue
        total_tables += 1
        is_meant = is_named and path in by_content and _names_files(table)
        is_optional = is_optional and not is_meant
        exact = exact or Finder(images)
        finder = exact
        file = file_column(table, exact)
        if file is None and not is_optional:
            finder = loose = loose or Finder(images, loosely=True)
            file = file_column(table, finder)
            if file is not None:
                notes.append(f"note: {path}: its names are those of the images but for capitals, accents or endings")
        if file is None:
            unmatched += [] if is_optional else [table]
            continue
        rows = finder.find_all(table.texts(file), table.folder, table.split)
        if path in by_content and not is_meant and 2 * sum(row is not None for row in rows) <= max(2, len(rows)):
            continue  # something else, in which a name of an image occurs
        try:
            roles = roles_of(table, file, _for_table(choices, table, file), rows, folders)
        except AskError as error:
            if not has_other_labels:
                ambiguous.append(error)
            continue
        if path in by_content and roles.labels and not roles.is_known_label:
            if not has_other_labels:
                ambiguous.append(_hardly_a_label(table, roles.labels[0]))
            continue
        one = MatchedTable(table, roles, rows)
        if not (has_other_labels and one.has_labels and not roles.is_known_label):
            matched.append(one)
    if insist and not total_tables:
        raise ValueError(f"{listing.root}: no table (CSV, TSV, JSONL, Parquet) beside the images")
    if ambiguous and not any(one.has_labels for one in matched):
        raise AskError(f"{listing.root}: {ambiguous[0]}")
    if not matched and unmatched and choices.layout != "flat":
        raise ValueError(f"{listing.root}: {_no_match(unmatched)}")
    _check_choices(listing, matched, choices)
    joined = join_tables(_without_doubles(listing, matched), choices, insist=insist) if matched else None
    return replace(joined, notes=(*notes, *joined.notes)) if joined and notes else joined


def has_table_of_images(listing: Listing) -> bool:
    """Whether a text table, or one with a name for labels, names images.

    Other Parquet files beside samples only repeat them, with the downloads that failed (img2dataset).
    """
    finder = Finder(listing.images)
    for path in listing.others:
        is_named = PurePosixPath(path).stem.lower() in LABEL_STEMS
        if is_table(path) and _may_label(listing, path) and (is_named or not path.lower().endswith(".parquet")):
            try:
                if file_column(read_table(listing.root, path), finder) is not None:
                    return True
            except (ValueError, OSError):
                if is_named:
                    return True  # the message comes when it is read
    return False


def _json_files(listing: Listing) -> list[str]:
    """Return the JSON files that may be tables. Many JSON files are one per image, in some other form."""
    paths = [path for path in listing.others if path.lower().endswith(".json")]
    return paths if len(paths) <= MOST_FILES else []


def _other_lists(listing: Listing) -> list[str]:
    """Return the texts that may be lists, under whatever name: image_list.txt, identity_CelebA.txt."""
    paths = [path for path in listing.others if is_text(path) and not is_list(path) and not is_without_labels(path)]
    return paths if len(paths) <= MOST_FILES else []


def _table_by_content(listing: Listing, path: str) -> Table | None:
    """Read a JSON file or a text as a table; None if it is none. Raises ValueError if a text is none."""
    if not is_text(path):
        return json_table(listing.root, path)
    table = read_table(listing.root, path)
    return table if len(table.columns) > 1 else None


def _names_files(table: Table) -> bool:
    """Whether most rows name an image, here or not: metadata.json may also describe the dataset."""
    columns = map(table.texts, table.columns)
    return any(2 * sum(map(is_source_image, texts)) > table.total_rows for texts in columns)


def _hardly_a_label(table: Table, column: str) -> AskError:
    return AskError(
        f"{table.path}: its column {column} may hold labels, or something else; choose --label-column "
        f"{quoted(column)} if it has the classes, --caption-column {quoted(column)} if it has captions, or "
        "--layout flat (no classes)"
    )


def _may_label(listing: Listing, path: str) -> bool:
    if is_without_labels(path):
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


def _check_choices(listing: Listing, matched: Sequence[MatchedTable], choices: Choices) -> None:
    known = {column: None for one in matched for column in one.table.columns}
    for option, columns in (("--label-column", choices.label_columns), ("--caption-column", [choices.caption_column])):
        for column in filter(None, columns):
            if column not in known:
                raise ValueError(f"{listing.root}: {option} {column}: no such column; there are {', '.join(known)}")


def _no_match(tables: Sequence[Table]) -> str:
    table = next((table for table in tables if table.stem in LABEL_STEMS), tables[0])
    columns = list(table.columns)
    file = column_among(columns, FILE_COLUMNS) or next(
        (column for column in columns if any(map(is_source_image, table.texts(column)))), None
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


def _without_doubles(listing: Listing, matched: Sequence[MatchedTable]) -> list[MatchedTable]:
    """Return the tables to use. Of several with labels for the same images, the ones with a name for labels count."""
    labelled = [one for one in matched if one.has_labels]
    # labels.csv may also say what the labels 0 to 9 of another table mean, if there are images 0.png, 1.png ...
    most = max((len(one.images) for one in labelled), default=0)
    labelled = [one for one in labelled if not one.is_named or _MEANT_SHARE * most <= len(one.images)]
    matched = [one for one in matched if not one.has_labels or one in labelled]
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
