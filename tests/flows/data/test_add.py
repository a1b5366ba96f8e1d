"""`genai data add` and `genai data remove` with the real DVC, including kills."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from flows.cli import main
from flows.data.add import tracked_data
from tests.flows.conftest import DVC_WARNS
from tests.flows.data.test_addresses import make_repository, run
from tests.packed import files_in
from tests.test_rooms import ROOT

pytestmark = DVC_WARNS


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    folder = make_repository(tmp_path / "workspace")
    (folder / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    return folder


def save(folder: Path, *numbers: int) -> Path:
    for number in numbers:
        path = folder / ("hat" if number % 2 else "shoe") / f"{number:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"image {number}".encode())
    return folder


def genai(workspace: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["--workspace", str(workspace), "data", *arguments])


def test_version_after_a_removal_is_that_of_the_rest_alone(workspace, tmp_path):
    raw = workspace / "data" / "raw"
    assert genai(workspace, "add", str(save(tmp_path / "rest", *range(6))), "--as", "set").exit_code == 0
    rest = tracked_data(workspace)
    assert genai(workspace, "add", str(save(tmp_path / "more", 6, 7)), "--as", "set").exit_code == 0
    assert tracked_data(workspace).files == rest.files + 1 == 2  # a pack an addition
    nothing = genai(workspace, "remove", "set", "none/*")
    assert nothing.exit_code != 0
    said = genai(workspace, "remove", "set", "hat/00007.png", "shoe/00006.png")
    assert said.exit_code == 0, said.output
    assert f"data/raw: 6 images in total\ndata/raw is now version {rest.md5} (" in said.output
    assert "files" not in said.output
    assert tracked_data(workspace) == rest
    assert files_in(raw / "set").keys() == files_in(tmp_path / "rest").keys()
    before = (workspace / "data" / "raw.dvc").read_bytes()
    assert genai(workspace, "remove", "set", "hat/*", "--dry-run").exit_code == 0
    assert (workspace / "data" / "raw.dvc").read_bytes() == before
    for arguments in (["set"], ["set", "--dry-run"], ["set", "hat/*", "--all"]):
        assert genai(workspace, "remove", *arguments).exit_code != 0
        assert (workspace / "data" / "raw.dvc").read_bytes() == before
    assert genai(workspace, "remove", "set", "--all").exit_code == 0
    assert tracked_data(workspace).files == 0


def test_recorded_images_that_are_not_here_are_not_dropped(workspace, tmp_path):
    """In a clone, data/raw.dvc names images that a version made here would lose."""
    assert genai(workspace, "add", str(save(tmp_path / "many", *range(6))), "--as", "many").exit_code == 0
    run(workspace, "git", "add", "--all")
    run(workspace, "git", "commit", "--quiet", "--message", "data")
    clone, more = tmp_path / "clone", save(tmp_path / "more", 6, 7)
    run(tmp_path, "git", "clone", "--quiet", str(workspace), str(clone))
    before = (clone / "data" / "raw.dvc").read_bytes()

    for arguments in (["add", str(more)], ["remove", "many", "--all"], ["remove", "many", "--all", "--dry-run"]):
        refused = genai(clone, *arguments)
        assert (refused.exit_code, len(refused.stderr.splitlines())) == (2, 1)
        assert refused.stderr.startswith("data/raw.dvc: neither data/raw nor DVC's cache has the images")
        assert "genai data pull" in refused.stderr
    save(clone / "data" / "raw" / "by-hand", 9)  # the same with other images in the folder
    assert genai(clone, "add", str(more)).exit_code == 2
    assert (clone / "data" / "raw.dvc").read_bytes() == before

    shutil.rmtree(clone / "data" / "raw")
    shutil.copytree(workspace / ".dvc" / "cache", clone / ".dvc" / "cache")
    dry = genai(clone, "remove", "many", "--all", "--dry-run")
    assert (dry.exit_code, (clone / "data" / "raw").exists()) == (2, False)
    assert "dvc checkout data/raw.dvc" in dry.stderr
    added = genai(clone, "add", str(more))
    assert added.exit_code == 0, added.output
    assert "data/raw: 8 images in total" in added.output


@pytest.mark.parametrize("how", [pytest.param(signal.SIGTERM, marks=pytest.mark.long), signal.SIGKILL])
def test_kill_while_adding_leaves_the_data_unchanged(how, workspace, tmp_path):
    raw = workspace / "data" / "raw"
    command = [sys.executable, "-m", "tasks.ingest", "--into", "data/raw", "--as", "set"]
    subprocess.run([*command, str(save(tmp_path / "first", *range(4)))], cwd=workspace, check=True)
    before = {path: path.read_bytes() for path in raw.rglob("*") if path.is_file()}
    many = str(save(tmp_path / "second", *range(5, 6_000)))
    with subprocess.Popen([*command, many], cwd=workspace, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while not list(raw.with_name(".raw.new").rglob("*.new")) and time.monotonic() < deadline:
            time.sleep(0.005)
        os.kill(process.pid, how)
    assert {path: path.read_bytes() for path in raw.rglob("*") if path.is_file()} == before
    subprocess.run([*command, str(save(tmp_path / "third", *range(30_000, 30_004)))], cwd=workspace, check=True)
    assert len(files_in(raw / "set")) == 8
    assert not raw.with_name(".raw.new").exists()
