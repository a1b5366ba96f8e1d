"""What refuses a run before it begins."""

from pathlib import Path

import pytest

from flows.data.stores import add_default_remote
from flows.executors.preflight import check_executable
from flows.graph import Needs, StageNode
from genai_core.config import ConfigError
from tests.flows.conftest import DVC_WARNS, set_parameter, shell

pytestmark = DVC_WARNS


def stage(needs: Needs) -> StageNode:
    return StageNode("train@gan", "", "true", needs, ())


def test_what_each_executor_needs(fresh: Path) -> None:
    one, two = [stage(Needs(memory_gb=4.0))], [stage(Needs(nodes=2))]
    check_executable("local", fresh, one)
    with pytest.raises(ConfigError, match=r"needs 2 machines .* and executor local has one"):
        check_executable("local", fresh, two)
    for executor in ("pool", "ray", "dask", "slurm"):
        with pytest.raises(ConfigError, match="git remote add origin URL"):
            check_executable(executor, fresh, one)
    shell(fresh, "git remote add origin ../origin.git")
    with pytest.raises(ConfigError, match="dvc remote add --default NAME URL"):
        check_executable("dask", fresh, one)
    add_default_remote(fresh, str(fresh.parent / "store"))
    check_executable("dask", fresh, two)
    with pytest.raises(ConfigError, match=r"compute\.pools: empty"):
        check_executable("pool", fresh, one)
    set_parameter(fresh, "compute.pools", {"cpu": {"cores": 2, "memory_gb": 2.0, "gpus": 0, "place": None}})
    with pytest.raises(ConfigError, match=r"no pool of compute\.pools has that"):
        check_executable("pool", fresh, one)
