"""Lineage names the commit with the code that made an object, whichever dvc.lock has its entry."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from flows.runs.active_run import finish_run, start_run
from flows.runs.record import read_runs
from flows.runs.run_plan import plan_run
from tests.flows.conftest import DVC_WARNS, ROOT, genai, set_parameter, shell
from tests.flows.runs.places import made

pytestmark = DVC_WARNS

PIPELINE = """
artifacts:
  candidate: {path: models/candidate, type: model}
stages:
  candidate:
    cmd: python work.py
    deps: [data/raw, work.py, parts]
    params: [models.gan.training.learning_rate]
    outs: [models/candidate]
  generate:
    cmd: python draw.py
    deps: [models/candidate, draw.py]
    outs: [samples/batch]
"""
WORK = """
import hashlib, json
from pathlib import Path

out = Path("models/candidate")
out.mkdir(parents=True)
weights = hashlib.sha256(Path("params.yaml").read_bytes()).digest()
(out / "model.safetensors").write_bytes(weights)
hashes = {"model.safetensors": hashlib.sha256(weights).hexdigest()}
(out / "config.json").write_text(json.dumps({"family": "gan", "dataset": "0" * 12, "sha256": hashes}))
(out / "selection.json").write_text("{}")
"""
DRAW = """
import hashlib, json
from pathlib import Path

import numpy as np

from genai_core.sampling.batch import Provenance, write_batch

out = Path("samples/batch")
out.mkdir(parents=True)
weights = json.loads(Path("models/candidate/config.json").read_text())["sha256"]["model.safetensors"]
images = np.random.default_rng(int(weights[:8], 16)).integers(0, 256, (2, 1, 8, 8), dtype=np.uint8)
write_batch(out, images, None, np.arange(2), [], "png", Provenance(weights, "gan", "0" * 12, {}, 0))
"""
RATE = "models.gan.training.learning_rate"
STAGES = ("candidate", "generate")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A git project in which nothing has run."""
    home = tmp_path_factory.mktemp("proofs") / "home"
    (home / "data/raw").mkdir(parents=True)
    (home / "data/raw/one.txt").write_text("one")
    (home / "parts").mkdir()
    (home / "parts/layer.py").write_text("width = 1\n")
    (home / "dvc.yaml").write_text(PIPELINE)
    (home / "work.py").write_text(WORK)
    (home / "draw.py").write_text(DRAW)
    shutil.copy(ROOT / "params.yaml", home)
    set_parameter(home, RATE, 0.001)
    (home / ".gitignore").write_text(".genai/\n/data/raw\n/models/\n/samples/\n")
    shell(home, "git init -q -b main && dvc init -q && dvc config core.autostage false && dvc add -q data/raw")
    shell(home, "git add -A && git commit -q -m begun")
    return home


@pytest.fixture
def home(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # the home has no code of the project
    return Path(shutil.copytree(template, tmp_path / "home", symlinks=True))


def run(home: Path) -> str:
    """Run like `genai run`, without a server. Return the commit of the snapshot."""
    with start_run(home, plan_run(home, [], print), []) as active:
        assert active.acceptance is not None
        for stage in STAGES:
            active.acceptance.offer(made(active.place, stage))
        assert finish_run(active, "completed", "").state == "completed"
    return read_runs(home)[-1].snapshot


def commit(home: Path, message: str) -> str:
    shell(home, f"git add -A && git commit -q -m '{message}'")
    return shell(home, "git rev-parse HEAD").strip()


def made_of(home: Path, thing: str) -> dict[str, Any]:
    answer = genai(home, "lineage", "--json", thing)
    assert answer.returncode == 0, answer.stderr
    return dict(json.loads(answer.stdout)["made_of"])


def candidate(home: Path) -> str:
    return str(home / "models/candidate")


def test_lock_in_a_later_snapshot_is_not_proof(home: Path) -> None:
    """Edit code and parameters, run, revert: the next snapshot has the old code with the lock of the edited run."""
    run(home)
    base = commit(home, "trained")
    set_parameter(home, RATE, 0.0015)
    (home / "parts/layer.py").write_text("width = 2\n")
    edited = run(home)
    first = made_of(home, candidate(home))
    assert (first["commit"], first["recorded"]) == (edited, False)
    assert first["parameters"][RATE] == 0.0015
    assert "learning_rate: 0.0015" in shell(home, f"git show {edited}:params.yaml")
    assert f"on no branch: the snapshot of run {read_runs(home)[-1].id}, started 20" in first["committed"]
    shell(home, "git checkout -q params.yaml parts")
    back = run(home)
    assert back != edited
    assert "learning_rate: 0.0015" not in shell(home, f"git show {back}:params.yaml")
    weights = first["weights"][:12]
    assert made_of(home, weights)["commit"] == edited
    present = made_of(home, candidate(home))
    assert (present["commit"], present["recorded"]) == (base, True)
    assert present["committed"].endswith("toy: trained")
    # The run that had it is forgotten, and its snapshot with it.
    for ref in shell(home, "git for-each-ref --format='%(refname)' refs/genai/runs").split()[:2]:
        shell(home, f"git update-ref -d {ref}")
    shown = genai(home, "lineage", weights).stdout
    assert "no commit has exactly this code, data and parameters; not committed" in shown
    assert "commit" not in made_of(home, weights)


def test_user_commit_comes_before_a_snapshot(home: Path) -> None:
    set_parameter(home, RATE, 0.0015)
    snapshot = run(home)
    image = str(home / "samples/batch/images/000000.png")
    early = made_of(home, image)["links"][0]  # dvc.lock is not committed yet
    begun = shell(home, "git rev-parse HEAD").strip()  # it has the batch's own code, but made another model
    assert (early["name"], early["commit"], early["recorded"]) == ("samples/batch", snapshot, False)
    assert early["links"][0]["commit"] == snapshot
    assert "not committed: no branch or tag has this dvc.lock" in genai(home, "lineage", image).stdout
    own = commit(home, "trained")
    set_parameter(home, RATE, 0.002)
    run(home)
    shell(home, "git checkout -q params.yaml dvc.lock && dvc checkout -q")
    late = made_of(home, image)["links"][0]
    assert (late["commit"], late["recorded"]) == (own, True)
    model = late["links"][0]
    assert (model["name"], model["commit"]) == ("models/candidate", own)
    assert model["links"][0]["commit"] == begun  # data/raw


def test_lock_older_than_the_code_of_its_commit(home: Path) -> None:
    run(home)
    trained = commit(home, "trained")
    set_parameter(home, RATE, 0.002)
    commit(home, "another rate, not trained")
    assert made_of(home, candidate(home))["commit"] == trained


def test_folder_that_differs_from_every_version(home: Path) -> None:
    run(home)
    commit(home, "trained")
    assert genai(home, "lineage", candidate(home)).stderr == ""
    (home / "models/candidate/selection.json").unlink()
    (home / "models/candidate/selection.json").write_text('{"another": 1}')
    (home / "models/candidate/notes.txt").write_text("mine")
    answer = genai(home, "lineage", candidate(home))
    assert "differs from every known version" in answer.stderr
    assert "the same weights; differences: notes.txt is not in that version, selection.json differs" in answer.stderr
    assert json.loads(genai(home, "lineage", "--json", candidate(home)).stdout)["note"]
