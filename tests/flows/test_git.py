"""Calls of git: time limits, names with line breaks, messages without secrets."""

import os
from pathlib import Path

import pytest

from flows import git as git_module
from flows.git import GitError, changed_files, git
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


def test_changed_files_of_a_project_in_a_subfolder(repository: Path) -> None:
    project = repository / "projects" / "faces "
    project.mkdir(parents=True)
    (project / "params.yaml").write_text("1\n")
    shell(repository, "git add -A && git -c user.name=t -c user.email=t@t commit -q -m two")
    (project / "params.yaml").write_text("other\n")
    (repository / "same.txt").write_text("other\n")
    assert changed_files(project) == ["params.yaml", "../../same.txt"]
    assert changed_files(project, "params.yaml") == ["params.yaml"]


def test_renamed_file_is_two_changes(repository: Path) -> None:
    shell(repository, "git mv same.txt other.txt")
    assert changed_files(repository) == ["other.txt", "same.txt"]


def test_query_does_not_write_the_index(repository: Path) -> None:
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


def test_line_separator_in_a_tags_message_starts_no_field() -> None:
    message = "title\n\nBy: me\u2028Weights: none\nWhy: a\x85Model: b\r\n"
    assert read_fields(message) == {"By": "me\u2028Weights: none", "Why": "a\x85Model: b"}


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


def test_push_has_a_longer_timeout_than_a_query(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(git_module, "ANSWER_TIMEOUT_S", 1.0)
    git(home, "push", "--quiet", "origin", "main")
    assert git(home, "ls-remote", "origin", "refs/heads/main").split()[0] == git(home, "rev-parse", "HEAD").strip()
    with pytest.raises(GitError, match="`git ls-remote` did not finish within 1 s"):
        git(home, "ls-remote", "--upload-pack=sleep 4; git-upload-pack", "origin")
    monkeypatch.setattr(git_module, "TRANSFER_TIMEOUT_S", 1.0)
    git(home, "commit", "--quiet", "--allow-empty", "--message", "two")
    with pytest.raises(GitError, match="`git push` did not finish within 1 s"):
        git(home, "push", "--quiet", "origin", "main")


def test_password_of_an_address_is_not_shown(home: Path) -> None:
    for address in ("https://me:token@127.0.0.1:9/r.git", "https://token@127.0.0.1:9/r.git"):
        with pytest.raises(GitError, match=r"https://127\.0\.0\.1:9/r\.git") as error:
            git(home, "fetch", address)
        assert "token" not in str(error.value)


def test_a_checkout_has_the_timeout_of_a_transfer_after_options_too(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(git_module, "ANSWER_TIMEOUT_S", 0.0)
    git(repository, "-c", "core.hooksPath=/dev/null", "worktree", "add", "--quiet", "--detach", "other")
    with pytest.raises(GitError, match="`git rev-parse` did not finish"):
        git(repository, "-c", "core.hooksPath=/dev/null", "rev-parse", "HEAD")


def test_users_settings_do_not_change_what_is_parsed(repository: Path, tmp_path: Path) -> None:
    """A signed commit, with a gpg that approves everything."""
    gpg = tmp_path / "gpg"
    gpg.write_text(
        "#!/bin/sh\ncat >/dev/null\ncase $* in\n"
        "*--verify*) echo '[GNUPG:] GOODSIG 0 me'; echo 'gpg: Good signature' >&2;;\n"
        "*) echo '[GNUPG:] SIG_CREATED ' >&2; echo '-----BEGIN PGP SIGNATURE-----'; "
        "echo '-----END PGP SIGNATURE-----';;\nesac\n"
    )
    gpg.chmod(0o755)
    queries = [
        ("show", "--no-patch", "--format=%cI", "HEAD"),
        ("log", "-1", "--format=%H %s"),
        ("log", "--grep=^Grün|^x", "--extended-regexp", "--format=%s"),
        ("log", "--grep=^Gr", "--format=%s"),
        ("log", "--format=%H", "--", "moved.txt"),
    ]
    shell(repository, f"git mv same.txt moved.txt && git config gpg.program {gpg} && git commit -q -S -m 'Grün: a'")
    before = [git(repository, *query) for query in queries]
    assert before[3] == "Grün: a\n"
    for name, value in {
        "log.showSignature": "true",
        "log.follow": "true",
        "grep.patternType": "fixed",
        "i18n.logOutputEncoding": "latin1",
        "color.ui": "always",
        "log.date": "relative",
        "format.pretty": "fuller",
    }.items():
        shell(repository, f"git config {name} {value}")
        assert [git(repository, *query) for query in queries] == before, name


def test_variables_of_a_hook_do_not_direct_git_elsewhere(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """git sets them for the hooks of another repository."""
    shell(tmp_path, "mkdir other && git init -q other")
    local = shell(repository, "git rev-parse --local-env-vars").split()
    kept = {"GIT_CONFIG_COUNT", "GIT_CONFIG_PARAMETERS"}
    assert set(local) - kept <= set(git_module.HOOK_VARIABLES)
    head = git(repository, "rev-parse", "HEAD")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other/.git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "other/.git/index"))
    (repository / "same.txt").write_text("2\n")
    git(repository, "add", "same.txt")
    assert git(repository, "rev-parse", "HEAD") == head
    assert not (tmp_path / "other/.git/index").exists()


def test_ssh_does_not_prompt_unless_the_user_chose_a_command(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ssh = tmp_path / "bin/ssh"
    ssh.parent.mkdir()
    ssh.write_text(f'#!/bin/sh\necho "$@" >{tmp_path}/called\nexit 1\n')
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{ssh.parent}:{os.environ['PATH']}")

    def called() -> str:
        with pytest.raises(GitError):
            git(repository, "ls-remote", "ssh://nowhere.invalid/x.git")
        return (tmp_path / "called").read_text()

    assert "BatchMode=yes" in called()
    shell(repository, "git config core.sshCommand 'ssh -v'")
    assert "BatchMode" not in called()
    assert "-v" in called()
    shell(repository, "git config --unset core.sshCommand")
    monkeypatch.setenv("GIT_SSH_COMMAND", "ssh -4")
    assert "BatchMode" not in called()
