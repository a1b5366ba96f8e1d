"""The base of a fine-tuning: its line of params.yaml, the model that is brought in, what is known of its images."""

from pathlib import Path

import pytest

from flows.dvc_lock import lock_here
from flows.registry.base import BaseError, read_base, set_base, set_start
from flows.registry.model_names import ModelNameError
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
