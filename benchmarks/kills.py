"""Random kills of `genai run`: are results the same as undisturbed, and is anything left?

    python -m benchmarks.kills [--kills N] [--seed SEED] [--minutes M]

A toy workspace with the real DVC, git and Prefect (a temporary server for each run), which is killed at random moments
in four ways. After each kill the next `genai run` goes on. Ends with 1 when something was other than it should be.
"""

import argparse
import os
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.kill_choices import KINDS, Kill, Values, set_values
from benchmarks.kill_sweep import PATIENCE_S, Sweep
from benchmarks.killed_runs import PHASES, STAGES, outcome_of
from tests.flows.toy_home import new_toy, own_settings, shell

MODELS = ("diffusion", "gan", "vae", "vqvae")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, help="[default: a new one, which is printed]")
    parser.add_argument("--minutes", type=float, help="Begin no further kill after so many.")
    parser.add_argument("--folder", type=Path, help="A new folder to work in, kept.  [default: a temporary one]")
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else random.SystemRandom().randrange(10**6)
    print(f"seed {seed}", flush=True)
    began = time.monotonic()
    until = began + 60.0 * arguments.minutes if arguments.minutes else float("inf")
    with tempfile.TemporaryDirectory(prefix="genai-kills-") as name:
        folder = (arguments.folder or Path(name)).resolve()
        for variable in [name for name in os.environ if name.startswith(("PREFECT", "DVC", "GIT"))]:
            del os.environ[variable]
        os.environ.update(own_settings(folder))
        workspace = new_toy(folder / "toy", _four_models)
        sweep = Sweep(workspace, folder / "sweep", seed, Undisturbed(folder), say=_say)
        sweep.run(arguments.kills, until)
    minutes = (time.monotonic() - began) / 60.0
    print(f"\nseed {seed}: {len(sweep.kills)} kills in {sweep.runs} runs, {minutes:.0f} min")
    equal = sum(kill.equal is True for kill in sweep.kills)
    print(f"{sweep.compared} runs completed; results equal after {equal} of {len(sweep.kills)} kills")
    print(f"looked at all that is left {sweep.looked_at} times, {PATIENCE_S:g} s after a kill at the latest\n")
    print_table(sweep.kills)
    for fault in sweep.faults:
        print(f"FAULT {fault}")
    return 1 if sweep.faults else 0


class Undisturbed:
    """What plain `dvc repro`, undisturbed, makes of a toy workspace, by the values that the sweep sets; each once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[Values, dict[str, Any] | None] = {}

    def __call__(self, values: Values) -> dict[str, Any] | None:
        if values not in self._known:
            workspace = self._folder / f"undisturbed-{values[0]}{values[1]}"
            shell(self._folder, f"git clone -q toy {workspace.name} && cp -r toy/data/raw {workspace.name}/data/")
            set_values(workspace, values)
            shell(workspace, "dvc repro --quiet")
            self._known[values] = outcome_of(workspace)
        return self._known[values]


def print_table(kills: list[Kill]) -> None:
    """Kind against what was reached, and what came of it."""
    kinds = [kind for kind in KINDS[:3] if any(kill.kind == kind for kill in kills)]
    victims = sorted({kill.victim for kill in kills if kill.victim})
    rows = [(kind, [kill for kill in kills if kill.kind == kind]) for kind in kinds]
    rows += [(f"SIGKILL of one: {victim}", [kill for kill in kills if kill.victim == victim]) for victim in victims]
    rows.append(("all", kills))
    reached = [*PHASES, *STAGES]
    print("|".join(["", "kind", "kills", *reached, "equal results", "left", ""]))
    print("|".join(["", *["---"] * (len(reached) + 4), ""]))
    for name, those in rows:
        counts = Counter(kill.reached for kill in those)
        equal = f"{sum(kill.equal is True for kill in those)} of {len(those)}"
        left = Counter(what.partition(":")[0] for kill in those for what in kill.left)
        told = ", ".join(f"{count} {what}" for what, count in left.items()) or "nothing"
        cells = [name, str(len(those)), *(str(counts[place] or "") for place in reached), equal, told]
        print("|" + "|".join(cells) + "|")


def _four_models(values: Any) -> None:
    values["models"] = {name: values["models"][name] for name in MODELS}


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
