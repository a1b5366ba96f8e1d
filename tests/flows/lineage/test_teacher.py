"""Lineage names the teacher of a few-step model."""

from flows.lineage.cli import lines_of
from flows.lineage.trace import few_step_facts


def test_a_few_step_model_names_its_teacher() -> None:
    config = {"few_step": {"teacher": "5f" * 32, "steps": 2}}
    facts = {"family": "diffusion", "weights": "a" * 64, "trained_on": "b" * 64, **few_step_facts(config)}
    said = "few-step model: draws in at most 2 evaluations what its teacher, weights 5f5f5f5f5f5f, draws"
    assert said in list(lines_of(facts))
    assert few_step_facts({"family": "gan"}) == {}
