"""A retraining's reports: Prefect pages as Markdown, and lines for the terminal."""

from collections.abc import Iterable, Mapping
from typing import Any

from flows.retraining.gate import GateVerdict
from flows.retraining.policy import Decision

_TITLES = {"skip": "Nothing to do", "finetune": "Fine-tune production", "train": "Train from scratch"}


def decision_page(decision: Decision, rows: list[dict[str, str]], notes: tuple[str, ...]) -> str:
    """Return Markdown: the decision, its reasons, the facts."""
    lines = [f"## {_TITLES[decision.action]}", "", *_items(decision.reasons), "", *table(rows)]
    return "\n".join([*lines, "", *_items(notes)] if notes else lines)


def decision_lines(decision: Decision, notes: tuple[str, ...]) -> list[str]:
    """Return lines for a terminal: the notes, the decision, its reasons."""
    lines = [*(f"note: {note}" for note in notes), "", f"{_TITLES[decision.action].lower()}:"]
    return lines + [f"  {reason}" for reason in decision.reasons]


def rule_rows(verdict: GateVerdict) -> list[dict[str, str]]:
    """Return the gate's rules, one row each."""
    return [
        {
            "rule": rule.name,
            "passed": "at the approval" if rule.open else "yes" if rule.passed else "NO",
            "figures": rule.figures,
        }
        for rule in verdict.rules
    ]


def approval_page(
    title: str, verdict: GateVerdict, comparison: Mapping[str, Any], picture: str, facts: Mapping[str, str]
) -> str:
    """Return Markdown for the person who approves: pictures, rules, differences, provenance."""
    lines = [f"## {title}", ""]
    if picture:
        paired = comparison.get("differences")
        lines += ["The same position in both grids is the same latent:" if paired else "Generated images:"]
        lines += ["", picture, ""]
    lines += [*table(rule_rows(verdict)), ""]
    differences = [
        {
            "figure": name,
            "candidate - champion": f"{entry['value']:+.4g}",
            "between": f"{entry['low']:+.4g} and {entry['high']:+.4g}",
        }
        for name, entry in comparison.get("differences", {}).items()
    ]
    lines += [*table(differences), ""] if differences else []
    lines += table([{"what": name, "is": value} for name, value in facts.items()])
    lines += ["", "Answer on the run's page (Resume), or with `genai approve yes` or `genai approve no`."]
    return "\n".join(lines)


def result_page(title: str, rules: Iterable[dict[str, str]], lines: Iterable[str]) -> str:
    """Return Markdown: how the retraining ended, and the gate's rules."""
    return "\n".join([f"## {title}", "", *_items(lines), "", *table(list(rules))])


def table(rows: list[dict[str, str]]) -> list[str]:
    """Return a Markdown table of rows that have the same columns."""
    if not rows:
        return []
    cells = [[str(value).replace("|", "\\|") for value in row.values()] for row in rows]
    return [
        f"| {' | '.join(rows[0])} |",
        "|" + " --- |" * len(rows[0]),
        *(f"| {' | '.join(row)} |" for row in cells),
    ]


def _items(lines: Iterable[str]) -> list[str]:
    return [f"- {line}" for line in lines]
