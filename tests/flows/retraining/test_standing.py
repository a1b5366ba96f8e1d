"""What is in production when a retraining ends: read again, also from the git remote."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from flows.git import GitError, commit_of
from flows.registry.read import read_registry
from flows.registry.write import NewTag, add_tags
from flows.retraining import retrain
from flows.retraining.standing import standing_now
from genai_core.config import load_config
from tests.flows.conftest import ROOT, shell
from tests.flows.model_home import git_remote
from tests.flows.retrain_home import last


def promote(home: Path, version: str, number: int) -> None:
    shell(home, f"git commit -q --allow-empty -m {version}")
    names = f"candidate@{version}", f"candidate#prod#{number}"
    add_tags(home, read_registry(home), [NewTag(name, commit_of(home), "Promote") for name in names], None)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    shell(home, "git init -q -b main && git commit -q --allow-empty -m first")
    return home


def test_production_is_read_again(home: Path, tmp_path: Path) -> None:
    assert standing_now(home, "").sentence == "Production is unchanged: none"
    promote(home, "v0.0.1", 1)
    moved = standing_now(home, "")
    assert (moved.version, moved.sentence) == ("v0.0.1", "Production has moved: v0.0.1, before none")
    assert standing_now(home, "v0.0.1").sentence == "Production is unchanged: v0.0.1"

    remote = git_remote(home)
    shell(home, "git push -q origin --tags")
    shell(tmp_path, f"git clone -q {remote} other")
    promote(tmp_path / "other", "v0.0.2", 2)
    shell(tmp_path / "other", "git push -q origin --tags")
    assert standing_now(home, "v0.0.1").version == "v0.0.2"

    remote.rename(tmp_path / "away")
    found = standing_now(home, "v0.0.2")
    assert found.version == "v0.0.2"
    assert found.sentence.startswith("Production is unchanged: v0.0.2 (by this clone alone: `git ls-remote`")
    assert standing_now(tmp_path, "v0.0.2").version is None


def test_an_error_after_the_promotion_names_the_new_version(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    promote(home, "v0.0.1", 1)
    situation = SimpleNamespace(champion="v0.0.1", config=load_config(ROOT / "params.yaml"))
    sent: list[str] = []

    def fail_after_the_tags(*_: object, **__: object) -> None:
        promote(home, "v0.0.2", 2)
        raise GitError("no space left for the record")

    monkeypatch.setattr(retrain, "absorb_queued", lambda: SimpleNamespace(reasons=(), asked=False))
    monkeypatch.setattr(retrain, "observe", lambda _workspace: situation)
    monkeypatch.setattr(retrain, "finish_interrupted", lambda *_: False)
    monkeypatch.setattr(retrain, "_retrain", fail_after_the_tags)
    monkeypatch.setattr(retrain, "send", lambda _kind, _title, text, *_: sent.append(text))
    with pytest.raises(GitError):
        retrain._exclusively(home, "", requested=False, action=None, plan_only=False)
    assert sent == ["no space left for the record\nProduction has moved: v0.0.2, before v0.0.1."]
    assert last(home)["version"] == "v0.0.2"
