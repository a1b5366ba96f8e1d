"""The compiled graph compared with DVC's own, and its queries."""

import shutil
from pathlib import Path

import pytest
from dvc.repo import Repo

from flows.graph import Graph, GraphError, dvc_stages, open_repo, path_of, read_graph, stage_name
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


@pytest.mark.parametrize("start", ["selected", "base"])
@pytest.mark.parametrize("dataset", ["prepared", "augmented"])
def test_a_fine_tuning_is_sent_the_model_and_the_images_that_it_reads(
    project: Path, tmp_path: Path, start: str, dataset: str
) -> None:
    """test_end_to_end.py sees what a fine-tuning opens, but only of one that continues the selected model."""
    workspace = Path(shutil.copytree(project, tmp_path / "one"))
    set_parameter(workspace, "finetune.start", start)
    set_parameter(workspace, "finetune.dataset", dataset)
    (workspace / "models").mkdir()
    (workspace / "models/base.dvc").write_text("outs: [{path: base}]\n")
    with open_repo(workspace) as repo:
        (stage,) = [stage for stage, _ in dvc_stages(repo) if stage_name(stage) == "finetune"]
        sent = {path_of(dep) for dep in stage.deps} | set(stage.meta["reads"])
        upstream = compiled(workspace).up_to(["finetune"])
    for path in (f"models/{start}/seen.npy", f"models/{start}/selection.json", f"data/{dataset}/shards/0.npy"):
        assert any(path == one or path.startswith(f"{one}/") for one in sent), path
    assert ("models/base.dvc" in names(upstream)) == (start == "base")
    assert ("augment" in names(upstream)) == (start == "selected" or dataset == "augmented")


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


@pytest.mark.parametrize("name", ["dvc.yaml", "params.yaml"])
def test_a_key_that_is_there_twice_is_named_with_its_line(fresh: Path, name: str) -> None:
    lines = (fresh / name).read_text().splitlines()
    first = next(line for line in lines if line.endswith(":") and line[0] not in " #")
    (fresh / name).write_text("\n".join([*lines, first, "  a: b", ""]))
    with pytest.raises(GraphError) as caught:
        compiled(fresh)
    assert f"{name}'" in str(caught.value)
    said = f"; line {len(lines) + 1}: the key {first[:-1]} stands there twice; remove one of them"
    assert str(caught.value).endswith(said)


def test_not_a_dvc_repo(tmp_path: Path) -> None:
    with pytest.raises(GraphError), open_repo(tmp_path):
        pass
