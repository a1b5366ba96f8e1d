"""Lay out the model in production from DVC's cache or remote, generate images with it, and measure them."""

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from flows.data.objects import content_hash
from flows.data.stores import Stores
from flows.dvc_lock import lock_at
from flows.graph import open_repo
from flows.process import run_module
from flows.registry.marks import is_as_marked, mark
from flows.registry.read import MODEL, read_registry
from flows.scratch import scratch_folder
from genai_core import GenaiError
from genai_core.config import PARAMS_FILE

PLACE = Path(".genai/production")
BATCHES = Path("samples/production")  # generated with it; one folder VERSION-SEED per batch
EXTRACTOR, DATASET = "models/extractor", "data/prepared"

OnLine = Callable[[str], None]


class ProductionError(GenaiError):
    """Production cannot be used; the message says why and what to do."""


@dataclass(frozen=True)
class Production:
    """A version's outputs in a folder of its own. Several commands may use it at once, so tasks run elsewhere."""

    version: str
    commit: str
    folder: Path


@dataclass(frozen=True)
class Distance:
    """A Fréchet distance with its interval, and the name of the metric."""

    metric: str
    value: float
    low: float
    high: float


def lay_out_production(workspace: Path, outputs: Iterable[str] = (MODEL,)) -> Production:
    """Lay out `outputs` of the version in production, as its commit's dvc.lock names them.

    Raises ProductionError if nothing is in production or its data is missing; RemoteError, GitError.
    """
    standing = read_registry(workspace).production()
    if standing is None:
        raise ProductionError("nothing is in production yet; run `genai run`, commit, then run `genai promote`")
    lock = lock_at(workspace, standing.commit)
    folder = workspace / PLACE / standing.version
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.parent / ".lock"), open_repo(workspace) as repo:
        stores = Stores(repo)
        for path in outputs:
            item = lock.output(path)
            if item is None:
                raise ProductionError(f"{standing.version}: its commit has no {path}; promote a later version")
            lay_out(stores, item.md5, folder / path, f"{standing.version}'s {path}")
    return Production(standing.version, standing.commit, folder)


@contextmanager
def task_folder(code: Path, outputs: Path) -> Iterator[Path]:
    """A folder for tasks of the checkout `code`: with its parameters, and links to the models below `outputs`.

    Private, so no other command can change the parameters before a task reads them. Removed at the end.
    """
    with scratch_folder(outputs, "task") as folder:
        (folder / "models").symlink_to((outputs / "models").resolve())
        shutil.copy(code / PARAMS_FILE, folder)
        yield folder


def draw(code: Path, folder: Path, out: str, images: int, seed: int, on_line: OnLine, like: Path | None = None) -> Path:
    """Generate images with the candidate in a task folder into `out` there. code: the checkout whose task runs.

    like: a prepared dataset whose class proportions the images get, for a distance from it; None: equal numbers.
    """
    proportions = [] if like is None else [f"--like={like.resolve()}"]
    run_task_in(code, folder, ["tasks.draw", out, f"--images={images}", f"--seed={seed}", *proportions], on_line)
    return folder / out


def distance(code: Path, folder: Path, images: Path, dataset: Path, on_line: OnLine) -> Distance:
    """The distance of images from a dataset's test split, in the features of the extractor below `folder`.

    The interval covers the sampling of the images, with a fixed test split.
    """
    return _score(code, folder, images, [str(images), f"--against={dataset.resolve()}", "--split=test"], on_line)


def distance_of_tests(
    code: Path, folder: Path, images: Path, dataset: Path, test_images: int, on_line: OnLine
) -> Distance:
    """The distance of the same images from different test splits.

    The interval covers the sampling of the test images. With fewer images, the distance has a larger bias. To compare
    test splits, use the same number of random images from each: `test_images`.
    """
    arguments = [str(dataset.resolve()), "--images-split=test", f"--at-most={test_images}", f"--against={images}"]
    return _score(code, folder, images, arguments, on_line)


def count_tests(dataset: Path) -> int:
    """Number of images in the test split of a prepared dataset."""
    return int(json.loads((dataset / "dataset.json").read_text())["counts"].get("test", 0))


def lay_out(stores: Stores, md5: str, path: Path, what: str) -> None:
    """Lay out an output by its hash at `path`, as links into the cache, and hash every file. Raises ProductionError.

    Keeps an existing folder if none of its files changed.
    """
    if is_as_marked(path, md5):
        return
    files = stores.listing(md5)
    if files is None:
        raise ProductionError(
            f"{what} ({md5}) is neither in DVC's cache nor at the remote; push it from where it was made, or "
            "roll back (genai rollback)"
        )
    new = path.with_name(f".{path.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    lost = stores.lay_out(files, files, new)
    if lost:
        raise ProductionError(
            f"{what}: {len(lost)} of {len(files)} files are missing, for example {lost[0]}; roll back (genai rollback)"
        )
    for name, oid in files.items():
        if content_hash(stores.cache, str(new / name)) != oid:
            raise ProductionError(
                f"{what}: {name} is damaged in DVC's cache. Delete {(new / name).resolve()} and fetch it again "
                "(genai data pull in a checkout of its commit), or roll back (genai rollback)"
            )
    shutil.rmtree(path, ignore_errors=True)
    os.rename(new, path)
    mark(path, md5, files)


def run_task_in(code: Path, folder: Path, command: list[str], on_line: OnLine) -> None:
    """Run a task of the checkout `code` in another folder. Raises ProductionError with its last lines."""
    output: list[str] = []

    def on_output(line: str) -> None:
        output.append(line)
        on_line(line)

    path = os.pathsep.join(filter(None, [str(code), os.environ.get("PYTHONPATH", "")]))
    # run_module writes no bytecode: in `code`, stages may depend on the folder.
    status = run_module(command, folder=folder, environment={"PYTHONPATH": path}, on_line=on_output)
    if status != 0:
        raise ProductionError("\n".join([f"{command[0]} failed with status {status}:", *output[-8:]]))


def _score(code: Path, folder: Path, images: Path, arguments: list[str], on_line: OnLine) -> Distance:
    out = images.with_name(f"{images.name}.json")
    run_task_in(code, folder, ["tasks.score", *arguments, "--extractor=project", f"--out={out}"], on_line)
    figures = json.loads(out.read_text())
    metric = next(name for name in figures if name.startswith("fd_") and name in figures["interval"])
    ends = figures["interval"][metric]
    return Distance(metric, figures[metric], ends["low"], ends["high"])
