"""The flow `backfill`: measure quality on every version of the data."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from filelock import FileLock, Timeout
from prefect import flow
from prefect.artifacts import create_table_artifact
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Cancelled, Completed, Failed

from flows.cancelled import until_cancelled
from flows.data.stores import Stores
from flows.data.versions import WORKING_TREE, CommittedVersion, VersionError, data_versions, version_at
from flows.git import commit_of
from flows.graph import open_repo
from flows.measuring.backfill_table import INCOMPLETE, Row, done, keep, place_of, write_table
from flows.registry.production import (
    DATASET,
    EXTRACTOR,
    Distance,
    count_tests,
    distance,
    distance_of_tests,
    draw,
    lay_out,
    lay_out_production,
    run_task_in,
    task_folder,
)
from flows.registry.read import MODEL
from flows.runs.checkout import data_worktree
from flows.runs.pipeline import NotCompleted, run_stages
from flows.whole_file import write_file
from flows.workspace import checked_config
from genai_core.config import PARAMS_FILE, EvaluationConfig
from genai_core.counted import counted


@flow(name="backfill", flow_run_name="backfill {revisions}", persist_result=False)
def backfill(workspace: str, revisions: str, retrain: bool = False, out: str = "backfill") -> State[None]:
    """Measure production, or a newly trained model, on each version of the data. Continues where it stopped.

    Raises VersionError, ProductionError, GitError or ConfigError.

    Args:
        workspace: The checkout, relative to where the worker runs.
        revisions: A..B: git revisions between which the data changed.
        retrain: Train on each version, instead of measuring production.
        out: The folder for quality.csv, .png and .html.
    """
    return until_cancelled(lambda: _backfill(workspace, revisions, retrain, out))


def _backfill(workspace: str, revisions: str, retrain: bool, out: str) -> State[None]:
    root, logger = Path(workspace).resolve(), get_run_logger()
    config = checked_config(root).evaluation
    versions, code = data_versions(root, revisions), commit_of(root)
    subject: _Subject = _Retrained(versions[-1], config) if retrain else _Production(root, config)
    place = place_of(root, code, subject.name)
    failed: list[str] = []
    with _exclusive(place):
        for version in subject.order(versions):
            if done(place, version.raw) is None:
                name = f"backfill/{place.name}-{version.raw[:10]}"
                try:
                    with data_worktree(root, code, version.commit, name) as tree:
                        run_stages(tree, subject.stages)
                        keep(place, subject.measure(version, tree, place))
                except NotCompleted as end:
                    if end.state.is_cancelled():
                        return Cancelled(message=f"stopped at data version {version.raw[:10]}")
                    logger.error("data version %s: %s", version.raw[:10], end.state.message)
                    failed.append(version.raw[:10])
        rows = [row for version in versions if (row := done(place, version.raw))]
        _publish(root, root / out, rows)
    if failed:
        message = f"measured {len(rows)} of {len(versions)} versions; failed: {', '.join(failed)}"
        return Failed(name=INCOMPLETE if rows else "Failed", message=message)
    return Completed(message=f"{counted(len(rows), 'version')} of the data, in {out}")


class _Subject(Protocol):
    """The model to measure on each version."""

    name: str
    stages: tuple[str, ...]

    def order(self, versions: tuple[CommittedVersion, ...]) -> tuple[CommittedVersion, ...]: ...

    def measure(self, version: CommittedVersion, tree: Path, place: Path) -> Row: ...


class _Production:
    """Production: the same images against each version's test images, in production's own features.

    At most as many test images per version as the oldest one has, since more images alone reduce the distance. The
    images have the oldest one's class proportions.
    """

    stages: tuple[str, ...] = ("prepare",)

    def __init__(self, root: Path, config: EvaluationConfig) -> None:
        self._config = config
        self._production = lay_out_production(root, (MODEL, EXTRACTOR))
        self.name = self._production.version

    def order(self, versions: tuple[CommittedVersion, ...]) -> tuple[CommittedVersion, ...]:
        return versions

    def measure(self, version: CommittedVersion, tree: Path, place: Path) -> Row:
        drawn = place / "drawn" / "images"
        if not drawn.is_dir():
            with _drawn(tree, self._production.folder, self._config, tree / DATASET) as new:
                shutil.move(new, place / "drawn")
        limit, available = place / "test-images", count_tests(tree / DATASET)
        if not limit.is_file():
            write_file(limit, str(available))
        count = min(available, int(limit.read_text()))
        with task_folder(tree, self._production.folder) as folder:
            found = distance_of_tests(tree, folder, drawn, tree / DATASET, count, get_run_logger().info)
        return _row(version, tree, self.name, version.raw, found)


class _Retrained:
    """A candidate trained on each version, against the newest version's test images, in that version's features.

    No test image becomes a training image in a later version, so the newest test images are new to every candidate.
    """

    stages: tuple[str, ...] = ("candidate",)

    def __init__(self, newest: CommittedVersion, config: EvaluationConfig) -> None:
        self._newest, self._config = newest, config
        self.name = f"retrained {newest.raw}"

    def order(self, versions: tuple[CommittedVersion, ...]) -> tuple[CommittedVersion, ...]:
        return tuple(reversed(versions))

    def measure(self, version: CommittedVersion, tree: Path, place: Path) -> Row:
        frozen = place / "frozen"
        if version == self._newest:
            made = version_at(tree, WORKING_TREE, None)
            with open_repo(tree) as repo:
                for path, md5 in ((DATASET, made.prepared), (EXTRACTOR, made.extractor)):
                    if md5 is None:
                        raise VersionError(f"the run on data version {version.raw[:10]} made no {path}")
                    lay_out(Stores(repo), md5, frozen / path, path)
            shutil.copy(tree / PARAMS_FILE, frozen)
        with _drawn(tree, tree, self._config, frozen / DATASET) as drawn:
            found = distance(tree, frozen, drawn / "images", frozen / DATASET, get_run_logger().info)
        return _row(version, tree, f"trained on {version.raw[:10]}", self._newest.raw, found)


@contextmanager
def _drawn(code: Path, folder: Path, config: EvaluationConfig, like: Path) -> Iterator[Path]:
    with task_folder(code, folder) as own:
        yield draw(code, own, "batch", config.total_images, config.seed, get_run_logger().info, like)


def _row(version: CommittedVersion, tree: Path, model: str, tested_on: str, found: Distance) -> Row:
    counts = json.loads((tree / DATASET / "dataset.json").read_text())["counts"]
    return Row(
        data=version.raw,
        commit=version.commit,
        committed=version.committed,
        train_images=counts.get("train", 0),
        test_images=counts.get("test", 0),
        model=model,
        tested_on=tested_on,
        metric=found.metric,
        value=found.value,
        low=found.low,
        high=found.high,
    )


def _publish(root: Path, out: Path, rows: list[Row]) -> None:
    """Write table, plot and page. A task draws the plot, because flows do not import matplotlib."""
    if not rows:
        return
    write_table(out, rows)
    run_task_in(root, root, ["tasks.trend", str(out)], get_run_logger().info)
    create_table_artifact([vars(row) for row in rows], key="backfill", description="Quality against data version")


@contextmanager
def _exclusive(place: Path) -> Iterator[None]:
    """Allow one backfill of this code and subject at a time."""
    place.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(place / ".lock", timeout=0.0):
            yield
    except Timeout:
        raise VersionError("the same backfill is already running in this checkout; wait until it ends") from None
