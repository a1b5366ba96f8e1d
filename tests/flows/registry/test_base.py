"""The base of a fine-tuning: its line of params.yaml, the model that is brought in, what is known of its images."""

import json
from pathlib import Path

import pytest

from flows.dvc_lock import lock_here
from flows.registry.base import BaseError, continued_for, read_base, set_base, set_kind, set_start
from flows.registry.model_names import ModelNameError, NamedModel
from genai_core.config import load_config
from tests.flows.conftest import DVC_WARNS, ROOT, shell
from tests.flows.model_home import make, new_home
from tests.models.tiny import SHAPE


def test_only_one_word_changes(tmp_path: Path) -> None:
    before = (ROOT / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(before)
    set_start(tmp_path, "base")
    text = (tmp_path / "params.yaml").read_text()
    assert load_config(tmp_path / "params.yaml").finetune.start == "base"
    assert text.replace("start: base", "start: selected", 1) == before
    set_start(tmp_path, "base")
    assert (tmp_path / "params.yaml").read_text() == text
    set_start(tmp_path, "selected")
    assert (tmp_path / "params.yaml").read_text() == before
    set_kind(tmp_path, "few_step")
    assert (tmp_path / "params.yaml").read_text() == before.replace("  kind: full ", "  kind: few_step ", 1)


@pytest.mark.parametrize(
    "text",
    [
        "finetune: {start: selected}\n",
        "finetune:\n  seed: 1\nother:\n  start: selected\n",
        "other:\n  start: selected\n",
    ],
)
def test_a_missing_line_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(BaseError, match=r"finetune\.start has no line of its own"):
        set_start(tmp_path, "base")
    assert (tmp_path / "params.yaml").read_text() == text


TOY_TASK = """
import json, shutil, sys
from pathlib import Path

folder, *options = sys.argv[1:]
shutil.rmtree("models/base", ignore_errors=True)
shutil.copytree(folder, "models/base")
values = dict(option.removeprefix("--").split("=", 1) for option in options)
Path("models/base/base.json").write_text(json.dumps(values))
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with a model in a commit, and a fine-tuning that continues the selected one."""
    home = new_home(tmp_path_factory.mktemp("base") / "home")
    (home / ".gitignore").write_text(".genai/\n/data/raw\n/models/base\n/models/candidate\n")
    (home / "tasks/__init__.py").write_text("")
    (home / "tasks/base.py").write_text(TOY_TASK)
    make(home, 3.0)
    shell(home, "git tag -a -m v candidate@v0.0.1 && echo 'finetune:\n  start: selected' >> params.yaml")
    return home


@DVC_WARNS
def test_a_version_stays_the_base_whatever_its_name_stands_for_later(home: Path) -> None:
    found = set_base(home, "v0.0.1")
    assert found is not None
    assert (found.name, found.family, found.classes, found.knows_images) == ("v0.0.1", "gan", SHAPE.classes, False)
    assert "  start: base\n" in (home / "params.yaml").read_text()
    assert (home / "models/base.dvc").is_file()
    assert lock_here(home).sources[-1].path == "models/base"
    with pytest.raises(BaseError, match=r"models/base is the base already; name the model that it came from"):
        set_base(home, "models/base")
    with pytest.raises(ModelNameError, match=r"v9: not a model folder.*available here: v0\.0\.1"):
        set_base(home, "v9")
    assert set_base(home, "selected") is None
    assert "  start: selected\n" in (home / "params.yaml").read_text()
    assert read_base(home) == found  # kept, to go back to it
    (home / "models/base/config.json").unlink()
    with pytest.raises(BaseError, match=r"models/base is damaged.*set it again: genai base NAME"):
        read_base(home)


@DVC_WARNS
def test_a_base_that_dvc_cannot_see_is_an_error(home: Path) -> None:
    """As in a workspace whose .gitignore is older."""
    ignored = (home / ".gitignore").read_text()
    (home / ".gitignore").write_text(".genai/\n/data/raw\n/models/*\n!/models/*.dvc\n")
    try:
        with pytest.raises(BaseError, match=r"DVC does not see models/base\.dvc.*replace /models/\* by a line"):
            set_base(home, "candidate")
        assert "  start: selected\n" in (home / "params.yaml").read_text()
    finally:
        (home / ".gitignore").write_text(ignored)


def make_few_step(model: Path, teacher: str) -> None:
    """Let a model's config.json say that it was made from these weights."""
    values = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**values, "few_step": {"teacher": teacher}}))


@DVC_WARNS
def test_of_a_few_step_model_its_teacher_is_continued(home: Path) -> None:
    set_base(home, "v0.0.1")
    teacher = read_base(home)
    assert teacher is not None
    fast = home / "fast"
    fast.mkdir()
    for file in (home / "models/candidate").iterdir():
        (fast / file.name).write_bytes(file.read_bytes())
    make_few_step(fast, teacher.weights)
    assert set_base(home, str(fast)) == teacher  # the base of this workspace, as it is

    # As if the model came from a commit whose models/base.dvc names the teacher.
    shell(home, "git add models/base.dvc && git commit -q -m base")
    named = NamedModel("quick", commit=shell(home, "git rev-parse HEAD").strip())
    found = continued_for(home, named, fast)
    assert (found.title, found.commit) == ("the teacher of quick", None)
    assert json.loads((found.folder / "config.json").read_text())["sha256"]["model.safetensors"] == teacher.weights

    make_few_step(fast, "0" * 64)
    message = r"is a few-step model, which nothing continues, and its teacher \(weights 0{12}\) is not among the models"
    with pytest.raises(BaseError, match=f"{message} that this workspace has"):
        set_base(home, str(fast))
    with pytest.raises(BaseError, match=f"{message} that its commit"):
        continued_for(home, named, fast)
