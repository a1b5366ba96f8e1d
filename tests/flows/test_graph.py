"""The compiled graph compared with DVC's own, and its queries."""

import shutil
from pathlib import Path

import pytest
from dvc.repo import Repo

from flows.graph import Graph, GraphError, open_repo, read_graph
from tests.flows.conftest import DVC_WARNS, ROOT, edit, parameter, set_parameter

pytestmark = DVC_WARNS


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's own pipeline in a repo without code or data."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(ROOT / name, folder)
    Repo.init(str(folder), no_scm=True).close()
    return folder


def compiled(workspace: Path) -> Graph:
    with open_repo(workspace) as repo:
        return read_graph(repo)


def edges(graph: Graph) -> set[tuple[str, str]]:
    return {(stage.name, upstream) for stage in graph.stages for upstream in stage.upstream}


def names(graph: Graph) -> list[str]:
    return [stage.name for stage in graph.stages]


def assert_equals_dvcs(workspace: Path) -> None:
    graph = compiled(workspace)
    with Repo(str(workspace)) as repo:
        own = {stage: getattr(stage, "name", None) or stage.path_in_repo for stage in repo.index.graph}
        assert sorted(names(graph)) == sorted(own.values())
        assert edges(graph) == {(own[stage], own[upstream]) for stage, upstream in repo.index.graph.edges}
        commands = {own[stage]: stage.cmd for stage in own}
    assert {stage.name: stage.command for stage in graph.stages} == commands
    seen: set[str] = set()
    for stage in graph.stages:
        assert set(stage.upstream) <= seen, f"{stage.name} stands before what it depends on"
        seen.add(stage.name)
    assert compiled(workspace) == graph


def test_the_projects_graph_is_dvcs(project: Path) -> None:
    assert_equals_dvcs(project)
    stages = {stage.name: stage for stage in compiled(project).stages}
    assert stages["train@gan"].needs.gpus == 1
    assert stages["train@gan"].needs.cores == parameter(project, "compute.cpu_threads")
    assert stages["train@gan"].needs.timeout_s
    assert stages["train@gan"].description == "Train gan"


def test_the_toys_graph_is_dvcs(fresh: Path) -> None:
    assert_equals_dvcs(fresh)
    assert names(compiled(fresh)) == ["data/raw.dvc", "prepare", "train@diffusion", "train@gan", "select"]


def test_the_graph_is_the_same_from_any_folder(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = compiled(fresh)
    monkeypatch.chdir(fresh / "data")
    assert compiled(fresh) == before
    assert compiled(Path("..")) == before


def test_stage_of_a_subfolder_has_its_address(fresh: Path) -> None:
    (fresh / "more").mkdir()
    (fresh / "more" / "dvc.yaml").write_text("stages: {last: {cmd: 'true', deps: [../out/selected]}}\n")
    assert ("more/dvc.yaml:last", "select") in edges(compiled(fresh))


def test_a_model_in_params_yaml_is_a_branch(project: Path, tmp_path: Path) -> None:
    workspace = Path(shutil.copytree(project, tmp_path / "more"))
    before = compiled(workspace)
    set_parameter(workspace, "models.gan-large", parameter(workspace, "models.gan"))
    graph = compiled(workspace)
    assert set(names(graph)) - set(names(before)) == {"train@gan-large", "evaluate@gan-large"}
    assert ("evaluate@gan-large", "train@gan-large") in edges(graph)
    assert ("select", "evaluate@gan-large") in edges(graph)


def test_up_to(project: Path) -> None:
    graph = compiled(project)
    assert graph.up_to([]) == graph
    train = graph.up_to(["train"])
    models = ["train@diffusion", "train@gan", "train@vae", "train@vqvae"]
    assert names(train) == ["prepare", "augment", *models]
    assert names(graph.up_to(["train@gan"])) == ["prepare", "augment", "train@gan"]
    assert "extractor" in names(graph.up_to(["train@gan", "reference"]))
    assert [stage for stage in graph.stages if stage in train.stages] == list(train.stages)


@pytest.mark.parametrize("target", ["trian", "train@", "train@none", ""])
def test_unknown_name_lists_the_names(project: Path, target: str) -> None:
    with pytest.raises(GraphError) as caught:
        compiled(project).up_to(["prepare", target])
    message = str(caught.value)
    assert repr(target) in message
    assert "prepare" in message
    assert "train@gan" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("meta", "said"),
    [
        ("{retires: 1}", "meta.retires"),
        ("{retries: -1}", "meta.retries: got -1"),
        ("{timeout_s: 0}", "meta.timeout_s: got 0"),
        ("{cores: many}", "meta.cores: got 'many'"),
        ("many", "meta: got 'many'"),
    ],
)
def test_invalid_meta_gives_one_line(fresh: Path, meta: str, said: str) -> None:
    edit(fresh / "dvc.yaml", "    params: [selection]\n", f"    params: [selection]\n    meta: {meta}\n")
    with pytest.raises(GraphError) as caught:
        compiled(fresh)
    assert f"dvc.yaml: select: {said}" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    outs: [out/selected]", "    outs: [out/prepared]"),  # two stages make one path
        ("deps: [data/raw, work.py]", "deps: [out/selected, work.py]"),  # a circle
        ("    params: [selection]", "    parameters: [selection]"),  # a key that DVC does not know
        ("stages:", "stages: ["),  # no YAML
        ("foreach: ${models}", "foreach: ${modles}"),
    ],
)
def test_invalid_dvc_yaml_gives_one_line(fresh: Path, old: str, new: str) -> None:
    edit(fresh / "dvc.yaml", old, new)
    with pytest.raises(GraphError) as caught:
        compiled(fresh)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) > 20


def test_not_a_dvc_repo(tmp_path: Path) -> None:
    with pytest.raises(GraphError), open_repo(tmp_path):
        pass
