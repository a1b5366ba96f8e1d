"""The candidate stage: the fine-tuned model if it measures better than the selected one, else the selected one."""

import json
from pathlib import Path

from tasks.context import running
from tasks.selection import CODE_FILE, choose, read_choice, read_measured, write_choice

SELECTED, FINETUNED, CANDIDATE = Path("models/selected"), Path("models/finetuned"), Path("models/candidate")
METRICS = Path("metrics/finetuned.json")


def main() -> None:
    with running("candidate") as context:
        metric = context.config.selection.metric
        contenders = [read_choice(SELECTED), read_measured("finetuned", FINETUNED, METRICS)]
        choice = choose(contenders, metric)
        print(choice.reason)
        code = json.loads((SELECTED / CODE_FILE).read_text())  # fine-tuning does not change the family
        write_choice(choice, metric, CANDIDATE, extra_files={CODE_FILE: code})


if __name__ == "__main__":
    main()
