"""What git says, taken as it is: names that no line can hold, and no trace left by a question."""

from pathlib import Path

import pytest

from flows.git import changed_files
from flows.registry.read import read_fields
from flows.registry.write import tags_at
from tests.flows.conftest import shell

NAMES = ["a name.txt", "größe.txt", 'quote".txt', "next\x85line.txt", "line\u2028separator.txt", "new\nline.txt"]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    for name in (*NAMES, "same.txt"):
        (tmp_path / name).write_text("1\n")
    shell(tmp_path, "git init -q -b main && git add -A && git -c user.name=t -c user.email=t@t commit -q -m one")
    return tmp_path


@pytest.mark.parametrize("quotes", ["true", "false"])
def test_changed_files_have_their_own_names(quotes: str, repository: Path) -> None:
    shell(repository, f"git config core.quotePath {quotes}")
    assert changed_files(repository) == []
    for name in NAMES:
        (repository / name).write_text("other\n")
    (repository / "untracked.txt").write_text("1\n")
    assert sorted(changed_files(repository)) == sorted(NAMES)
    assert changed_files(repository, "same.txt", NAMES[0]) == [NAMES[0]]


def test_renamed_file_is_two_changes(repository: Path) -> None:
    shell(repository, "git mv same.txt other.txt")
    assert changed_files(repository) == ["other.txt", "same.txt"]


def test_question_does_not_write_the_index(repository: Path) -> None:
    """git writes what it finds out about times into its index, if it may."""
    (repository / "same.txt").touch()
    before = (repository / ".git/index").read_bytes()
    assert changed_files(repository) == []
    assert (repository / ".git/index").read_bytes() == before


def test_tag_with_a_line_separator_in_its_name_is_one_tag(repository: Path) -> None:
    names = ["candidate@v0.0.1", "candidate@v0.0.2\u2028x", "candidate@v0.0.3\x85y"]
    for name in names:
        shell(repository, f"git tag {name}")
    assert sorted(tags_at(repository, ".")) == sorted(names)


def test_line_separator_in_a_tags_message_begins_no_field() -> None:
    message = "title\n\nBy: me\u2028Weights: none\nWhy: a\x85Model: b\r\n"
    assert read_fields(message) == {"By": "me\u2028Weights: none", "Why": "a\x85Model: b"}
