"""Edits that change a retraining's recipe, and edits that do not."""

from collections.abc import Callable
from pathlib import Path

import pytest

from flows.retraining.recipe import recipe_at, verdict_recipe_at
from tests.flows.conftest import DVC_WARNS, edit, parameter, set_parameter, shell
from tests.flows.retrain_home import new_home, put

pytestmark = DVC_WARNS


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy repository whose report has its own code, and whose flows have a gate."""
    home = new_home(tmp_path_factory.mktemp("recipe") / "home")
    edit(home / "dvc.yaml", "deps: [samples/batch, models/trained, tasks]", "deps: [samples/batch, page.py]")
    edit(home / "dvc.yaml", "deps: [models/candidate, tasks]", "deps: [models/candidate, page.py]")
    (home / "page.py").write_text("")
    (home / "flows/retraining").mkdir(parents=True)
    (home / "flows/retraining/gate.py").write_text("")
    shell(home, "git add -A && git commit -q -m base && git tag base")
    return home


def written(home: Path, path: str) -> None:
    (home / path).write_text("# an edit\n")


def changed(home: Path, key: str) -> None:
    set_parameter(home, key, parameter(home, key) + 1)


def added(home: Path) -> None:
    put(home, "second", 4)
    shell(home, "dvc add -q data/raw")


@pytest.mark.parametrize(
    ("change", "same", "same_verdict"),
    [
        (lambda home: written(home, "README.md"), True, True),
        (lambda home: written(home, "page.py"), True, True),  # of stages after the candidate
        (lambda home: changed(home, "generate.seed"), True, True),
        (lambda home: changed(home, "compute.checkpoint_every_s"), True, True),
        (lambda home: changed(home, "retrain.budget_device_hours"), True, True),
        (lambda home: set_parameter(home, "finetune.start", "base"), True, True),  # each retraining sets it
        (added, True, True),  # data is not part of the recipe
        (lambda home: set_parameter(home, "gate.max_worse_share", 0.01), True, False),
        (lambda home: written(home, "flows/retraining/gate.py"), True, False),
        (lambda home: changed(home, "finetune.seed"), False, False),
        (lambda home: changed(home, "models.gan.training.seed"), False, False),
        (lambda home: written(home, "tasks/select.py"), False, False),
        (lambda home: written(home, "tasks/compare_models.py"), False, False),
        (lambda home: edit(home / "dvc.yaml", "tasks.stage select", "tasks.stage  select"), False, False),
    ],
)
def test_edits_and_recipes(home: Path, change: Callable[[Path], None], same: bool, same_verdict: bool) -> None:
    shell(home, "git checkout -q base")
    change(home)
    shell(home, "git add -A && git commit -q -m edit")
    base, edited = (shell(home, f"git rev-parse {name}^{{commit}}").strip() for name in ("base", "HEAD"))
    assert base != edited
    assert (recipe_at(home, base) == recipe_at(home, edited)) is same
    assert (verdict_recipe_at(home, base) == verdict_recipe_at(home, edited)) is same_verdict
