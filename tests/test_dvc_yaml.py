"""dvc.yaml against the code and the config: every stage names the code that it runs and the parameters it reads."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dvc.dependency.param import ParamsDependency
from dvc.repo import Repo
from dvc.stage import PipelineStage

from genai_core.config import Config, load_config
from tasks.report_parts import NO_RESULTS
from tasks.select import family_code
from tests.test_rooms import ROOT, imports

# Values are written in params.yaml without exception, so the types that check them cannot change a stage's result.
# The packages' __init__.py contain a docstring, and one a lazy import.
NOT_TRACKED = "genai_core/config"

# Sections about when and how runs are done, and about their results. They are not parameters of any stage.
HOW = {"compute", "retrain", "gate", "watch", "notify", "serve", "search"}


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, PipelineStage]]:
    """The project's stages as DVC expands them, in a separate repo."""
    folder = tmp_path_factory.mktemp("stages")
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(ROOT / name, folder)
    Repo.init(str(folder), no_scm=True).close()
    with Repo(str(folder)) as repo:
        yield {stage.name: stage for stage in repo.index.stages}


def closure(path: Path) -> set[Path]:
    """The project's files that importing `path` executes, including `path`."""
    found, waiting = set(), [path]
    while waiting:
        current = waiting.pop()
        if current in found:
            continue
        found.add(current)
        for module in imports(current):
            candidate = ROOT / Path(*module.split(".")).with_suffix(".py")
            if candidate.is_file():
                waiting.append(candidate)
    return found


def declared_code(stage: PipelineStage) -> set[Path]:
    """The Python files that a stage's deps name, folders opened."""
    found: set[Path] = set()
    for dep in stage.deps:
        path = ROOT / dep.def_path
        if path.suffix == ".py":
            found.add(path)
        elif dep.def_path.startswith(("genai_core", "tasks")):
            found.update(path.rglob("*.py"))
            found.update(path.rglob("*.j2"))
    return found


def code_run_by(stage: PipelineStage, config: Config) -> set[Path]:
    task = stage.cmd.split()[2]
    code = closure(ROOT / Path(*task.split(".")).with_suffix(".py"))
    model = stage.name.partition("@")[2]
    families = {name: ROOT / "genai_core" / "models" / f"{name}.py" for name in known_families(config)}
    if model:  # artifact.py imports the families by name
        code |= closure(families[config.models[model].family])
    elif ROOT / "genai_core" / "models" / "artifact.py" in code:
        # The family is known only at run time; code.json pins its files.
        own = {ROOT / path for name in families for path in family_code(name)}
        code |= set().union(*map(closure, families.values())) - own
    return {path for path in code if path.name != "__init__.py" and ROOT / NOT_TRACKED not in path.parents}


def shared_parts(config: Config) -> set[Path]:
    """Parts of networks that families in params.yaml share."""
    code = set().union(*(closure(ROOT / "genai_core" / "models" / f"{name}.py") for name in known_families(config)))
    return {path for path in code if path.parent == ROOT / "genai_core" / "models" / "networks"}


def known_families(config: Config) -> set[str]:
    return {model.family for model in config.models.values()}


def test_every_stage_lists_the_code_that_it_runs(stages: dict[str, PipelineStage]) -> None:
    config = load_config(ROOT / "params.yaml")
    for name, stage in stages.items():
        missing = code_run_by(stage, config) - declared_code(stage)
        assert sorted(str(path.relative_to(ROOT)) for path in missing) == [], f"{name}: run, but not among its deps"


def test_no_stage_lists_code_that_it_does_not_run(stages: dict[str, PipelineStage]) -> None:
    config = load_config(ROOT / "params.yaml")
    for name, stage in stages.items():
        if name == "select":
            continue  # reads the families' files instead of importing them: see the next test
        code = code_run_by(stage, config)
        if "@" in name:  # one list of shared parts for all families, though not all use each part
            code |= shared_parts(config)
        for dep in stage.deps:
            path = ROOT / dep.def_path
            if dep.def_path.startswith(("genai_core", "tasks")):
                used = path in code or any(path in file.parents for file in code)
                assert used, f"{name}: {dep.def_path} is among its deps, but not run"


def test_changing_the_gan_affects_only_the_stages_downstream_of_it(stages: dict[str, PipelineStage]) -> None:
    for gan in family_code("gan"):
        direct = {
            name
            for name, stage in stages.items()
            if any(gan == d.def_path or gan.startswith(f"{d.def_path}/") for d in stage.deps)
        }
        # select writes the hash of the chosen family's code into models/selected; later stages depend on it
        assert direct == {"train@gan", "evaluate@gan", "select"}


def test_stages_after_the_selection_depend_on_its_familys_code(stages: dict[str, PipelineStage]) -> None:
    assert "models/selected/code.json" in [dep.def_path for dep in stages["finetune"].deps]


def test_parameters_and_config_name_the_same_keys(stages: dict[str, PipelineStage]) -> None:
    """Each parameter of dvc.yaml is in the config, and each key of the config is some stage's parameter."""
    values = load_config(ROOT / "params.yaml").model_dump()
    tracked = {
        key
        for stage in stages.values()
        for dep in stage.deps
        if isinstance(dep, ParamsDependency)
        for key in dep.params
    }
    for key in tracked:
        lookup(values, key)
    leaves = {leaf for leaf in flat(values) if leaf.partition(".")[0] not in HOW}
    untracked = {leaf for leaf in leaves if not any(leaf == key or leaf.startswith(f"{key}.") for key in tracked)}
    assert untracked == set()
    assert not any(key.partition(".")[0] in HOW for key in tracked)
    assert NO_RESULTS == HOW  # the report shows what it depends on


def test_training_and_sampling_parameters_are_separate_for_every_model(stages: dict[str, PipelineStage]) -> None:
    """A change of sampling options repeats the evaluation, not the training."""
    for name in load_config(ROOT / "params.yaml").models:
        keys = {key for d in stages[f"train@{name}"].deps if isinstance(d, ParamsDependency) for key in d.params}
        assert f"models.{name}.training" in keys
        assert not any("sampling" in key for key in keys)


def test_every_stage_but_prepare_enters_the_run_cache(stages: dict[str, PipelineStage]) -> None:
    """By DVC's own rules (Stage.run, StageCache._can_hash). Otherwise a stage runs again after every branch switch."""
    left_out = set()
    for name, stage in stages.items():
        not_kept = [out for out in stage.outs if not (out.use_cache or out.is_metric or out.is_plot)]
        persistent = [out for out in stage.outs if out.persist]
        if not_kept or persistent or stage.always_changed or not (stage.deps and stage.outs):
            left_out.add(name)
    assert left_out == {"prepare"}


def lookup(values: dict[str, Any], key: str) -> Any:
    for part in key.split("."):
        values = values[part]
    return values


def flat(values: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"
