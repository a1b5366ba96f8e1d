"""Which work pool a stage's job goes to."""

from typing import Any

import pytest

from flows.executors.pools import pool_for
from flows.graph import Needs
from genai_core.config import ComputeConfig, ConfigError, load_config
from tests.project import ROOT

CPU = {"cores": 4, "memory_gb": 16.0, "gpus": 0, "place": None}
GPU = {"cores": 16, "memory_gb": 128.0, "gpus": 1, "place": None}
BIG = {"cores": 64, "memory_gb": 512.0, "gpus": 8, "place": "cellar"}


def compute(**values: Any) -> ComputeConfig:
    known = load_config(ROOT / "params.yaml").compute.model_dump()
    return ComputeConfig.model_validate({**known, **values})


ALL = compute(pools={"big": BIG, "gpu": GPU, "cpu": CPU})


@pytest.mark.parametrize(
    ("needs", "pool"),
    [
        (Needs(), "cpu"),
        (Needs(gpus=1), "gpu"),
        (Needs(gpus=2), "big"),
        (Needs(memory_gb=20), "gpu"),
        (Needs(cores=17), "big"),
        (Needs(place="cellar"), "big"),
    ],
)
def test_the_smallest_pool_that_has_what_the_stage_needs(needs: Needs, pool: str) -> None:
    assert pool_for("train@gan", needs, ALL) == pool


def test_gpus_are_used_where_there_are_some() -> None:
    without = {"pools": {"cpu": CPU}}
    assert pool_for("train@gan", Needs(gpus=1), compute(**without)) == "cpu"
    assert pool_for("train@gan", Needs(gpus=1), compute(**{**ALL.model_dump(), "accelerator": "cpu"})) == "cpu"
    with pytest.raises(ConfigError, match="train@gan needs 1 cores, 0 GB of memory and 1 GPUs, and no pool"):
        pool_for("train@gan", Needs(gpus=1), compute(accelerator="cuda", **without))


def test_what_no_worker_has_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"compute.pools has that: big \(64 cores, 512 GB, 8 GPUs, place cellar\)"):
        pool_for("train@gan", Needs(memory_gb=1000), ALL)
    with pytest.raises(ConfigError, match=r"meta\.place is 'attic', and no pool of compute.pools has it"):
        pool_for("train@gan", Needs(place="attic"), ALL)
    with pytest.raises(ConfigError, match=r"params.yaml: compute\.pools: empty"):
        pool_for("train@gan", Needs(), compute())


def test_an_executor_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="'local', 'pool', 'ray', 'dask' or 'slurm'"):
        compute(executor="spark")
