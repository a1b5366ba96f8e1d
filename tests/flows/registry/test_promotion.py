"""Promote and roll back with the real git and DVC: what moves production, and what is refused."""

import json
import shutil
from datetime import datetime, timedelta
from pathlib import Path

import dvc.api
import gto.api
import pytest

from flows.data.remote import push_commit as push_data
from flows.git import GitError
from flows.registry.promotion import promote, rollback
from flows.registry.read import RegistryError, read_registry
from tests.flows.conftest import DVC_WARNS, edit, genai, shell
from tests.flows.model_home import at_commit, make, production, remotes

pytestmark = DVC_WARNS


def test_promotions_and_rollbacks_without_remotes(home: Path) -> None:
    second = shell(home, "git rev-parse HEAD").strip()
    at_commit(home, "HEAD~1")
    first = promote(home, push_data, why="the first\nof all", by="a test")
    assert (first.version, first.before, first.data_remote, first.git_remote) == ("v0.0.1", None, None, None)
    at_commit(home, "main")
    assert promote(home, push_data, version="v1.0.0").before == "v0.0.1"
    with pytest.raises(RegistryError, match=r"nothing to promote: v1\.0\.0"):
        promote(home, push_data)

    # What GTO and DVC read is what we read.
    for name in ("v1.0.0", "v0.0.1"):
        assert production(home) == name
        (seen,) = gto.api.show(str(home), "candidate#prod")
        assert seen["version"] == name
        shown = dvc.api.artifacts_show("candidate", stage="prod", repo=str(home))
        assert (
            shell(home, f"git rev-parse {shown['rev']}^{{commit}}").strip() == read_registry(home).version(name).commit
        )
        if name == "v1.0.0":
            assert rollback(home, why="it draws circles").version == "v0.0.1"
    with pytest.raises(RegistryError, match=r"nothing was in production before v0\.0\.1"):
        rollback(home)

    registry = read_registry(home)
    assert [move.action for move in registry.moves] == ["promote", "promote", "rollback"]
    assert [move.why for move in registry.moves] == ["the first of all", "fd is 2", "it draws circles"]
    facts = registry.version("v1.0.0").facts
    assert facts is not None
    assert registry.version("v1.0.0").commit == second
    assert (facts.metric, facts.figures, facts.dataset) == ("fd", {"fd": 2.0}, "d" * 64)
    times = [move.at for move in registry.moves]
    assert times == sorted(set(times))  # whole seconds, and none twice
    assert registry.production(times[0] - timedelta(seconds=1)) is None
    at_the_time = [registry.production(time) for time in times]
    assert [move.version for move in at_the_time if move] == ["v0.0.1", "v1.0.0", "v0.0.1"]

    # As a person sees it.
    assert "v1.0.0" in genai(home, "registry", "show").stdout.splitlines()[1]
    lines = genai(home, "history").stdout.splitlines()
    assert "it draws circles" in lines[1]
    assert "v0.0.1" in lines[1]
    answer = genai(home, "registry", "at", times[1].astimezone().isoformat())
    assert answer.stdout.startswith("v1.0.0, since ")
    assert "no model was in production" in genai(home, "registry", "at", "2001-01-01").stdout
    tomorrow = (datetime.now() + timedelta(days=1)).date()
    assert genai(home, "registry", "at", str(tomorrow)).stdout.startswith("v0.0.1, since ")
    answer = genai(home, "registry", "at", "yesterday")
    assert (answer.returncode, "expected a date" in answer.stderr) == (2, True)


def test_dry_run_and_json(home: Path) -> None:
    _, storage = remotes(home)
    before = shell(home, "git for-each-ref"), shell(home, "git ls-remote origin")
    plain = genai(home, "promote", "--dry-run")
    assert plain.returncode == 0, plain.stderr
    assert plain.stdout.startswith("v0.0.1 would be in production (the first version, commit ")
    assert plain.stdout.endswith("Dry run: nothing was pushed or tagged.\n")
    planned = json.loads(genai(home, "promote", "--dry-run", "--json").stdout)
    assert (shell(home, "git for-each-ref"), shell(home, "git ls-remote origin")) == before
    assert not storage.exists()
    assert planned == {
        "version": "v0.0.1",
        "before": None,
        "commit": shell(home, "git rev-parse HEAD").strip(),
        "data_remote": "storage",
        "git_remote": "origin",
        "tags": ["candidate@v0.0.1", "candidate#prod#1"],
        "dry_run": True,
    }
    done = genai(home, "promote", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {**planned, "dry_run": False}
    assert production(home) == "v0.0.1"
    again = genai(home, "promote", "--dry-run", "--json")  # the checks are those of a promotion
    assert again.returncode == 2
    assert json.loads(again.stdout)["error"].startswith("nothing to promote: v0.0.1")

    at_commit(home, "HEAD~2")  # the other model, from before there was a DVC remote
    older = json.loads(genai(home, "promote", "--json").stdout)
    back = json.loads(genai(home, "rollback", "--json").stdout)
    assert (older["version"], older["before"]) == ("v0.0.2", "v0.0.1")
    changed = {"before": "v0.0.2", "data_remote": None, "tags": ["candidate#prod#3"], "dry_run": False}
    assert back == {**planned, **changed}


def test_many_moves_in_a_second_and_rollbacks_through_all(home: Path) -> None:
    """Alphabetically, #10 comes before #9. DVC finds the last move only by its time, in whole seconds."""
    at_commit(home, "HEAD~1")
    promote(home, push_data)
    at_commit(home, "main")
    promote(home, push_data)
    for _ in range(5):
        rollback(home, to="v0.0.1")
        rollback(home, to="v0.0.2")
    assert "candidate#prod#12" in read_registry(home).tags
    assert production(home) == "v0.0.2"
    rev = dvc.api.artifacts_show("candidate", stage="prod", repo=str(home))["rev"]
    assert shell(home, f"git rev-parse {rev}") == shell(home, "git rev-parse main")
    # A rollback without a name goes to what was there before, not to where the last rollback came from.
    assert rollback(home).version == "v0.0.1"
    # What was withdrawn by another tool is not offered again.
    gto.api.deregister(str(home), "candidate", version="v0.0.2")
    assert read_registry(home).version("v0.0.2").withdrawn
    with pytest.raises(RegistryError, match="withdrawn"):
        rollback(home, to="v0.0.2")
    # Nor does a tag that only looks like one of ours matter.
    shell(home, "git tag candidate@vNext && git tag 'candidate#prod#99' && git tag -a -m x 'candidate#staging#40' HEAD")
    assert production(home) == "v0.0.1"
    assert read_registry(home).next_number() == 41


def test_a_model_of_other_data_is_refused(home: Path) -> None:
    """The stage reads files of the data, not the folder."""
    files = "data/raw/config.json, data/raw/model.safetensors"
    edit(home / "dvc.yaml", "deps: [data/raw, tasks]", f"deps: [{files}, tasks]")
    make(home, 2.0)
    edit(home / "data/raw/config.json", "d" * 64, "e" * 64)
    shell(home, "dvc add -q data/raw && git commit -q -a -m 'other data'")
    with pytest.raises(RegistryError, match=r"these differ: candidate: data/raw/config\.json\. "):
        promote(home, push_data)
    shell(home, "git reset -q --hard HEAD~1 && dvc checkout -q")
    assert promote(home, push_data, dry_run=True).version == "v0.0.1"
    shutil.rmtree(home / ".dvc" / "cache")
    with pytest.raises(
        RegistryError, match=r"the listing of data/raw \(.*\) is neither in DVC's cache nor at the remote"
    ):
        promote(home, push_data)


def test_refused_promotions(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RegistryError, match="nothing is in production yet"):
        rollback(home)
    with pytest.raises(RegistryError, match=r"expected three numbers after a v"):
        promote(home, push_data, version="2")
    (home / "params.yaml").write_text("selection:\n  figure: 9.0\n")
    with pytest.raises(RegistryError, match=r"not committed: params.yaml"):
        promote(home, push_data)
    shell(home, "git commit -q -a -m 'not run'")
    with pytest.raises(RegistryError, match=r"these differ: candidate: params.yaml selection\. "):
        promote(home, push_data)
    shell(home, "git revert -n HEAD && echo '# a change' >> tasks/candidate.py && git commit -q -a -m 'other code'")
    with pytest.raises(RegistryError, match=r"these differ: candidate: tasks\. "):
        promote(home, push_data)
    shell(home, "git reset -q --hard HEAD~2")
    monkeypatch.setenv("GIT_COMMITTER_NAME", "")
    with pytest.raises(GitError, match="empty ident"):
        promote(home, push_data)
    monkeypatch.undo()
    shutil.rmtree(home / ".dvc" / "cache")
    with pytest.raises(RegistryError, match="neither in DVC's cache nor at the remote"):
        promote(home, push_data)
    with pytest.raises(GitError, match="no git repository here"):
        promote(tmp_path, push_data)
    answer = genai(home, "rollback", "--to", "v7.0.0")
    assert (answer.returncode, answer.stderr.strip()) == (
        2,
        "nothing is in production yet, so there is nothing to roll back; run `genai promote`",
    )
