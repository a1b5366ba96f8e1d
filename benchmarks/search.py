"""Searches with pruning against random trials that all train to their end: how good, in how many seconds.

    python -m benchmarks.search [--repeats 5] [--trials 12] [--folder FOLDER] [--out FILE] [--add FILE ...]

Makes a workspace of the built-in digits in FOLDER (default: a temporary one), and searches in copies of it, so that no
search finds what another one has computed. In each repeat, all searches have the same seed, so the two random ones have
the same trials. Seconds are those of the trials' own work (their stages); the overhead is what a trial takes beside
them. The winner is measured again, with seeds and images that its search never saw. It has to be alone on the machine;
one repeat takes about ten minutes on 2 cores.
"""

import argparse
import json
import math
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from flows.search.params_text import with_values

ROOT = Path(__file__).parents[1]
# A VAE of the built-in digits, with a present learning rate that is too low: no present settings help either search.
SPACE = """
    models.vae.training.learning_rate: {low: 1.0e-4, high: 3.0e-2, log: true}
    models.vae.network.width: {choices: [8, 16, 24]}
    models.vae.network.flow_layers: {low: 2, high: 8}
    models.vae.objective.kl_warmup_images: {low: 500, high: 20_000, log: true}
    models.vae.sampling.temperature: {low: 0.5, high: 1.2}"""
SMALL = {
    "models.vae.training.total_images": 48_000,  # so that starting a stage's process, 4 s, is a small part of a trial
    "models.vae.training.learning_rate": 5.0e-5,  # outside of the space
    "evaluation.total_images": 800,
}
COURSE = "course"  # seconds and distance of each trial, in order
FULL = "random, all trained to their end"
SEARCHES = (FULL, "random, with pruning", "tpe, with pruning")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--folder", type=Path, help="where the workspaces are made; an earlier one there is used again")
    parser.add_argument("--searches", nargs="+", choices=SEARCHES, default=SEARCHES)
    parser.add_argument("--out", type=Path, help="where the figures are written as JSON")
    parser.add_argument("--add", nargs="+", type=Path, default=[], help="such files, whose figures the table has too")
    options = parser.parse_args()
    found: list[dict[str, Any]] = [row for path in options.add for row in json.loads(path.read_text())]
    with working_folder(options.folder) as folder:
        base = base_workspace(folder / "base")
        for repeat in range(options.repeats):
            for kind in options.searches:
                found.append({"search": kind, "repeat": repeat, **searched(base, folder, kind, repeat, options.trials)})
                print(json.dumps(found[-1]), flush=True)
    print(table(found))
    print("\n".join(ratios(found)))
    if options.out:
        options.out.write_text(json.dumps(found, indent=2) + "\n")


@contextmanager
def working_folder(given: Path | None) -> Iterator[Path]:
    if given is not None:
        given.mkdir(parents=True, exist_ok=True)
        yield given
        return
    with TemporaryDirectory(prefix="genai-search-") as folder:
        yield Path(folder)


def base_workspace(folder: Path) -> Path:
    """A workspace in which all that trials share is up to date."""
    if not folder.exists():
        genai(ROOT, "new", str(folder))
        genai(folder, "data", "add", "builtin:digits")
        path = folder / "params.yaml"
        path.write_text(with_values(path.read_text(), SMALL))
        genai(folder, "run", "reference", "augment")
    return folder


def searched(base: Path, folder: Path, kind: str, seed: int, trials: int) -> dict[str, Any]:
    """The figures of one search in a copy of the base."""
    copy = folder / "copy"
    shutil.copytree(base, copy, symlinks=True)
    try:
        path = copy / "params.yaml"
        path.write_text(search_text(path.read_text(), kind, seed))
        return figures(json.loads(genai(copy, "search", f"--trials={trials}", "--json")))
    finally:
        shutil.rmtree(copy)


def search_text(text: str, kind: str, seed: int) -> str:
    """A params.yaml with the section of one search."""
    text = text.replace("  space: {}", f"  space:{SPACE}\n  #", 1)
    text = with_values(text, {"search.sampler": kind.partition(",")[0]})
    if kind == FULL:
        head, _, tail = text.partition("  pruning:")
        rest = tail.splitlines(keepends=True)[1:]
        while rest[0].startswith("    "):
            rest.pop(0)
        text = f"{head}  pruning: null\n{''.join(rest)}"
    return with_values(text, {"search.seed": seed})


def genai(folder: Path, *arguments: str) -> str:
    """Run a command of a workspace, with its code. Its progress goes to standard error."""
    command = [sys.executable, "-m", "flows.cli", *arguments]
    return subprocess.run(command, cwd=folder, check=True, stdout=subprocess.PIPE, text=True).stdout


def figures(values: dict[str, Any]) -> dict[str, Any]:
    """What one search gave."""
    trials, best = values["trials"], values["best"]
    states = [trial["state"] for trial in trials]
    return {
        "distance": rounded(next(trial["distance"] for trial in trials if trial["number"] == best)),
        "new seeds and images": rounded(values["fresh"][str(best)]["held_out"]),
        "seconds": round(sum(trial["seconds"] for trial in trials), 1),
        "overhead a trial": round(median(trial["overhead_s"] for trial in trials), 2),
        "complete": states.count("complete"),
        "pruned": states.count("pruned"),
        "failed": states.count("failed"),
        COURSE: [[trial["seconds"], trial["distance"]] for trial in trials],
    }


def rounded(value: float) -> float:
    return float(f"{value:.4g}")


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    names = [name for name in rows[0] if name != COURSE]
    lines = [f"| {' | '.join(names)} |", f"|{'---|' * len(names)}"]
    return "\n".join(lines + [f"| {' | '.join(str(row[name]) for name in names)} |" for row in rows])


def ratios(rows: list[dict[str, Any]]) -> list[str]:
    """The searches with pruning in shares of the one without: medians over the repeats, and each."""
    by_repeat = {kind: {row["repeat"]: row for row in rows if row["search"] == kind} for kind in SEARCHES}
    lines = []
    for kind in SEARCHES[1:]:
        pairs = [(row, by_repeat[FULL][number]) for number, row in by_repeat[kind].items() if number in by_repeat[FULL]]
        if not pairs:
            continue
        lines.append(f"{kind}, over {FULL}:")
        for name, goal in (("distance", 1.0), ("new seeds and images", 1.0), ("seconds", 0.5)):
            lines.append(shown(name, [row[name] / full[name] for row, full in pairs], goal))
        reached = [seconds_to(row[COURSE], best_in(full[COURSE])) / full["seconds"] for row, full in pairs]
        lines.append(shown("seconds until as good as all of the other", reached, 0.5))
    return lines


def shown(name: str, shares: list[float], goal: float) -> str:
    each = ", ".join(f"{share:.2f}" for share in shares)
    return f"  {name}: {median(shares):.2f} (goal: at most {goal:g}; {each})"


def best_in(course: list[list[Any]]) -> float:
    return min(float(found) for _, found in course if found is not None)


def seconds_to(course: list[list[Any]], distance: float) -> float:
    """Seconds of the trials until one was at least as good; infinite if none was."""
    for number, (_, found) in enumerate(course, 1):
        if found is not None and found <= distance:
            return float(sum(seconds for seconds, _ in course[:number]))
    return math.inf


if __name__ == "__main__":
    main()
