"""`genai init`, `genai start` and the checks before a run, with real images, the real DVC and the real tasks."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from flows.advising.measured import MACHINE
from flows.cli import main
from flows.whole_file import write_json
from genai_core.advice.facts import MachineFacts, to_json
from genai_core.config import load_config
from tests.flows.conftest import DVC_WARNS, set_parameter
from tests.project import new_checkout, run
from tests.test_rooms import ROOT

pytestmark = DVC_WARNS


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout of the project without data. Its calibration measures nothing, which would take half a minute."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    folder = new_checkout(tmp_path / "checkout")
    code = folder / "tasks" / "calibrate.py"
    code.write_text(code.read_text().replace("MAX_SECONDS = 22.0", "MAX_SECONDS = 0.0"))
    run(["dvc", "init", "--quiet", "--force"], folder)
    return folder


def photographs(folder: Path, count: int, classes: int = 0) -> Path:
    generator = np.random.default_rng(0)
    for number in range(count):
        path = folder / (f"class{number % classes}" if classes else "") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (24, 32, 3), dtype=np.uint8)).save(path)
    return folder


def genai(workspace: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["--workspace", str(workspace), *arguments])


def add(checkout: Path, folder: Path) -> None:
    answer = genai(checkout, "data", "add", str(folder))
    assert answer.exit_code == 0, answer.output


def test_init_proposes_and_writes_and_says_what_it_found(checkout: Path, tmp_path: Path) -> None:
    add(checkout, photographs(tmp_path / "trees", 40))
    refused = genai(checkout, "init", "--minutes", "10", "--yes")  # the small settings of this test are edits
    assert refused.exit_code == 2
    assert "was edited" in refused.output
    answer = genai(checkout, "init", "--minutes", "10", "--yes", "--force", "--json")
    assert answer.exit_code == 0, answer.output
    found = json.loads(answer.stdout)
    assert found["data"]["count"] == 40
    assert found["data"]["width_px"] == 32
    assert 0 < found["seconds"] < 600
    assert {"key": "data.channels", "value": 3, "reason": "100% have colours"} in found["settings"]
    assert "40 images, 24 x 32 (height x width) pixels, in colour, no classes" in answer.stderr
    config = load_config(checkout / "params.yaml")
    assert config.data.channels == 3
    assert config.extractor.kind == "auto"
    text = (checkout / "params.yaml").read_text()
    assert text.startswith("# Proposed by `genai init`:\n# data: 40 images")
    # What it wrote itself, it writes again without --force; what it saw, it does not look at again.
    again = genai(checkout, "init", "--minutes", "20", "--yes")
    assert again.exit_code == 0, again.output
    estimates_of_the_plan(checkout)


def estimates_of_the_plan(checkout: Path) -> None:
    """The last run counts, scaled to the present budget; for stages that never ran, the calibration."""
    set_parameter(checkout, "models.diffusion.training.total_images", 2_000)
    cost = {"seconds": 30.0, "images": 1_000, "images_per_second": 50.0}
    write_json(checkout / "metrics" / "cost" / "train@diffusion.json", cost)
    write_json(checkout / MACHINE, to_json(MachineFacts(2)))
    stages = {entry["stage"]: entry for entry in json.loads(genai(checkout, "plan", "--json").stdout)}
    assert stages["train@diffusion"]["seconds"] == 10 + 2_000 / 50
    assert stages["report"]["seconds"] > 0
    assert stages["data/raw.dvc"]["seconds"] is None
    set_parameter(checkout, "models.diffusion.training.total_images", 2_000_000)
    lines = genai(checkout, "plan").output.splitlines()
    assert "about 11" in lines[-2]
    assert "long for a processor" in lines[-1]


def test_too_few_images_end_in_a_sentence(checkout: Path, tmp_path: Path) -> None:
    add(checkout, photographs(tmp_path / "eight", 8))
    answer = genai(checkout, "init", "--force", "--yes")
    assert answer.exit_code == 2
    assert "8 usable images; at least 20 different ones are needed" in answer.stderr
    for command in ("plan", "run"):
        answer = genai(checkout, command)
        assert answer.exit_code == (2 if command == "run" else 0)
        assert "extractor.kind is classifier, but the images have no classes" in answer.stderr
        assert "8 images leave about 2 to test with" in answer.stderr
    assert not (checkout / ".genai" / "runs").exists()

    # What concerns one stage is said only where that stage runs.
    set_parameter(checkout, "finetune.kind", "few_step")
    assert "finetune.kind is few_step" in genai(checkout, "plan").stderr
    set_parameter(checkout, "finetune.start", "base")
    assert "finetune.start is base, but no base was brought in here" in genai(checkout, "plan").stderr
    assert "finetune." not in genai(checkout, "plan", "train@gan").stderr


def test_start_is_for_one_dataset(checkout: Path, tmp_path: Path) -> None:
    few = photographs(tmp_path / "few", 6)
    for _ in range(2):  # the same source again continues
        answer = genai(checkout, "start", str(few), "--as", "mine", "--yes", "--force")
        assert answer.exit_code == 2
        assert "6 usable images" in answer.stderr
    assert (checkout / "data" / "raw" / "mine").is_dir()
    answer = genai(checkout, "start", str(photographs(tmp_path / "houses", 4)), "--yes", "--force")
    assert answer.exit_code == 2
    assert "already holds mine" in answer.stderr
    assert "genai new FOLDER" in answer.stderr
    assert not (checkout / "data" / "raw" / "houses").exists()
