"""Choosing between models, and the folder of the chosen one."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from genai_core.config import ModelCardConfig
from tasks.candidate import card_section
from tasks.select import family_code
from tasks.selection import MeasuredModel, choose, choose_few_step, read_choice, read_measured, write_choice


def measured(name: str, distance: float) -> MeasuredModel:
    return MeasuredModel(name, "gan", Path(name), {"fd": distance}, {})


def model_folder(root: Path, name: str, **metrics: Any) -> tuple[Path, Path]:
    folder, figures = root / name, root / f"{name}.json"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"family": "gan"}))
    (folder / "model.safetensors").write_bytes(name.encode())
    figures.write_text(json.dumps({"sampling": {"truncation": 0.7}, "protocol": {"n": 3}, **metrics}))
    return folder, figures


def test_the_smallest_distance_wins_and_the_reason_says_so() -> None:
    choice = choose([measured("a", 3.0), measured("b", 1.5), measured("c", 2.0)], "fd")
    assert choice.chosen.name == "b"
    assert choice.reason == "b has the smallest fd: 1.5, against 2 of c, 3 of a"


def test_auto_stands_for_the_kind_of_extractor_that_measured() -> None:
    entry = replace(measured("a", 0.0), figures={"fd_classifier": 2.0}, protocol={"extractor": "classifier"})
    choice = choose([entry], "fd_auto")
    assert (choice.metric, choice.reason) == ("fd_classifier", "a has the smallest fd_classifier: 2")


def test_the_first_of_equal_models_wins() -> None:
    assert choose([measured("a", 1.0), measured("b", 1.0)], "fd").chosen.name == "a"


def test_a_model_without_a_finite_figure_cannot_win() -> None:
    assert choose([measured("a", float("nan")), measured("b", 9.0)], "fd").chosen.name == "b"
    with pytest.raises(ValueError, match=r"no model has a finite fd \(measured: a\)"):
        choose([measured("a", float("inf"))], "fd")


def test_a_few_step_model_may_be_a_little_worse_than_its_teacher() -> None:
    teacher, student = measured("a", 2.0), replace(measured("b", 2.5), sampling={"steps": 1})
    taken, kept = (choose_few_step(teacher, student, "fd", ratio) for ratio in (1.3, 1.2))
    assert taken.chosen is student
    assert taken.reason == "b draws with 1 (sampling.steps), and its fd is 2.5, 1.25 times 2 of a"
    assert kept.chosen is teacher
    assert "1.25 times 2 of a, and finetune.few_step.worst_ratio is 1.2" in kept.reason
    broken = replace(student, figures={"fd": float("nan")})
    assert choose_few_step(teacher, broken, "fd", 1.3).chosen is teacher


def test_the_chosen_model_is_copied_with_its_selection(tmp_path: Path) -> None:
    folder, figures = model_folder(tmp_path, "one", fd=2.0, good=True)
    entry = read_measured("one", folder, figures)
    assert entry.figures["fd"] == 2.0
    target = tmp_path / "selected"
    write_choice(choose([entry], "fd"), target, {"code.json": {"sha256": "x"}})
    assert (target / "model.safetensors").read_bytes() == b"one"
    assert json.loads((target / "code.json").read_text()) == {"sha256": "x"}
    assert read_choice(target) == MeasuredModel("one", "gan", target, entry.figures, {"truncation": 0.7}, {"n": 3})
    write_choice(choose([read_choice(target)], "fd"), tmp_path / "again")
    assert read_choice(tmp_path / "again").sampling == {"truncation": 0.7}


def test_the_candidates_card_ends_with_licence_and_intended_use(tmp_path: Path) -> None:
    folder, figures = model_folder(tmp_path, "one", fd=2.0)
    (folder / "card.md").write_text("# A model\n")
    choice = choose([read_measured("one", folder, figures)], "fd")
    section = card_section(ModelCardConfig(licence="CC-BY-4.0", intended_use="Tests."), choice.reason)
    write_choice(choice, tmp_path / "candidate", card_section=section)
    card = (tmp_path / "candidate/card.md").read_text()
    assert card.startswith("# A model\n\n## Licence\n\nCC-BY-4.0\n\n## Intended use\n\nTests.\n")
    assert "one has the smallest fd: 2." in card
    assert (folder / "card.md").read_text() == "# A model\n"


def test_an_unmeasured_model_is_named(tmp_path: Path) -> None:
    folder, figures = model_folder(tmp_path, "one", fd=2.0)
    figures.unlink()
    with pytest.raises(FileNotFoundError, match=r"one\.json: missing, so one cannot be compared"):
        read_measured("one", folder, figures)


def test_the_familys_code_is_recorded_by_hash() -> None:
    code = family_code("gan")
    assert "genai_core/models/gan.py" in code
    assert "genai_core/models/networks/gan/residual.py" in code
    assert not any("diffusion" in path for path in code)
    for path, sha256 in code.items():
        assert sha256 == hashlib.sha256(Path(path).read_bytes()).hexdigest()


def test_figures_of_different_protocols_are_not_compared() -> None:
    a, b = measured("a", 1.0), measured("b", 2.0)
    seeds = [replace(entry, protocol={"seed": seed}) for seed, entry in enumerate((a, b))]
    with pytest.raises(ValueError, match=r"a and b: figures with different protocols cannot be compared: seed 0 and 1"):
        choose(seeds, "fd")
    libraries = [replace(entry, protocol={"libraries": {"torch": str(n)}}) for n, entry in enumerate((a, b))]
    assert choose(libraries, "fd").chosen.name == "a"
