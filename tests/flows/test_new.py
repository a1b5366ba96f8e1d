"""`genai new`: a workspace of one's own has the code of a checkout, and nothing that was made in it."""

import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from flows.cli import main
from flows.git import remote_of
from flows.new import DVC_CONFIG, MADE, NewWorkspaceError, new_workspace
from tests.flows.conftest import ROOT, genai, shell
from tests.project import new_clone


def write(folder: Path, **files: str) -> None:
    for name, content in files.items():
        path = folder / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def commit(folder: Path, message: str) -> str:
    shell(folder, f"git add -A -f && git commit -q --allow-empty -m {message}")
    return shell(folder, "git rev-parse HEAD").strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with one commit: code and a pipeline."""
    folder = tmp_path / "checkout"
    write(folder, tasks__a_py="1", dvc_yaml="stages", params_yaml="digits", presets__digits_yaml="digits")
    write(folder, **{".dvc__config": "x", ".gitignore": "/data/raw\n.genai/\n"})
    (folder / "tasks" / "a.py").chmod(0o755)
    shell(folder, "git init -q -b main")
    commit(folder, "code")
    return folder


def with_data(checkout: Path) -> str:
    """A commit with what a user's runs leave in git, a tag of the registry, and a file that git does not have."""
    write(checkout, dvc_lock="lock", data__raw_dvc="raw", metrics__trained__gan_json="{}", models__other_dvc="x")
    write(checkout, params_yaml="tuned", **{".dvc__config": "[core]\n    remote = store\n['remote \"store\"']\n"})
    found = commit(checkout, "data")
    shell(checkout, "git tag -a candidate@v0.0.1 -m version")
    write(checkout, notes_txt="mine")
    return found


def tracked(folder: Path) -> set[str]:
    return set(shell(folder, "git ls-files").split())


def test_code_comes_along_and_nothing_else(checkout: Path, tmp_path: Path) -> None:
    clean = shell(checkout, "git rev-parse HEAD").strip()
    code = with_data(checkout)
    (checkout / "notes.txt").unlink()
    write(checkout, tasks__b_py="newer code")
    code = commit(checkout, "code")
    write(checkout, notes_txt="mine")
    made = new_workspace(tmp_path / "new", checkout)
    folder = made.folder
    assert (made.code, made.upstream, made.is_code_only) == (code, str(checkout), False)
    names = {".dvc/config", ".gitignore", "dvc.yaml", "params.yaml", "presets/digits.yaml", "tasks/a.py", "tasks/b.py"}
    assert tracked(folder) == names
    assert {path.name for path in folder.iterdir()}.isdisjoint(MADE)
    assert ((folder / "params.yaml").read_text(), (folder / ".dvc/config").read_text()) == ("digits", DVC_CONFIG)
    assert (folder / "tasks" / "a.py").stat().st_mode & 0o111
    history = shell(folder, "git rev-list HEAD").split()
    assert history[1:] == [clean]
    assert shell(folder, "git status --porcelain") == ""
    assert shell(folder, "git for-each-ref --format='%(refname)'").split() == ["refs/heads/main"]
    assert not list(tmp_path.glob(".new*"))
    command, _, _ = made.update_command.partition(" genai_core")
    write(checkout, tasks__b_py="newest code")
    commit(checkout, "code")
    shell(folder, f"{command} tasks")
    assert (folder / "tasks" / "b.py").read_text() == "newest code"
    assert shell(folder, "git tag") == ""


def test_an_update_is_a_merge_and_brings_no_tags(checkout: Path, tmp_path: Path) -> None:
    made = new_workspace(tmp_path / "new", checkout)
    assert (made.is_code_only, made.update_command) == (True, "git pull upstream main")
    write(made.folder, params_yaml="my own")
    commit(made.folder, "own")
    write(checkout, tasks__a_py="2", tasks__c_py="3")
    newer = commit(checkout, "newer")
    shell(checkout, "git tag -a candidate@v0.0.1 -m version")
    shell(made.folder, f"{made.update_command} --quiet --no-rebase --no-edit")
    assert ((made.folder / "tasks/a.py").read_text(), (made.folder / "params.yaml").read_text()) == ("2", "my own")
    assert newer in shell(made.folder, "git rev-list HEAD").split()
    assert shell(made.folder, "git tag") == ""
    assert remote_of(made.folder) is None  # the registry is not where the code comes from
    shell(made.folder, "git remote add team ../team.git")
    assert remote_of(made.folder) == "team"


def test_history_after_data_counts_only_if_it_came_from_elsewhere(checkout: Path, tmp_path: Path) -> None:
    shell(checkout, f"git clone -q {checkout} {tmp_path / 'project'}")
    with_data(checkout)
    write(tmp_path / "project", tasks__a_py="2")
    newer = commit(tmp_path / "project", "newer")
    shell(checkout, "git remote add origin ../project && git pull -q --no-rebase --no-edit origin main")
    made = new_workspace(tmp_path / "new", checkout)
    assert made.upstream == str(tmp_path / "project")
    assert shell(made.folder, "git rev-parse HEAD^").strip() == newer
    assert "candidate" not in shell(made.folder, "git tag")


def test_without_a_commit_of_code_alone_the_history_begins_anew(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    write(checkout, presets__digits_yaml="digits", tasks__a_py="1")
    shell(tmp_path, f"git init -q -b work {checkout}")
    with_data(checkout)
    made = new_workspace(tmp_path / "deep" / "new", checkout)
    assert len(shell(made.folder, "git rev-list HEAD").split()) == 1
    assert made.update_command.startswith("git fetch upstream && git checkout upstream/work -- genai_core tasks")


def test_a_shallow_clone_gives_a_history_that_is_whole(checkout: Path, tmp_path: Path) -> None:
    commit(checkout, "more")
    shell(tmp_path, f"git clone -q --depth 1 file://{checkout} shallow")
    made = new_workspace(tmp_path / "new", tmp_path / "shallow")
    assert len(shell(made.folder, "git rev-list HEAD").split()) == 1
    shell(made.folder, "git fsck --strict")
    shell(made.folder, "git fetch -q upstream")


def test_what_is_there_is_never_touched(checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    before = sorted(tmp_path.iterdir())
    for name in ("full", "file", "link"):
        with pytest.raises(NewWorkspaceError, match="exists and is not an empty folder; name another one"):
            new_workspace(tmp_path / name, checkout)
    with pytest.raises(NewWorkspaceError, match="inside the checkout"):
        new_workspace(checkout / "new", checkout)
    with pytest.raises(NewWorkspaceError, match=r"no workspace was made: .*no git repository here"):
        new_workspace(tmp_path / "new", tmp_path / "full")
    (checkout / "presets" / "digits.yaml").unlink()
    commit(checkout, "broken")
    with pytest.raises(NewWorkspaceError, match=r"no workspace was made: .*presets/digits\.yaml"):
        new_workspace(tmp_path / "new", checkout)
    assert sorted(tmp_path.iterdir()) == before
    (tmp_path / "empty").mkdir()
    shell(checkout, "git revert --no-edit HEAD")
    assert new_workspace(tmp_path / "empty", checkout).folder == tmp_path / "empty"


def test_a_part_of_a_larger_repository_is_refused(checkout: Path, tmp_path: Path) -> None:
    with pytest.raises(NewWorkspaceError, match="a part of a larger repository; clone the project on its own first"):
        new_workspace(tmp_path / "new", checkout / "tasks")


def test_the_configuration_of_dvc_is_that_of_the_project() -> None:
    assert (ROOT / ".dvc" / "config").read_text() == DVC_CONFIG
    assert (ROOT / "params.yaml").read_text() == (ROOT / "presets" / "digits.yaml").read_text()


def test_it_works_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The installation's `genai` adds data and plans there, and its stages use the workspace's own code."""
    checkout, folder = new_clone(tmp_path / "checkout"), tmp_path / "faces"
    monkeypatch.chdir(tmp_path)
    answer = CliRunner().invoke(main, ["--workspace", str(checkout), "new", "faces"])
    assert answer.exit_code == 0, answer.output
    for said in (f"{folder} is a new workspace", "git pull upstream ", f"  cd {folder}\n  genai start SOURCE "):
        assert said in answer.output
    task = folder / "tasks" / "ingest.py"
    task.write_text(task.read_text().replace("in total", "in the workspace's own count"))
    added = genai(folder, "data", "add", "builtin:digits")
    assert "data/raw: 1,797 images in the workspace's own count" in added.stdout, added.stderr
    planned: subprocess.CompletedProcess[str] = genai(folder, "plan")
    assert "never run here" in planned.stdout, planned.stderr
    assert (folder / ".dvc" / "cache").is_dir()
    assert not (checkout / "data").exists()
