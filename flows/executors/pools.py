"""Choose the work pool of a stage: the smallest one whose workers have what the stage needs."""

from collections.abc import Mapping

from flows.graph import Needs
from genai_core.config import ComputeConfig, ConfigError, PoolConfig


def pool_for(stage: str, needs: Needs, compute: ComputeConfig) -> str:
    """The name of the pool for a stage. Raises ConfigError if no pool has what it needs.

    As on one machine, a stage that would use GPUs runs without them where there are none, unless `compute.accelerator`
    is cuda.
    """
    pools = {name: pool for name, pool in compute.pools.items() if needs.place in (None, pool.place)}
    if not pools:
        raise ConfigError(_no_pool(stage, needs, compute))
    most = max(pool.gpus for pool in pools.values())
    gpus = 0 if compute.accelerator == "cpu" else needs.gpus
    if compute.accelerator == "auto" and most == 0:
        gpus = 0
    fitting = {name: pool for name, pool in pools.items() if _fits(pool, needs, gpus)}
    if not fitting:
        raise ConfigError(
            f"dvc.yaml: {stage} needs {needs.cores} cores, {needs.memory_gb:g} GB of memory and {gpus} GPUs, and no "
            f"pool of compute.pools has that: {_described(pools)}"
        )
    # Not the order in the file alone: a stage that needs no GPU must not keep one busy.
    return min(fitting, key=lambda name: (fitting[name].gpus, fitting[name].memory_gb, fitting[name].cores))


def _fits(pool: PoolConfig, needs: Needs, gpus: int) -> bool:
    return pool.cores >= needs.cores and pool.memory_gb >= needs.memory_gb and pool.gpus >= gpus


def _no_pool(stage: str, needs: Needs, compute: ComputeConfig) -> str:
    if not compute.pools:
        return (
            "params.yaml: compute.pools: empty; executor pool needs the name of a work pool, and what its workers have"
        )
    return f"dvc.yaml: {stage}: meta.place is {needs.place!r}, and no pool of compute.pools has it: " + _described(
        compute.pools
    )


def _described(pools: Mapping[str, PoolConfig]) -> str:
    return "; ".join(
        f"{name} ({pool.cores} cores, {pool.memory_gb:g} GB, {pool.gpus} GPUs, place {pool.place})"
        for name, pool in pools.items()
    )
