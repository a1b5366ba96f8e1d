"""What names outputs: git references, checkouts and runs. Uses plain git, with files as DVC writes them."""

from pathlib import Path

import pytest

from flows.gc.roots import CollectError, checkouts, describe_roots, roots
from flows.git import GitError
from tests.flows.conftest import shell

RUN = "20261128-101503-ab12"


def lock(number: int) -> str:
    """A dvc.lock whose only output has a hash that begins with the number."""
    entry = f"{{path: models/candidate, hash: md5, md5: {number:032x}.dir}}"
    return f"schema: '2.0'\nstages:\n  candidate:\n    cmd: make\n    outs:\n    - {entry}\n"


def source(number: int) -> str:
    return f"outs:\n- {{md5: {number:032x}.dir, path: raw}}\n"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Five commits; only the last has a name, main."""
    home = tmp_path / "home"
    (home / "data").mkdir(parents=True)
    (home / ".gitignore").write_text(".genai/\n")
    shell(home, "git init -q -b main")
    for number in range(1, 6):
        (home / "dvc.lock").write_text(lock(number))
        shell(home, f"git add -A && git commit -q -m {number}")
    return home


def named(home: Path) -> set[int]:
    """The numbers of the outputs that are kept."""
    found = roots(home, checkouts(home))
    return {int(item.md5.removesuffix(".dir"), 16) for root in found for item in root.outputs}


def test_references(home: Path) -> None:
    assert named(home) == {5}
    shell(home, "git tag -a -m one one HEAD~4 && git tag -a -m tag two one && git tag tree HEAD^{tree}")
    assert named(home) == {1, 5}  # a tag of a tag resolves to its commit, a tag of a tree to none
    shell(home, "git update-ref refs/remotes/origin/x HEAD~3")
    assert named(home) == {1, 2, 5}
    shell(home, f"git update-ref refs/genai/runs/{RUN} HEAD~2")
    assert named(home) == {1, 2, 3, 5}
    shell(home, "git branch x HEAD~1")
    assert named(home) == {1, 2, 3, 4, 5}
    assert describe_roots(roots(home, checkouts(home))) == "1 run, 2 branches, 1 remote branch, 2 tags and 1 checkout"


def test_a_clone_counts_its_own_branches_separately(home: Path, tmp_path: Path) -> None:
    shell(tmp_path, "git clone -q home clone")
    clone = tmp_path / "clone"
    assert "refs/remotes/origin/HEAD" in shell(clone, "git for-each-ref")  # another name of origin/main
    assert describe_roots(roots(clone, checkouts(clone))) == "1 branch, 1 remote branch and 1 checkout"


def test_every_stash(home: Path) -> None:
    for number in (6, 7):
        (home / "dvc.lock").write_text(lock(number))
        shell(home, "git stash -q")
    assert named(home) == {5, 6, 7}


def test_checkouts_with_uncommitted_files(home: Path) -> None:
    (home / "dvc.lock").write_text(lock(6))
    (home / "data/raw.dvc").write_text(source(7))  # not added to git
    (home / "weights.dvc").write_text(source(8))
    assert named(home) == {5, 6, 7, 8}
    beside = home.parent / "beside"
    shell(home, f"git worktree add -q --detach {beside} HEAD~1")
    (beside / "dvc.lock").write_text(lock(9))
    for place in (home, beside):
        assert named(place) == {4, 5, 6, 7, 8, 9}
    assert checkouts(beside)[0] == beside.resolve()
    (beside / "dvc.lock").unlink()
    # Its disk is unmounted, or it was removed without git's knowledge.
    beside.rename(home.parent / "elsewhere")
    with pytest.raises(CollectError, match=r"beside: .*the folder is missing.*`git worktree prune`"):
        checkouts(home)
    shell(home, "git worktree prune")
    assert named(home) == {5, 6, 7, 8}


def test_own_worktree_that_was_removed_without_git(home: Path) -> None:
    tree = home / ".genai/runs" / RUN / "checkout"
    shell(home, f"git worktree add -q --detach {tree} HEAD~1 && rm -rf {tree}")
    assert named(home) == {4, 5}


def test_names_with_line_separators(home: Path) -> None:
    for number, name in enumerate(["a\u2028b", "a\x85b", "a\u00a0"], start=1):
        shell(home, f"git tag '{name}' HEAD~{number}")
    assert named(home) == {2, 3, 4, 5}
    beside = home.parent / "be\u2028side\nx"
    shell(home, f"git worktree add -q --detach '{beside}' HEAD~4")
    assert named(home) == {1, 2, 3, 4, 5}
    assert beside.resolve() in checkouts(home)


def test_results_that_a_run_has_accepted(home: Path) -> None:
    run = home / ".genai/runs" / RUN
    (run / "checkout/data").mkdir(parents=True)
    (run / "dvc.lock").write_text(lock(6))
    (run / "checkout/dvc.lock").write_text(lock(7))
    (run / "checkout/data/raw.dvc").write_text(source(8))
    assert named(home) == {5, 6, 7, 8}


def test_a_project_in_a_subfolder_of_its_repository(tmp_path: Path) -> None:
    project = tmp_path / "repository/project"
    project.mkdir(parents=True)
    (project / "dvc.lock").write_text(lock(1))
    shell(project, "git init -q -b main .. && git add -A && git commit -q -m first")
    (project / "dvc.lock").write_text(lock(2))
    assert named(project) == {1, 2}


def test_unreadable_files_are_an_error(home: Path, tmp_path: Path) -> None:
    shell(home, "git checkout -q -b broken")
    (home / "dvc.lock").write_text("stages: [\n")
    shell(home, "git commit -q -a -m broken && git checkout -q main")
    with pytest.raises(GitError, match=r"dvc\.lock at refs/heads/broken: not valid YAML"):
        named(home)
    shell(home, "git branch -q -D broken")
    (home / "dvc.lock").write_text("<<<<<<< ours\n")
    with pytest.raises(GitError, match=r"dvc\.lock at .*home: expected a mapping"):
        named(home)
    (home / "dvc.lock").write_text("")
    with pytest.raises(CollectError, match=r"dvc\.lock is empty.*genai run"):
        named(home)
    (home / "dvc.lock").write_text(lock(5))
    blob = shell(home, "git rev-parse HEAD:dvc.lock").strip()
    (home / ".git/objects" / blob[:2] / blob[2:]).unlink()
    with pytest.raises(CollectError, match="git cannot read it"):
        named(home)
    with pytest.raises(GitError):
        named(tmp_path)
