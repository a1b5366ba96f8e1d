import sys

import pytest

from genai_core.config import NEEDS_MANUAL_ACTION
from genai_core.data.ingest.add import add_source
from tasks import remove
from tests.packed import files_in


@pytest.fixture
def run(workspace, monkeypatch, capsys):
    """A function that runs the task on data/raw/set, which has two classes of twelve images."""
    for seed, name in ((1, "hat"), (2, "shirt")):
        (workspace / "source" / name).mkdir(parents=True)
        for number in range(12):
            (workspace / f"source/{name}/{seed:02d}-{number:03d}.png").write_bytes(f"{name} {number}".encode())
    add_source(str(workspace / "source"), workspace / "data/raw", "set")

    def run_task(*arguments):
        monkeypatch.setattr(sys, "argv", ["tasks.remove", "--from", "data/raw", *arguments])
        remove.main()
        return capsys.readouterr().out.splitlines()

    return run_task


def test_list_with_names_and_globs(run, workspace):
    (workspace / "list.txt").write_text("set/hat/01-003.png\n\n  shirt/02-00*  \nnone.png\n")
    arguments = ("--list", "list.txt", "set")
    assert run("--dry-run", *arguments)[0] == "data/raw/set: 11 images would be removed, 13 left"
    assert len(files_in(workspace / "data/raw/set")) == 24
    lines = run(*arguments)
    assert lines[:2] == ["data/raw/set: 11 images removed, 13 left", "  set/hat/01-003.png"]
    assert lines[-3:] == [
        "  and 1 more",
        "names and patterns without a match: 1, first none.png",
        "data/raw: 13 images in total",
    ]
    assert len(files_in(workspace / "data/raw/set")) == 13


def test_list_written_on_windows(run, workspace):
    (workspace / "list.txt").write_text("hat/01-003.png\r\nhat/01-004.png\r\n", encoding="utf-8-sig")
    lines = run("--list", "list.txt", "set")
    assert lines[0] == "data/raw/set: 2 images removed, 22 left"
    assert not any("without a match" in line for line in lines)


@pytest.mark.parametrize("more", [["hat/*"], ["--list", "list.txt"]])
def test_all_excludes_patterns_and_list(more, run, workspace):
    (workspace / "list.txt").write_text("hat/*\n")
    with pytest.raises(SystemExit):
        run("--all", "set", *more)
    assert len(files_in(workspace / "data/raw/set")) == 24


def test_all_removes_the_folder(run, workspace):
    lines = run("--all", "set")
    assert lines[0] == "data/raw/set: 24 images removed, none left: the folder is removed"
    assert lines[-1] == "data/raw: 0 images in total"
    assert not list((workspace / "data/raw").iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["set", "none"], "no image matches none; nothing was removed"),
        (["set"], "no name or pattern given; nothing was removed; pass --all to remove all of set"),
        (["set", ""], "nothing was removed"),
        (["--all", "other"], "no such folder; existing folders: set"),
        (["--list", "empty.txt", "set"], "expected one name or pattern per line, the file is empty"),
        (["--list", "missing.txt", "set"], "No such file"),
    ],
)
def test_faults_are_one_line_and_nothing_is_removed(arguments, message, run, workspace, capsys):
    (workspace / "empty.txt").write_text("\n")
    with pytest.raises(SystemExit) as error:
        run(*arguments)
    assert error.value.code == NEEDS_MANUAL_ACTION
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("remove: ")
    assert message in line
    assert len(files_in(workspace / "data/raw/set")) == 24
