"""Open the executor of a run on an engine. Each engine's library is loaded on demand."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from flows.executors.dispatch import Dispatch, check_portable, published_snapshot
from flows.executors.engine import Engine, EngineExecutor, check_stages
from flows.executors.installed import check_installed
from flows.graph import StageNode
from flows.process import Processes
from flows.runs.place import Place
from flows.runs.record import RUNS
from genai_core.config import PARAMS_FILE, ComputeConfig, load_config


@contextmanager
def open_engine_executor(
    name: str,
    place: Place,
    workspace: Path,
    run: str,
    snapshot: str,
    stages: Sequence[StageNode],
    processes: Processes,
    variables: Mapping[str, str],
) -> Iterator[EngineExecutor]:
    """The executor of one run on engine `name`. stages: those that may run.

    Raises ConfigError or GitError before any does.
    """
    check_installed(name)
    check_portable(place.folder)
    compute = load_config(place.folder / PARAMS_FILE).compute
    with _opened(name, run, compute, workspace / RUNS / run) as engine:
        check_stages(engine, stages, compute)
        with published_snapshot(workspace, run, snapshot, processes.stop) as address:
            executor = EngineExecutor(engine, Dispatch(place, address, variables), processes, compute)
            try:
                yield executor
            finally:
                executor.close()


def _opened(name: str, run: str, compute: ComputeConfig, folder: Path) -> AbstractContextManager[Engine]:
    """folder: of the run."""
    if name == "slurm":
        from flows.executors.slurm_engine import open_slurm

        return open_slurm(run, compute.slurm, folder / "slurm")
    if name == "ray":
        from flows.executors.ray_engine import open_ray

        return open_ray()
    from flows.executors.dask_engine import open_dask

    return open_dask()
