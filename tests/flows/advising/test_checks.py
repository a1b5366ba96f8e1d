from pathlib import Path

import pytest

from flows.advising.checks import unfit_teacher, unknown_images
from genai_core.config import load_config

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("kind", "start", "content", "is_unfit"),
    [
        ("few_step", "base", '{"family": "gan"}', True),
        ("few_step", "base", '{"family": "diffusion"}', False),
        ("few_step", "base", "{", False),
        ("few_step", "base", None, False),
        ("few_step", "selected", '{"family": "gan"}', False),
        ("full", "base", '{"family": "gan"}', False),
    ],
)
def test_a_base_that_cannot_be_a_teacher_is_known_before_the_run(
    tmp_path: Path, kind: str, start: str, content: str | None, is_unfit: bool
) -> None:
    config = load_config(ROOT / "params.yaml")
    config = config.model_copy(update={"finetune": config.finetune.model_copy(update={"kind": kind, "start": start})})
    if content is not None:
        (tmp_path / "models/base").mkdir(parents=True)
        (tmp_path / "models/base/config.json").write_text(content)
    assert bool(unfit_teacher(tmp_path, config)) == is_unfit
    if is_unfit:
        assert "the base is a gan model" in str(unfit_teacher(tmp_path, config))


def test_a_base_whose_images_are_unknown_is_known_before_the_run(tmp_path: Path) -> None:
    config = load_config(ROOT / "params.yaml")
    new = config.finetune.model_copy(update={"start": "base", "images": "new"})
    config = config.model_copy(update={"finetune": new})
    assert unknown_images(tmp_path, config) is None
    (tmp_path / "models/base").mkdir(parents=True)
    (tmp_path / "models/base/config.json").write_text("{}")
    assert "nothing says which images the base was trained on" in str(unknown_images(tmp_path, config))
    for start, images in (("base", "all"), ("selected", "new")):
        other = config.finetune.model_copy(update={"start": start, "images": images})
        assert unknown_images(tmp_path, config.model_copy(update={"finetune": other})) is None
    (tmp_path / "models/base/seen.npy").write_bytes(b"")
    assert unknown_images(tmp_path, config) is None
