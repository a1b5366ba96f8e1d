"""Outputs of stages that dvc.yaml no longer has: they would be part of a plan, but not of the run's snapshot."""

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from flows.graph import open_repo
from flows.runs.retired import remove_retired
from flows.runs.run_plan import plan_run
from tests.flows.conftest import DVC_WARNS
from tests.project import change_parameters

pytestmark = DVC_WARNS


def _without_gan(values: Any) -> None:
    del values["models"]["gan"]


def test_outputs_of_a_removed_model_are_removed(done: Path) -> None:
    change_parameters(done, _without_gan)
    run_plan = plan_run(done, [])
    assert run_plan.retired == {"out/train/gan": "train@gan"}
    assert not (done / "out/train/gan").exists()
    assert (done / "out/train/diffusion").exists()
    assert (done / "metrics/gan.json").is_file()  # git does not ignore it, so the snapshot has it
    assert run_plan.plan["select"].action == "run"
    assert plan_run(done, []).retired == {}


def test_what_nobody_else_has_stays(done: Path) -> None:
    change_parameters(done, _without_gan)
    made = done / "out/train/gan"
    made.unlink()  # it may be a link into the cache
    made.write_text("edited")
    assert plan_run(done, []).retired == {}
    assert made.read_text() == "edited"


@pytest.mark.parametrize("use", [{"deps": ["out/train/gan"]}, {"outs": ["out/train/gan/inner"]}, {"outs": ["out"]}])
def test_what_a_stage_still_names_stays(done: Path, use: dict[str, Any]) -> None:
    """An input whose stage was removed, or something inside or around another output."""
    change_parameters(done, _without_gan)
    yaml, path = YAML(), done / "dvc.yaml"
    pipeline = yaml.load(path)
    pipeline["stages"] = {"new": {"cmd": "true", **use}}
    yaml.dump(pipeline, path)
    with open_repo(done) as repo:
        assert "out/train/gan" not in remove_retired(repo)
    assert (done / "out/train/gan").exists()
