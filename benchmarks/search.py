"""A search with pruning against random trials that all train to their end: how good, in how many seconds.

    python -m benchmarks.search WORKSPACE [--repeats 5] [--trials 12] [--out FILE]

WORKSPACE: a checkout with data whose shared stages have run (genai run reference). Its params.yaml is changed and
restored. For each repeat, the same seed serves both searches. Seconds are those of the trials' own work (their stages);
the overhead, beside them, is what a trial takes until it is recorded. With --lock, each trial is a call of its own,
so that the machine can be shared.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

from flows.search.params_text import with_values

# A VAE of the built-in digits, with a present learning rate that is too low: no present settings help either search.
SPACE = """
    models.vae.training.learning_rate: {low: 1.0e-4, high: 3.0e-2, log: true}
    models.vae.network.width: {choices: [12, 16, 24]}
    models.vae.network.flow_layers: {low: 2, high: 8}
    models.vae.objective.kl_warmup_images: {low: 500, high: 20_000, log: true}
    models.vae.sampling.temperature: {low: 0.5, high: 1.2}"""
SMALL = {
    "models.vae.training.total_images": 12_000,
    "models.vae.training.learning_rate": 5.0e-5,  # outside of the space
    "evaluation.total_images": 800,
}
KINDS = {
    "random, all trained to their end": {"search.sampler": "random", "search.pruning": None},
    "tpe, with pruning": {},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--out", type=Path, help="where the figures are written as JSON")
    parser.add_argument("--lock", help="a command before each call, such as: flock -s FILE")
    options = parser.parse_args()
    params = options.workspace / "params.yaml"
    before = params.read_text()
    found = []
    try:
        for repeat in range(options.repeats):
            for kind, settings in KINDS.items():
                params.write_text(settings_text(before, settings, repeat))
                row = figures(kind, repeat, searched(options))
                found.append(row)
                print(json.dumps(row), flush=True)
    finally:
        params.write_text(before)
    print(table(found))
    if options.out:
        options.out.write_text(json.dumps(found, indent=2) + "\n")


def settings_text(text: str, settings: dict[str, Any], seed: int) -> str:
    """The params.yaml of one search."""
    pruning = settings.get("search.pruning", "kept")
    if pruning is None:
        head, _, tail = text.partition("  pruning:")
        rest = tail.splitlines(keepends=True)[1:]
        while rest and rest[0].startswith("    "):
            rest.pop(0)
        text = f"{head}  pruning: null\n{''.join(rest)}"
    values = {key: value for key, value in settings.items() if key != "search.pruning"}
    text = with_values(text, {**SMALL, **values, "search.seed": seed})
    return text.replace("  space: {}", f"  space:{SPACE}\n  #", 1)


def searched(options: argparse.Namespace) -> dict[str, Any]:
    """Search until the study has all its trials; return what `genai search --json` prints."""
    values: dict[str, Any] = {}
    for count in range(1, options.trials + 1) if options.lock else [options.trials]:
        command = [*(options.lock or "").split(), sys.executable, "-m", "flows.cli", "--workspace"]
        command += [str(options.workspace), "search", f"--trials={count}", "--json"]
        values = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    return values


def figures(kind: str, repeat: int, values: dict[str, Any]) -> dict[str, Any]:
    """What one search gave."""
    trials, best = values["trials"], values["best"]
    states = [trial["state"] for trial in trials]
    return {
        "search": kind,
        "repeat": repeat,
        "best": next(trial["distance"] for trial in trials if trial["number"] == best),
        "again": values["fresh"][str(best)]["held_out"],
        "seconds": round(sum(trial["seconds"] for trial in trials), 1),
        "overhead": round(median(trial["overhead_s"] for trial in trials), 2),
        "complete": states.count("complete"),
        "pruned": states.count("pruned"),
        "failed": states.count("failed"),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    names = list(rows[0])
    lines = [f"| {' | '.join(names)} |", f"|{'---|' * len(names)}"]
    return "\n".join(lines + [f"| {' | '.join(str(row[name]) for name in names)} |" for row in rows])


if __name__ == "__main__":
    main()
