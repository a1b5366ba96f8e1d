"""What git is asked and told: how long it may take, and what of its answer is shown."""

from pathlib import Path

import pytest

from flows import git as git_module
from flows.git import GitError, git
from tests.flows.conftest import shell


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A clone with a commit, and a remote that takes two seconds over each push."""
    folder = tmp_path / "home"
    shell(tmp_path, "git init -q --bare origin.git && git init -q -b main home")
    shell(folder, "git commit -q --allow-empty -m one && git remote add origin ../origin.git")
    hook = tmp_path / "origin.git/hooks/pre-receive"
    hook.write_text("#!/bin/sh\nsleep 2\n")
    hook.chmod(0o755)
    return folder


def test_a_push_takes_as_long_as_it_takes_and_a_question_does_not(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(git_module, "ANSWER_TIMEOUT_S", 1.0)
    git(home, "push", "--quiet", "origin", "main")
    assert git(home, "ls-remote", "origin", "refs/heads/main").split()[0] == git(home, "rev-parse", "HEAD").strip()
    with pytest.raises(GitError, match="`git ls-remote` gave no answer in 1 s"):
        git(home, "ls-remote", "--upload-pack=sleep 4; git-upload-pack", "origin")
    monkeypatch.setattr(git_module, "TRANSFER_TIMEOUT_S", 1.0)
    git(home, "commit", "--quiet", "--allow-empty", "--message", "two")
    with pytest.raises(GitError, match="`git push` gave no answer in 1 s"):
        git(home, "push", "--quiet", "origin", "main")


def test_no_password_of_an_address_is_shown(home: Path) -> None:
    for address in ("https://me:token@127.0.0.1:9/r.git", "https://token@127.0.0.1:9/r.git"):
        with pytest.raises(GitError, match=r"https://127\.0\.0\.1:9/r\.git") as error:
            git(home, "fetch", address)
        assert "token" not in str(error.value)
