"""Shell completion: stages, versions, models, runs and presets, without DVC or Prefect."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from flows.completion import stage_names
from flows.presets import preset_names
from tests.flows.conftest import ROOT, shell


def completed(workspace: Path, line: str, **variables: str) -> list[str]:
    """What bash would offer for the last word of a line that begins with `genai`."""
    words = line.split(" ")
    environment = {"_GENAI_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    code = "import sys; sys.argv = ['genai']; from flows.cli import main; main(prog_name='genai')"
    slow = "print(sorted({'dvc', 'prefect', 'torch', 'pandas'} & set(sys.modules)), file=sys.stderr)"
    script = f"import atexit, sys; atexit.register(lambda: {slow})\n{code}"
    answer = subprocess.run(
        [sys.executable, "-c", script],
        cwd=workspace,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert answer.stderr.strip() == "[]", answer.stderr
    return [entry.partition(",")[2] for entry in answer.stdout.split()]


def test_stages_are_those_of_dvc(done: Path, tmp_path: Path) -> None:
    listed = shell(done, "dvc stage list --all --name-only").split()
    assert {*listed, "train"} == {*stage_names(done), "data/raw.dvc"}
    offered = ["train", "train@diffusion", "train@gan"]
    assert completed(done, "genai run tr") == offered
    assert completed(done, "genai plan select tr") == offered
    assert completed(done, "genai logs train@g") == ["train@gan"]
    assert completed(tmp_path, f"genai --workspace {done} run sel") == ["select"]
    assert completed(tmp_path, f"genai run --workspace {done} sel") == ["select"]
    assert completed(tmp_path, "genai run sel", GENAI_WORKSPACE=str(done)) == ["select"]
    assert completed(tmp_path, "genai run sel") == []


def test_this_projects_stages() -> None:
    names = stage_names(ROOT)
    assert {"prepare", "train", "train@gan", "evaluate@vae", "evaluate-finetuned", "report"} <= set(names)


def test_presets_versions_models_and_runs(done: Path) -> None:
    assert completed(done, "genai init --preset ") == preset_names()
    shell(done, "git tag -a -m first candidate@v0.0.1 && git tag -a -m second candidate@v0.1.0")
    assert completed(done, "genai rollback --to v0.1") == ["v0.1.0"]
    (done / "models/trained/gan").mkdir(parents=True)
    (done / "models/trained/gan/config.json").touch()
    assert completed(done, "genai compare g") == ["gan"]
    assert completed(done, "genai compare gan v0.0") == ["v0.0.1"]
    for run, state in (("20260101-000000-aaaa", "completed"), ("20260102-000000-bbbb", "failed")):
        (done / ".genai/runs" / run).mkdir(parents=True)
        (done / ".genai/runs" / run / "run.json").write_text(f'{{"state": "{state}"}}')
    assert completed(done, "genai runs show 2026") == ["20260101-000000-aaaa", "20260102-000000-bbbb"]
    assert completed(done, "genai runs resume 2026") == ["20260102-000000-bbbb"]
    assert completed(done, "genai logs --run 20260102") == ["20260102-000000-bbbb"]


def test_half_edited_dvc_yaml_completes_nothing(done: Path) -> None:
    (done / "dvc.yaml").write_text("stages: [\n")
    assert completed(done, "genai run tr") == []


@pytest.mark.parametrize("shell_name", ["bash", "zsh", "fish"])
def test_the_documented_line_prints_a_script(shell_name: str, tmp_path: Path) -> None:
    if shell_name == "bash" and shutil.which("bash") is None:
        pytest.skip("click asks bash for its version")
    command = [sys.executable, "-c", "from flows.cli import main; main(prog_name='genai')"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "_GENAI_COMPLETE": f"{shell_name}_source"}
    answer = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert "_GENAI_COMPLETE" in answer.stdout
