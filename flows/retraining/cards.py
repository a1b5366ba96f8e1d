"""What people look at: pages of Prefect, and lines of a terminal."""

from collections.abc import Mapping
from typing import Any

from flows.retraining.gate import Verdict
from flows.retraining.policy import Decision

_VERBS = {"skip": "Nothing to do", "finetune": "Fine-tune production", "train": "Train from scratch"}


def decision_page(decision: Decision, rows: list[dict[str, str]], notes: tuple[str, ...]) -> str:
    """Markdown: what is to be done, why, and what is known."""
    lines = [f"## {_VERBS[decision.action]}", "", *(f"- {reason}" for reason in decision.reasons), ""]
    lines += table(rows)
    if notes:
        lines += ["", *(f"- {note}" for note in notes)]
    return "\n".join(lines)


def decision_lines(decision: Decision, rows: list[dict[str, str]], notes: tuple[str, ...]) -> list[str]:
    """The same for a terminal."""
    width = max((len(row["what"]) for row in rows), default=0)
    lines = [f"{row['what']:<{width}}  {row['is']}" for row in rows]
    lines += [f"note: {note}" for note in notes]
    lines += ["", f"{_VERBS[decision.action].lower() if decision.action != 'skip' else 'nothing to do'}:"]
    return lines + [f"  {reason}" for reason in decision.reasons]


def rule_rows(verdict: Verdict) -> list[dict[str, str]]:
    """Every rule of the gate, a row each."""
    return [
        {"rule": rule.name, "passed": "yes" if rule.passed else "NO", "figures": rule.figures} for rule in verdict.rules
    ]


def approval_page(
    title: str, verdict: Verdict, comparison: Mapping[str, Any], picture: str, facts: Mapping[str, str]
) -> str:
    """Markdown for the person who has the last word: pictures, differences, rules, and where it comes from."""
    lines = [f"## {title}", ""]
    if picture:
        pairs = "A place in both grids is the same latent:" if comparison.get("differences") else "What it draws:"
        lines += [pairs, "", picture, ""]
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
    return "\n".join(
        [*lines, "", "Answer on the run's page (Resume), or with `genai approve yes` or `genai approve no`."]
    )


def table(rows: list[dict[str, str]]) -> list[str]:
    """A Markdown table of rows with the same columns."""
    if not rows:
        return []
    cells = [[str(value).replace("|", "\\|") for value in row.values()] for row in rows]
    return [
        f"| {' | '.join(rows[0])} |",
        "|" + " --- |" * len(rows[0]),
        *(f"| {' | '.join(row)} |" for row in cells),
    ]
