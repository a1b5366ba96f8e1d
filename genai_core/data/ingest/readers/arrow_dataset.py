"""Datasets that Hugging Face's `datasets` saved to disk: Arrow files with their images, read without that library.

    dataset_dict.json                        {"splits": ["train", "test"]}; only for several splits
    train/state.json                         {"_data_files": [{"filename": "data-00000-of-00001.arrow"}], ...}
    train/data-00000-of-00001.arrow          an Arrow stream; its schema names the classes (embedded_images.py)

The cache of `load_dataset` has the same Arrow files, named NAME-train.arrow.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from genai_core.data.ingest.readers.embedded_images import SAMPLED_ROWS, find_columns, item_of_row, text_columns
from genai_core.data.ingest.readers.items import Item, Reading, join_readings, split_in_path

ARROW_EXTENSIONS = (".arrow",)
_STATE_FILE = "state.json"
_DAMAGED = (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError)


def read_arrow(files: Sequence[Path], root: Path) -> Reading:
    """Read the images of the Arrow files, named <folder>-<file>-<row>.

    Of a folder with a state.json, only the files that it names are read: `map` leaves its own cache files beside them.
    Raises ValueError when one of those is missing, and for a damaged file.
    """
    wanted = [path for path in files if _is_data_file(path)]
    for folder in sorted({path.parent for path in files}):
        if missing := sorted(_data_files(folder) - {path.name for path in wanted if path.parent == folder}):
            raise ValueError(f"{folder / missing[0]}: {_STATE_FILE} names it, and it is missing; copy it too")
    if any((path.parent / _STATE_FILE).is_file() and _has_indices(path.parent) for path in wanted):
        raise ValueError(
            f"{root}: saved with an index of selected rows, which is not read; save it again with "
            "dataset.flatten_indices().save_to_disk(...)"
        )
    return join_readings([_read_file(path, root) for path in wanted])


def _read_file(path: Path, root: Path) -> Reading:
    with _opened(path) as stream:
        schema = stream.schema
        texts: dict[str, list[str]] = {column: [] for column in text_columns(schema)}
        rows = 0
        for batch in stream:
            for column, values in texts.items():
                if len(values) < SAMPLED_ROWS:
                    values += [value for value in batch.column(column).to_pylist() if value]
            rows += batch.num_rows
    columns = find_columns(str(path), schema, texts)
    split = split_in_path(path, root)
    parts = path.relative_to(root).with_suffix("").parts if path != root else (path.stem,)
    understood = replace(columns.understood, layout="dataset saved to disk (Arrow)")
    if split and not columns.split:
        understood = replace(understood, split="names of the folders" if len(parts) > 1 else "names of the files")
    splits = None if columns.split else frozenset({split})
    reading = Reading((), rows, understood=understood, splits=splits)

    def items() -> Iterator[Item]:
        index = 0
        with _opened(path) as stream:
            for batch in stream:
                for start in range(batch.num_rows):  # row by row: a batch of a thousand photographs fills the memory
                    [row] = batch.slice(start, 1).select(columns.wanted).to_pylist()
                    item = item_of_row(row, columns, f"{'-'.join(parts)}-{index:06d}", split, reading.rejected)
                    if item:
                        yield item
                    index += 1

    reading.items = items()
    if columns.label is None:
        reading.notes.append(f"{path.name}: no label column ({', '.join(schema.names)}), its images have no class")
    return reading


def _is_data_file(path: Path) -> bool:
    named = _data_files(path.parent)
    return path.name in named if named else not path.name.startswith(("cache-", "indices"))


def _data_files(folder: Path) -> set[str]:
    files = _state(folder).get("_data_files")
    return {str(file.get("filename")) for file in files if isinstance(file, dict)} if isinstance(files, list) else set()


def _has_indices(folder: Path) -> bool:
    return bool(_state(folder).get("_indices_data_files"))


def _state(folder: Path) -> dict[str, object]:
    path = folder / _STATE_FILE
    if not path.is_file():
        return {}
    try:
        state = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: damaged, or not JSON ({error})") from None
    return state if isinstance(state, dict) else {}


@contextmanager
def _opened(path: Path) -> Iterator[pa.RecordBatchReader]:
    """Open an Arrow stream, or an Arrow file as other tools write it."""
    try:
        with pa.memory_map(str(path)) as file:
            if file.read(6) == b"ARROW1":
                opened = pa.ipc.open_file(file)
                batches = (opened.get_batch(number) for number in range(opened.num_record_batches))
                yield pa.RecordBatchReader.from_batches(opened.schema, batches)
            else:
                file.seek(0)
                with pa.ipc.open_stream(file) as stream:
                    yield stream
    except _DAMAGED as error:
        raise ValueError(f"{path}: damaged, or not an Arrow file ({error}); save or download it again") from None
