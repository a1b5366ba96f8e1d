"""Outputs of stages that dvc.yaml no longer has: they would be part of a plan, but not of the run's snapshot."""

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from flows.graph import open_repo
from flows.runs.prepared_run import prepare_run
from flows.runs.retired import remove_retired
from flows.runs.run_plan import RunPlan, plan_run
from genai_core.config import ConfigError
from tests.flows.conftest import DVC_WARNS, shell
from tests.project import change_parameters

pytestmark = DVC_WARNS
GAN = "removed out/train/gan: the pipeline has no stage train@gan any more; DVC's cache keeps it"


def planned(workspace: Path) -> tuple[RunPlan, list[str]]:
    """The plan, and what was said about it."""
    said: list[str] = []
    return plan_run(workspace, [], said.append), said


def _without_gan(values: Any) -> None:
    del values["models"]["gan"]


def test_outputs_of_a_removed_model_are_removed(done: Path) -> None:
    change_parameters(done, _without_gan)
    run_plan, said = planned(done)
    assert said == [GAN]
    assert not (done / "out/train/gan").exists()
    assert (done / "out/train/diffusion").exists()
    assert (done / "metrics/gan.json").is_file()  # it was not committed, so nothing else has it
    assert run_plan.plan["select"].action == "run"
    assert planned(done)[1] == []


def test_metrics_of_a_removed_model_are_removed_if_git_has_them(done: Path) -> None:
    shell(done, "git add -A && git commit -q -m measured")
    change_parameters(done, _without_gan)
    metrics = done / "metrics/gan.json"
    before = metrics.read_text()
    metrics.write_text("{}")
    assert planned(done)[1] == [GAN]
    assert metrics.read_text() == "{}"  # somebody's own
    metrics.write_text(before)
    assert planned(done)[1] == ["removed metrics/gan.json: the pipeline has no stage train@gan any more; git keeps it"]
    assert not metrics.exists()


def test_what_was_removed_is_said_if_the_run_is_refused(done: Path) -> None:
    def refused(_plan: RunPlan) -> None:
        raise ConfigError("as asked")

    change_parameters(done, _without_gan)
    said: list[str] = []
    with pytest.raises(ConfigError, match="as asked"), prepare_run(done, (), None, said.append, refused):
        pass
    assert said == [GAN]


def test_what_was_removed_is_said_once_if_there_is_nothing_to_do(done: Path) -> None:
    change_parameters(done, _without_gan)
    said: list[str] = []
    with prepare_run(done, ("prepare",), None, said.append) as prepared:
        assert (prepared.active, prepared.notes, said) == (None, (), [GAN])


def test_what_nobody_else_has_stays(done: Path) -> None:
    change_parameters(done, _without_gan)
    made = done / "out/train/gan"
    made.unlink()  # it may be a link into the cache
    made.write_text("edited")
    assert planned(done)[1] == []
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
        assert "out/train/gan" not in [left.path for left in remove_retired(repo)]
    assert (done / "out/train/gan").exists()
