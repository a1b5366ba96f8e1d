"""The candidate stage: the fine-tuned model if it measures better than the selected one, else the selected one.

A model fine-tuned from production is always the candidate: production's figures are from other data, and the gate
compares the two on the same images.
"""

import json
from pathlib import Path

from genai_core.config import ModelCardConfig
from tasks.context import running
from tasks.selection import CODE_FILE, choose, read_choice, read_measured, write_choice

MODELS = Path("models")
FINETUNED, CANDIDATE = MODELS / "finetuned", MODELS / "candidate"
METRICS = Path("metrics/finetuned.json")


def main() -> None:
    with running("candidate") as context:
        start = context.config.finetune.start
        contenders = [read_measured("finetuned", FINETUNED, METRICS)]
        if start == "selected":
            contenders.insert(0, read_choice(MODELS / start))
        choice = choose(contenders, context.config.selection.metric)
        print(choice.reason)
        code = json.loads((MODELS / start / CODE_FILE).read_text())  # fine-tuning does not change the family
        section = card_section(context.config.model_card, choice.reason)
        write_choice(choice, CANDIDATE, extra_files={CODE_FILE: code}, card_section=section)


def card_section(card: ModelCardConfig, reason: str) -> str:
    """Return the sections that a publishable model's card needs in addition to how it was made."""
    return (
        f"\n## Licence\n\n{card.licence}\n\n## Intended use\n\n{card.intended_use}\n\n"
        f"## Why this model\n\n{reason}. Its figures are in `selection.json`.\n"
    )


if __name__ == "__main__":
    main()
