"""The base of a fine-tuning: its line of params.yaml, the model that is brought in, what is known of its images."""

from pathlib import Path

import pytest

from flows.registry.base import BaseError, set_start
from genai_core.config import load_config
from tests.flows.conftest import ROOT


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
