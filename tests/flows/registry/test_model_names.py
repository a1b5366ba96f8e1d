"""What a model's name stands for, and its files: folders, this workspace's models, prod, versions, revisions."""

import hashlib
import json
import re
from pathlib import Path

import pytest

from flows.registry import model_names
from flows.registry.model_names import ModelNameError, models_here, name_model, open_model
from tests.flows.conftest import DVC_WARNS, genai, shell
from tests.flows.model_home import make, new_home

pytestmark = DVC_WARNS


@pytest.fixture(scope="module")
def home(_own_settings: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """v0.0.1 in production, a newer candidate here, a branch model, and an extractor, which does not draw."""
    folder = new_home(tmp_path_factory.mktemp("home"))
    make(folder, 3.0)
    answer = genai(folder, "promote")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    make(folder, 2.0)
    shell(folder, "mkdir -p models/trained models/extractor && cp -r data/raw models/trained/gan")
    (folder / "models/extractor/config.json").write_text('{"kind": "classifier", "sha256": "0"}')
    return folder


@pytest.mark.parametrize(
    ("name", "version"), [("prod", "v0.0.1"), ("v0.0.1", "v0.0.1"), ("HEAD~1", "v0.0.1"), ("HEAD", None)]
)
def test_model_of_a_commit_is_laid_out_once(home: Path, name: str, version: str | None) -> None:
    found = open_model(home, name)
    assert (found.name, found.version, found.family) == (name, version, "gan")
    assert found.commit == shell(home, f"git rev-parse {'HEAD' if name == 'HEAD' else 'HEAD~1'}").strip()
    figure = json.loads((found.folder / "selection.json").read_text())["figures"]["fd"]
    assert figure == (2.0 if name == "HEAD" else 3.0)
    assert found.sha256 == hashlib.sha256((found.folder / "model.safetensors").read_bytes()).hexdigest()
    inode = found.folder.stat().st_ino
    assert open_model(home, name).folder.stat().st_ino == inode


def test_files_of_another_user_are_said_to_be_so(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbid(*_: object) -> None:  # tests may run as root, to whom nothing is forbidden
        raise PermissionError(13, "Permission denied", str(home / ".genai/production/new"))

    monkeypatch.setattr(model_names, "lay_out", forbid)
    place = home / ".genai/production"
    owner = place.owner()
    expected = f"cannot be laid out: no permission for {place}/new: {place} belongs to {owner}; run genai as {owner}"
    with pytest.raises(ModelNameError, match=re.escape(expected)):
        open_model(home, "HEAD")


def test_models_on_this_disk_come_first(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    candidate, gan = home / "models/candidate", home / "models/trained/gan"
    names = {
        "candidate": candidate,
        str(candidate): candidate,
        "gan": gan,
        "trained/gan": gan,
        "models/trained/gan": gan,
    }
    for name, folder in names.items():
        assert name_model(home, name).folder == folder
    assert open_model(home, "gan").commit is None
    assert models_here(home) == ["candidate", "trained/gan"]


def test_unknown_names_say_what_there_is(home: Path) -> None:
    with pytest.raises(
        ModelNameError, match=r"v9\.9\.9: not a model.*available here: prod, v0\.0\.1, candidate, trained/gan"
    ):
        name_model(home, "v9.9.9")
    with pytest.raises(ModelNameError, match="expected the name of a model"):
        name_model(home, "")
    with pytest.raises(ModelNameError, match="does not describe a generative model"):
        open_model(home, "extractor")
    shell(home, "git tag empty $(git commit-tree -m none $(git mktree </dev/null))")
    with pytest.raises(ModelNameError, match="has no models/candidate"):
        open_model(home, "empty")


def test_prod_before_the_first_promotion(tmp_path: Path) -> None:
    shell(tmp_path, "git init -q")
    with pytest.raises(ModelNameError, match="nothing is in production yet"):
        name_model(tmp_path, "prod")
    with pytest.raises(ModelNameError, match="no model yet; run `genai run`"):
        name_model(tmp_path, "gan")
