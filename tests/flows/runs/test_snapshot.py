"""A snapshot has the workspace's contents, and taking one leaves no trace there."""

import os
import shutil
import time
from pathlib import Path

import pytest

from flows.git import GitError, git
from flows.runs import snapshot as module
from flows.runs.snapshot import REFS, Snapshot, forget_snapshot, keep_snapshot, take_snapshot
from tests.flows.conftest import edit, shell

ODD_NAMES = [
    "two words.py",
    "größe.py",
    "a\nnewline.py",
    'tab\t"quote".py',
    "-option.py",
    "*.py",
    os.fsdecode(b"by\xffte.py"),
]


def listed(workspace: Path, commit: str) -> dict[str, tuple[str, str]]:
    """Contents of a commit: mode and bytes of each path, from the repository's root."""
    top = Path(git(workspace, "rev-parse", "--show-toplevel").strip())
    entries = git(top, "ls-tree", "-r", "-z", commit).split("\0")[:-1]
    parts = [(entry.partition("\t")[2], entry.split()) for entry in entries]
    return {path: (words[0], git(top, "cat-file", "blob", words[2])) for path, words in parts}


def traces(workspace: Path) -> tuple[str, bytes | None, dict[str, tuple[int, int, int]]]:
    """All that a user could notice: git's status, the index, and every file's mode, size and modification time."""
    files = [path for path in workspace.rglob("*") if ".git" not in path.relative_to(workspace).parts]
    stats = {str(path): path.lstat() for path in files}
    index = workspace / ".git" / "index"
    # Read before `git status`, which rewrites the index when its times are old.
    held = index.read_bytes() if index.is_file() else None
    said = git(workspace, "--no-optional-locks", "status", "--porcelain=v2", "--branch", "--ignored", "-z")
    return said, held, {path: (stat.st_mode, stat.st_size, stat.st_mtime_ns) for path, stat in stats.items()}


def taken(workspace: Path) -> Snapshot:
    """Take a snapshot; check that it left no trace, and that a second one makes the same commit."""
    before = traces(workspace)
    snapshot = take_snapshot(workspace)
    assert traces(workspace) == before
    assert take_snapshot(workspace) == snapshot
    return snapshot


def test_nothing_changed_is_head_itself(fresh: Path) -> None:
    head = git(fresh, "rev-parse", "HEAD").strip()
    tree = git(fresh, "rev-parse", "HEAD^{tree}").strip()
    assert taken(fresh) == Snapshot(head, tree, base=head, branch="main", changed=(), left_out=())


def test_contents(fresh: Path) -> None:
    (fresh / "gone.py").write_text("gone")
    (fresh / "plain.sh").write_text("plain")
    shell(fresh, "git add -A && git commit -q -m more")
    edit(fresh / "params.yaml", "data:", "# at work here\ndata:")
    (fresh / "gone.py").unlink()
    (fresh / "plain.sh").chmod(0o755)
    (fresh / "new" / "folder").mkdir(parents=True)
    (fresh / "new" / "folder" / "code.py").write_text("new")
    (fresh / "link.py").symlink_to("work.py")
    (fresh / "dangling").symlink_to("/nowhere")
    (fresh / "out").mkdir()
    (fresh / "out" / "ignored.bin").write_text("ignored")
    (fresh / "data" / "by-hand.txt").write_text("belongs to dvc")
    (fresh / "data" / "more").mkdir()
    (fresh / "data" / "more" / "1.txt").write_text("belongs to dvc")
    (fresh / "data" / "new.dvc").write_text("outs: []\n")
    for name in ODD_NAMES:
        (fresh / name).write_text(name, errors="surrogateescape")

    snapshot = taken(fresh)

    files, below = listed(fresh, snapshot.commit), listed(fresh, "HEAD")
    changed = {"params.yaml", "plain.sh", "new/folder/code.py", "link.py", "dangling", "data/new.dvc", *ODD_NAMES}
    assert files.keys() == below.keys() - {"gone.py"} | changed
    assert set(snapshot.changed) == changed | {"gone.py"}
    assert files["params.yaml"][1] == (fresh / "params.yaml").read_text()
    assert files["plain.sh"] == ("100755", "plain")
    assert files["work.py"] == below["work.py"]
    assert files["link.py"] == ("120000", "work.py")
    assert files["dangling"] == ("120000", "/nowhere")
    assert {name: files[name] for name in ODD_NAMES} == {name: ("100644", name) for name in ODD_NAMES}
    assert git(fresh, "rev-parse", f"{snapshot.commit}^").strip() == snapshot.base
    assert git(fresh, "for-each-ref", "--contains", snapshot.commit) == ""


def test_staged_and_partly_staged_files_stay_staged(fresh: Path) -> None:
    (fresh / "staged.py").write_text("staged")
    edit(fresh / "params.yaml", "data:", "# one\ndata:")
    shell(fresh, "git add staged.py params.yaml && git rm -q --cached .dvcignore && git mv work.py moved.py")
    edit(fresh / "params.yaml", "# one", "# two")
    (fresh / "meant.py").write_text("meant")
    shell(fresh, "git add --intent-to-add meant.py")

    snapshot = taken(fresh)

    files = listed(fresh, snapshot.commit)
    assert files["params.yaml"][1] == (fresh / "params.yaml").read_text()  # from the working tree, not from the index
    assert (files["staged.py"][1], files["meant.py"][1]) == ("staged", "meant")
    assert ".dvcignore" in files  # it exists, and is not ignored
    assert "moved.py" in files
    assert "work.py" not in files
    assert git(fresh, "show", ":params.yaml").startswith(files["params.yaml"][1][:10])
    assert "# one" in git(fresh, "show", ":params.yaml")


def test_a_folder_where_a_file_was_and_a_file_where_a_folder_was(fresh: Path) -> None:
    (fresh / "code").mkdir()
    (fresh / "code" / "a.py").write_text("a")
    (fresh / "single.py").write_text("single")
    (fresh / "linked").mkdir()
    (fresh / "linked" / "b.py").write_text("b")
    shell(fresh, "git add -A && git commit -q -m more")
    shutil.rmtree(fresh / "code")
    (fresh / "code").write_text("a file now")
    (fresh / "single.py").unlink()
    (fresh / "single.py").mkdir()
    (fresh / "single.py" / "inside.py").write_text("inside")
    (fresh / "linked").rename(fresh / "elsewhere")
    (fresh / "linked").symlink_to("elsewhere")

    files = listed(fresh, taken(fresh).commit)

    assert files["code"] == ("100644", "a file now")
    assert files["single.py/inside.py"] == ("100644", "inside")
    assert files["linked"] == ("120000", "elsewhere")
    assert files["elsewhere/b.py"] == ("100644", "b")
    assert not files.keys() & {"code/a.py", "single.py", "linked/b.py"}


def test_large_new_files_are_skipped_and_named(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_NEW_BYTES", 1_000)
    (fresh / "large.bin").write_bytes(b"x" * 1_001)
    (fresh / "fits.bin").write_bytes(b"x" * 1_000)
    (fresh / "work.py").write_text("#" * 2_000)  # tracked, so git has it already

    snapshot = taken(fresh)

    assert snapshot.left_out == ("large.bin",)
    assert set(snapshot.changed) == {"fits.bin", "work.py"}


def test_a_nested_repository_is_not_part_of_it(fresh: Path) -> None:
    shell(fresh, "git init -q inner && cd inner && echo x > file && git add file && git commit -q -m inner")
    assert taken(fresh).changed == ()


def test_the_same_contents_give_the_same_commit_for_any_user(
    fresh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(fresh / "params.yaml", "data:", "# at work here\ndata:")
    one = take_snapshot(fresh)
    clone = Path(shutil.copytree(fresh, tmp_path / "clone", symlinks=True))
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "somebody else")
        monkeypatch.setenv(f"GIT_{role}_DATE", "2001-01-01T00:00:00Z")
    assert take_snapshot(clone) == one
    edit(clone / "params.yaml", "# at work here\n", "")
    assert take_snapshot(clone).commit == one.base  # undone
    edit(clone / "params.yaml", "data:", "# something else\ndata:")
    assert take_snapshot(clone).commit != one.commit


def test_before_the_first_commit(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "--initial-branch", "main")
    (tmp_path / "staged.py").write_text("staged")
    git(tmp_path, "add", "staged.py")
    (tmp_path / "new.py").write_text("new")

    snapshot = taken(tmp_path)

    assert (snapshot.base, snapshot.branch) == (None, "main")
    assert listed(tmp_path, snapshot.commit).keys() == {"staged.py", "new.py"}
    assert git(tmp_path, "show", "--no-patch", "--format=%P", snapshot.commit).strip() == ""


def test_an_empty_repository(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    assert listed(tmp_path, taken(tmp_path).commit) == {}


def test_a_detached_head(fresh: Path) -> None:
    git(fresh, "checkout", "--quiet", "--detach")
    edit(fresh / "params.yaml", "data:", "# at work here\ndata:")
    snapshot = taken(fresh)
    assert snapshot.branch is None
    assert snapshot.base == git(fresh, "rev-parse", "HEAD").strip()


def test_during_a_merge(fresh: Path) -> None:
    (fresh / "gone.py").write_text("gone")
    shell(fresh, "git add -A && git commit -q -m base && git checkout -q -b theirs")
    edit(fresh / "work.py", "STAGE = ", "THEIRS = STAGE = ")
    (fresh / "gone.py").write_text("theirs")
    shell(fresh, "git commit -q -a -m theirs && git checkout -q main && git rm -q gone.py")
    edit(fresh / "work.py", "STAGE = ", "OURS = STAGE = ")
    shell(fresh, "git commit -q -a -m ours && ! git merge -q theirs && rm gone.py")

    snapshot = taken(fresh)

    files = listed(fresh, snapshot.commit)
    assert "<<<<<<<" in files["work.py"][1]  # with conflict markers: the run fails on them, and says where
    assert "gone.py" not in files
    assert git(fresh, "diff", "--name-only", "--diff-filter=U", "-z").split("\0")[:-1] == ["gone.py", "work.py"]


def test_a_workspace_in_a_subfolder(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    workspace = tmp_path / "deep" / "project"
    (workspace / "data").mkdir(parents=True)
    (tmp_path / "shared.py").write_text("shared")
    (workspace / "params.yaml").write_text("a: 1")
    shell(tmp_path, "git add -A && git commit -q -m first")
    (tmp_path / "shared.py").write_text("shared and changed")
    (tmp_path / "outside.py").write_text("somebody's notes")
    (workspace / "params.yaml").write_text("a: 2")
    (workspace / "new.py").write_text("new")
    (workspace / "data" / "raw.dvc").write_text("outs: []\n")
    (workspace / "data" / "loose.txt").write_text("loose")

    before = traces(tmp_path)
    snapshot = take_snapshot(workspace)
    assert traces(tmp_path) == before

    changed = {"shared.py": "shared and changed", "deep/project/params.yaml": "a: 2", "deep/project/new.py": "new"}
    assert set(snapshot.changed) == {*changed, "deep/project/data/raw.dvc"}
    files = listed(tmp_path, snapshot.commit)
    assert {path: files[path][1] for path in changed} == changed
    assert "outside.py" not in files


def test_a_users_own_worktree(fresh: Path, tmp_path: Path) -> None:
    """Its index is outside its folder."""
    shell(fresh, f"git worktree add -q -b other {tmp_path / 'other'}")
    other = tmp_path / "other"
    edit(other / "params.yaml", "data:", "# at work there\ndata:")
    edit(fresh / "work.py", "STAGE = ", "HERE = STAGE = ")
    snapshot = take_snapshot(other)
    assert (snapshot.branch, snapshot.changed) == ("other", ("params.yaml",))


def test_an_edit_at_the_time_of_git_add(fresh: Path) -> None:
    """Git reads files again that are as new as the index, so the copy must keep the index's time."""
    file, moment = fresh / "moment.py", time.time_ns() - 10_000_000_000
    git(fresh, "config", "core.trustctime", "false")  # ctime would be equal too; a test cannot set it
    file.write_text("one")
    os.utime(file, ns=(moment, moment))
    git(fresh, "add", "moment.py")
    os.utime(fresh / ".git" / "index", ns=(moment, moment))
    file.write_text("two")
    os.utime(file, ns=(moment, moment))
    assert listed(fresh, take_snapshot(fresh).commit)["moment.py"][1] == "two"


def test_files_that_disappear_meanwhile(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An editor's temporary file may be listed, but gone when it is read."""
    (fresh / "stays.py").write_text("stays")
    for call in ("ls-files", "update-index"):
        (fresh / f"{call}.swp").write_text("x")

    def in_between(workspace: Path, *arguments: str, **options: object) -> str:
        if arguments[0] == "update-index":
            (fresh / "update-index.swp").unlink()
        answer = git(workspace, *arguments, **options)  # type: ignore[arg-type]
        if arguments[0] == "ls-files":
            (fresh / "ls-files.swp").unlink(missing_ok=True)
        return answer

    monkeypatch.setattr(module, "git", in_between)
    assert module.take_snapshot(fresh).changed == ("stays.py",)


def test_data_that_dvc_tracks_deep_below(fresh: Path) -> None:
    (fresh / "data/more/deep").mkdir(parents=True)
    (fresh / "data/more/deep/x.dvc").write_text("outs: []\n")
    (fresh / "data/more/image.png").write_text("an image")
    assert take_snapshot(fresh).changed == ("data/more/deep/x.dvc",)


def test_without_git(tmp_path: Path) -> None:
    with pytest.raises(GitError, match=r"no git repository here.*git init"):
        take_snapshot(tmp_path)


def test_a_repository_that_git_cannot_read(fresh: Path) -> None:
    """Git's own message says what is wrong with it."""
    (fresh / ".git" / "config").write_text("[core\n")
    with pytest.raises(GitError, match="bad config"):
        take_snapshot(fresh)


def test_kept_from_gits_garbage_collection_and_forgotten(fresh: Path) -> None:
    edit(fresh / "params.yaml", "data:", "# at work here\ndata:")
    snapshot = take_snapshot(fresh)
    keep_snapshot(fresh, "some-run", snapshot)
    git(fresh, "gc", "--quiet", "--prune=now")
    assert git(fresh, "rev-parse", f"{REFS}some-run").strip() == snapshot.commit
    forget_snapshot(fresh, "some-run")
    forget_snapshot(fresh, "some-run")  # the commit is deleted
    git(fresh, "gc", "--quiet", "--prune=now")
    with pytest.raises(GitError):
        git(fresh, "cat-file", "-e", snapshot.commit)


@pytest.mark.parametrize("setting", ["core.splitIndex", "core.untrackedCache", "commit.gpgSign", "core.sparseCheckout"])
def test_the_users_git_settings(fresh: Path, setting: str) -> None:
    git(fresh, "config", setting, "true")
    git(fresh, "update-index", *(["--split-index"] if setting == "core.splitIndex" else ["--refresh"]))
    edit(fresh / "params.yaml", "data:", "# at work here\ndata:")
    (fresh / "new.py").write_text("new")
    assert set(taken(fresh).changed) == {"params.yaml", "new.py"}
