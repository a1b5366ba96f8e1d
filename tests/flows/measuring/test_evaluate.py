"""`genai evaluate` says what is missing before it starts the child process that imports torch."""

import json
import shutil
from pathlib import Path

import pytest

from flows.measuring import evaluate
from flows.measuring.evaluate import EvaluateError, Request, check
from tests.flows.conftest import ROOT, genai


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    (tmp_path / "weights.pth").touch()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Request(None, None), "no images; name them: genai evaluate IMAGES"),
        (Request("builtin:digits", None), "no real images; name them with --against REAL"),
        (Request("none", "builtin:digits"), "IMAGES: none: no such file or folder"),
        (Request("builtin:digits", "none"), "--against: none: no such file or folder"),
        (Request("builtin:digits", "builtin:digits", weights="none.pth"), "--weights: none.pth: no such file"),
        (Request("builtin:digits", "builtin:digits"), "no extractor: pass Inception's weights with --weights FILE"),
        (Request("builtin:digits", "builtin:digits", extractor="project"), "train it with `genai run extractor`"),
        (Request(None, None, selfcheck=True, size="9"), "compares with published figures; omit --size and --resize"),
    ],
)
def test_missing_inputs_are_named(workspace: Path, request_: Request, message: str) -> None:
    with pytest.raises(EvaluateError) as error:
        check(workspace, request_)
    assert message in str(error.value)


def test_missing_arguments_are_reported_before_missing_files(tmp_path: Path) -> None:
    with pytest.raises(EvaluateError, match="no images; name them"):
        check(tmp_path, Request(None, None))


@pytest.mark.parametrize("options", [{"extractor": "inception"}, {"weights": "weights.pth"}])
def test_sufficient_inputs(workspace: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, str]) -> None:
    monkeypatch.chdir(workspace)
    check(workspace, Request("builtin:digits", "builtin:digits", **options))
    check(workspace, Request(None, None, selfcheck=True))
    (workspace / evaluate.PROJECT_EXTRACTOR).mkdir(parents=True)
    check(workspace, Request("builtin:digits", "builtin:digits"))


def test_error_is_one_line_and_json(workspace: Path) -> None:
    answer = genai(workspace, "evaluate", "builtin:digits", "--against", "builtin:digits", "--json")
    assert answer.returncode == 2
    assert json.loads(answer.stdout) == {"error": answer.stderr.strip()}


def test_error_of_the_child_process_is_reported(workspace: Path) -> None:
    (workspace / evaluate.PROJECT_EXTRACTOR).mkdir(parents=True)
    options = ("--size", "12xx", "--resize", "legacy")
    answer = genai(workspace, "evaluate", "builtin:digits", "--against", "builtin:digits", "--json", *options)
    assert answer.returncode == 2
    assert json.loads(answer.stdout)["error"].startswith("evaluate: ")
