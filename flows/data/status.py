"""The status of the data: its version, and changes since it was tracked, committed, prepared and pushed.

Hashes nothing that DVC has hashed already, and reads no image: data/prepared has the facts about images.
"""

import csv
import json
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from flows.data.add import TrackedData, tracked_data
from flows.data.objects import RemoteError, address_of, faults_by_size, needed
from flows.data.sizes import sizes_at
from flows.data.stores import Stores
from flows.data.versions import PREPARE, PREPARED, find_commit, version_at
from flows.graph import GraphError, open_repo, read_graph
from flows.plan import make_plan, read_twice
from flows.workspace import RAW_DATA, check_lock_file, checked_config
from genai_core.image_size import ImageSize

if TYPE_CHECKING:
    from dvc.repo import Repo

_COLUMNS = ["source", "split", "label"]
_CAPTIONS = "captions"  # a column only of datasets with captions


@dataclass(frozen=True)
class RawSource:
    """A folder of data/raw. images, classes, rejected: of the last preparation; None if it lacked the folder."""

    name: str
    files: int | None  # None: new, DVC does not track it yet
    images: int | None
    classes: int | None
    rejected: int


@dataclass(frozen=True)
class ClassSplits:
    name: str
    train: int
    test: int


@dataclass(frozen=True)
class PreparedData:
    """data/prepared in the workspace."""

    fingerprint: str
    image_size: ImageSize
    channels: int
    splits: dict[str, int]
    classes: tuple[ClassSplits, ...]
    captioned_images: int
    rejected: dict[str, int]  # files by reason


@dataclass(frozen=True)
class AtRemote:
    """Objects that the working tree needs, and how many of them a remote lacks; error: why that is unknown."""

    address: str
    objects: int
    missing: int
    by_output: dict[str, int]
    error: str | None


@dataclass(frozen=True)
class DataStatus:
    """raw_place: where the images are. raw_changes: of data/raw since data/raw.dvc, or why there are no images.

    prepare_*: the plan's action for the stage, and why.
    """

    raw: TrackedData
    raw_place: Literal["workspace", "cache", "elsewhere"]
    raw_changes: tuple[str, ...]
    head_raw: str | None  # the version at git HEAD; None: not in HEAD
    sources: tuple[RawSource, ...]
    prepared: PreparedData | None
    prepare_action: str
    prepare_reasons: tuple[str, ...]
    remote: AtRemote | None  # None: no default remote

    @property
    def is_committed(self) -> bool:
        return self.head_raw == self.raw.md5

    def to_json(self) -> dict[str, Any]:
        values = asdict(self)
        if self.prepared is not None:
            values["prepared"]["image_size"] = self.prepared.image_size.to_json()
        return {**values, "is_committed": self.is_committed}


def status(workspace: Path, *, remote: str | None = None) -> DataStatus:
    """Read the status of a workspace's data. remote: by name; None: the default one.

    Raises ConfigError if there is no workspace, GraphError, and RemoteError if there is no such remote.
    """
    checked_config(workspace)
    check_lock_file(workspace)
    return read_twice(lambda: _status(workspace, remote))


def _status(workspace: Path, remote: str | None) -> DataStatus:
    with open_repo(workspace) as repo:
        stores = Stores(repo, remote)
        raw, head = tracked_data(workspace), find_commit(workspace, "HEAD")
        place: Literal["workspace", "cache", "elsewhere"] = "workspace"
        try:
            plan = make_plan(repo, read_graph(repo).up_to([PREPARE]))
            changes, entry = plan[f"{RAW_DATA}.dvc"].reasons, plan[PREPARE]
            action, reasons = str(entry.action), entry.reasons
            place = "cache" if plan[f"{RAW_DATA}.dvc"].action == "restore" else "workspace"
        except GraphError as error:  # the data is neither in the workspace nor in the cache
            changes, action, reasons = (str(error),), "run", (str(error),)
            place = "workspace" if (workspace / RAW_DATA).exists() else "elsewhere"
        listing = stores.listing(raw.md5) or {}
        tables = _Tables(workspace / PREPARED)
        return DataStatus(
            raw=raw,
            raw_place=place,
            raw_changes=changes,
            head_raw=version_at(workspace, "HEAD", head).raw if head else None,
            sources=tuple(_sources(workspace, listing, tables)),
            prepared=tables.prepared(),
            prepare_action=action,
            prepare_reasons=reasons,
            remote=_at_remote(repo, stores),
        )


class _Tables:
    """data/prepared, read once: dataset.json, three columns of the manifest, rejected.csv."""

    def __init__(self, folder: Path) -> None:
        self._info: dict[str, Any] | None = None
        self.images: Counter[tuple[str, str, int]] = Counter()  # (NAME, split, label)
        self.rejected: Counter[tuple[str, str]] = Counter()  # (NAME, reason)
        self._captioned_images = 0
        if not (folder / "manifest.parquet").is_file() or not (folder / "dataset.json").is_file():
            return
        self._info = json.loads((folder / "dataset.json").read_text())
        self.images.update(manifest_counts(folder / "manifest.parquet"))
        self._captioned_images = _captioned_images(folder / "manifest.parquet")
        with (folder / "rejected.csv").open(newline="", encoding="utf-8") as file:
            self.rejected.update((row["source"].partition("/")[0], row["reason"]) for row in csv.DictReader(file))

    @property
    def is_there(self) -> bool:
        return self._info is not None

    def prepared(self) -> PreparedData | None:
        if self._info is None:
            return None
        by_class: Counter[tuple[str, int]] = Counter()
        by_reason: Counter[str] = Counter()
        for (_, split, label), count in self.images.items():
            by_class[split, label] += count
        for (_, reason), count in self.rejected.items():
            by_reason[reason] += count
        return PreparedData(
            fingerprint=self._info["fingerprint"],
            image_size=ImageSize.from_json(self._info["image_size"]),
            channels=self._info["channels"],
            splits=dict(self._info["counts"]),
            classes=tuple(
                ClassSplits(name, by_class["train", label], by_class["test", label])
                for label, name in enumerate(self._info["classes"])
            ),
            captioned_images=self._captioned_images,
            rejected=dict(sorted(by_reason.items())),
        )


def manifest_counts(path: Path) -> dict[tuple[str, str, int], int]:
    """Return the number of images by source, split and label (-1: none) in a manifest."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    rows = pq.ParquetFile(path).read(columns=_COLUMNS)  # read_table would import pandas, which takes half a second
    name = pc.extract_regex(rows["source"], pattern=r"^(?P<name>[^/]*)")
    table = pa.table(
        {
            "name": pc.struct_field(name, "name"),
            "split": pc.cast(rows["split"], pa.string()),
            "label": rows["label"],
        }
    )
    counted = table.group_by(table.column_names).aggregate([([], "count_all")]).to_pylist()
    return {(row["name"], row["split"], row["label"]): row["count_all"] for row in counted}


def _captioned_images(path: Path) -> int:
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    if _CAPTIONS not in file.schema_arrow.names:
        return 0
    column = file.read(columns=[_CAPTIONS])[_CAPTIONS]
    return len(column) - int(column.null_count)


def _sources(workspace: Path, listing: dict[str, str], tables: _Tables) -> list[RawSource]:
    """The folders of data/raw: those that DVC tracks, and new ones on the disk."""
    files = Counter(name.partition("/")[0] for name in listing if "/" in name)
    folder = workspace / RAW_DATA
    on_disk = {path.name for path in folder.iterdir() if path.is_dir()} if folder.is_dir() else set()
    found = []
    for name in sorted({*files, *on_disk}):
        of_name = {(split, label): n for (source, split, label), n in tables.images.items() if source == name}
        rejected = sum(n for (source, _), n in tables.rejected.items() if source == name)
        seen = tables.is_there and bool(of_name or rejected)
        labels = {label for _, label in of_name if label >= 0}
        found.append(
            RawSource(
                name=name,
                files=files.get(name),
                images=sum(of_name.values()) if seen else None,
                classes=len(labels) if seen else None,
                rejected=rejected,
            )
        )
    return found


def _at_remote(repo: "Repo", stores: Stores) -> AtRemote | None:
    if stores.remote is None:
        return None
    address = address_of(stores.remote)
    try:
        needs = needed(repo, stores.remote)
        faults = faults_by_size(needs, stores.cache, sizes_at(stores.remote, needs.paths))
    except RemoteError as error:
        return AtRemote(address, 0, 0, {}, str(error))
    outputs = Counter("/".join(Path(fault.path).parts[:2]) for fault in faults)
    return AtRemote(address, len(needs.paths), len(faults), dict(sorted(outputs.items())), None)
