"""`genai generate` with the real task and a tiny model: it appears whole, or not at all."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from flows.registry.generate import GenerateError, Request, generate
from flows.registry.generate_cli import split_classes
from genai_core.model import load_model
from tests.flows.conftest import DVC_WARNS, ROOT, genai
from tests.flows.model_home import make, new_home

pytestmark = DVC_WARNS


@pytest.fixture(scope="module")
def home(_own_settings: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = new_home(tmp_path_factory.mktemp("home"))
    make(folder, 3.0)
    answer = genai(folder, "promote")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    shutil.copy(ROOT / "params.yaml", folder)  # whole, for the task
    return folder


def test_draws_the_librarys_pictures_and_says_with_what(home: Path, tmp_path: Path) -> None:
    out = tmp_path / "new/batch"
    names = load_model(home / "models/candidate").classes
    chosen = f"{names[1]},{names[0]}"
    options = ["--classes", chosen, "--seed", "9", "--set", "truncation=0.5", "--out", str(out)]
    answer = genai(home, "generate", "--count", "5", *options, "--json")
    assert answer.returncode == 0, answer.stderr
    values, drawn = json.loads(answer.stdout), json.loads((out / "provenance.json").read_text())["drawn"]
    assert (values["version"], values["sampling"], values["seeds"]) == ("v0.0.1", {"truncation": 0.5}, [9, 13])
    assert (drawn["model"], drawn["version"]) == ("prod", "v0.0.1")
    assert len(drawn["commit"]) == len(drawn["code"]) == 40
    assert [path.name for path in out.parent.iterdir()] == ["batch"]

    model = load_model(home / "models/candidate", device="cpu")
    expected = model.draw(5, classes=[names[1], names[0]] * 2 + [names[1]], seed=9, truncation=0.5)
    expected.save(tmp_path / "expected")
    hashes = [pd.read_parquet(path / "manifest.parquet")["sha256"].tolist() for path in (out, tmp_path / "expected")]
    assert hashes[0] == hashes[1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"count": 0}, "--count: expected at least 1, got 0"),
        ({"seed": 2**32 - 1}, "seeds lie between 0 and 4294967295; got 4294967295 for 2 images"),
        ({"seed": -1}, "--seed"),
        ({"classes": ("zebra",)}, "v0.0.1 has no class 'zebra'; available: "),
        ({"options": ("steps",)}, "--set: expected NAME=VALUE, such as steps=20, got 'steps'"),
        ({"options": ("steps=3",)}, "gan has no option steps; available: truncation"),
    ],
)
def test_wrong_requests_leave_nothing(home: Path, tmp_path: Path, changes: dict, message: str) -> None:
    values = {"count": 2, "out": tmp_path / "out", **changes}
    with pytest.raises(GenerateError) as raised:
        generate(home, Request(**values), lambda _line: None)
    assert message in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(home: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(GenerateError, match="mine: exists already; choose a new folder"):
        generate(home, Request(2, tmp_path / "mine"), lambda _line: None)


def test_class_names_with_commas() -> None:
    assert split_classes(("a,b", "c, d"), ("a", "b", "c", "d")) == ("a", "b", "c", "d")
    assert split_classes(("red, green",), ("red, green",)) == ("red, green",)


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_kill_leaves_nothing(home: Path, tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "flows.cli", "--workspace", str(home), "generate", "--count", "2000000"]
    process = subprocess.Popen([*command, "--out", str(tmp_path / "out")], cwd=ROOT, stderr=subprocess.DEVNULL)
    wait_for(lambda: len(list(tmp_path.glob(".out-*/.genai/new/batch/images/*.png"))) > 10)
    process.send_signal(number)
    assert process.wait(60.0) != 0
    wait_for(lambda: not list(tmp_path.iterdir()))


def wait_for(condition, timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
