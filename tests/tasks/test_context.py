"""Output and exit status of a task, in real processes."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors import SafetensorError

from genai_core.config import MACHINE_FAULT, NEEDS_MANUAL_ACTION
from tasks.context import running

ROOT = Path(__file__).parents[2]


def run_body(folder: Path, body: str) -> subprocess.CompletedProcess[str]:
    """Run a task with a body of one line, in a folder with the project's params.yaml."""
    shutil.copy(ROOT / "params.yaml", folder)
    code = f"from tasks.context import running\nwith running('train@x') as context:\n    {body}\n"
    command = [sys.executable, "-c", code]
    environment = {"PYTHONPATH": str(ROOT), "PATH": ""}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_an_expected_error_is_one_line(tmp_path: Path) -> None:
    ended = run_body(
        tmp_path, "from genai_core.data.raw.rules import find_images; find_images(__import__('pathlib').Path('no'))"
    )
    assert ended.returncode == NEEDS_MANUAL_ACTION
    assert ended.stderr.startswith("train@x: no: expected a folder of images")
    assert len(ended.stderr.splitlines()) == 1


def test_a_full_disk_has_a_status_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    for fault in (_fill_a_disk, _fail_as_safetensors_does):
        with pytest.raises(SystemExit) as ended, running("train@x"):
            fault()
        assert ended.value.code == MACHINE_FAULT
        assert "No space left on device" in capsys.readouterr().err
    with pytest.raises(OSError, match="cannot identify"), running("train@x"):  # of Pillow: it has no number
        raise OSError("cannot identify image file")


def _fill_a_disk() -> None:
    Path("/dev/full").write_text("x")


def _fail_as_safetensors_does() -> None:
    raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")


@pytest.mark.parametrize("fault", ["import numpy; numpy.zeros(2).reshape(3)", "int('x')", "{}['key']"])
def test_a_bug_shows_its_traceback(tmp_path: Path, fault: str) -> None:
    ended = run_body(tmp_path, fault)
    assert ended.returncode == 1
    assert "Traceback" in ended.stderr
