"""What refuses a run before it begins, as far as the checkout tells: params.yaml, dvc.yaml, the remotes of git and DVC.

What only a server or a cluster knows refuses the run when its executor is opened.
"""

from collections.abc import Sequence
from pathlib import Path

from flows.executors.dispatch import check_portable, git_remote
from flows.executors.local import check_one_machine
from flows.executors.pools import pool_for
from flows.graph import StageNode, open_repo
from genai_core.config import PARAMS_FILE, ConfigError, load_config


def check_executable(executor: str, checkout: Path, stages: Sequence[StageNode]) -> None:
    """Raise ConfigError if the executor cannot run one of the stages."""
    if executor == "local":
        check_one_machine(stages)
        return
    check_portable(checkout)
    git_remote(checkout)
    _check_data_remote(checkout)
    if executor == "pool":
        compute = load_config(checkout / PARAMS_FILE).compute
        for stage in stages:
            pool_for(stage.name, stage.needs, compute)


def _check_data_remote(checkout: Path) -> None:
    with open_repo(checkout) as repo:
        if not repo.config["core"].get("remote"):
            raise ConfigError(
                f"{checkout}: other machines get data from the DVC remote and leave results there, and there is no "
                "default one; add one that all of them reach: dvc remote add --default NAME URL"
            )
