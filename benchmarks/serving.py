"""Speed and steadiness of `genai serve`, on a workspace in which `make demo` has run.

    python -m benchmarks.serving --checkout PATH [--models trained/gan candidate] [--short]
    python -m benchmarks.serving --checkout PATH --parts chaos --requests 10000
    python -m benchmarks.serving --checkout PATH --parts gradio --gradio-python VENV/bin/python

Gradio is not in the lock. An environment with it, beside the project's packages:
`python -m venv --system-site-packages VENV`, a .pth file in it that names the project's site-packages, and
`VENV/bin/pip install "gradio>=5,<6"`.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.serving_chaos import chaos
from benchmarks.serving_load import Measured, first_picture, from_change_to_picture, overloaded, throughput
from benchmarks.serving_peer import gradio_beside
from benchmarks.serving_server import ROOT, served

PARTS = ("start", "latency", "throughput", "overload", "gradio", "chaos")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkout", type=Path, required=True, help="a workspace with trained models")
    parser.add_argument("--models", nargs="+", default=["trained/gan", "candidate"])
    parser.add_argument("--chaos-models", nargs=2, default=["trained/gan", "trained/vae"])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=[part for part in PARTS if part != "gradio"])
    parser.add_argument("--requests", type=int, default=10_000, help="of the part chaos")
    parser.add_argument("--seed", type=int, default=0, help="of the part chaos")
    parser.add_argument("--gradio-python", help="an interpreter with gradio")
    parser.add_argument("--short", action="store_true", help="seconds instead of minutes; figures are rough")
    arguments = parser.parse_args()
    print("| what | measured | condition |\n|---|---|---|")
    for row in measured(arguments):
        print(row.line(), flush=True)


def measured(arguments: argparse.Namespace) -> Iterator[Measured]:
    parts, workspace = arguments.parts, arguments.checkout.resolve()
    seconds, requests = (3.0, 30) if arguments.short else (20.0, 200)
    for model in arguments.models:
        folder = workspace / "models" / model
        if "start" in parts:
            first_picture(workspace, model)  # fills the file cache
            yield from first_picture(workspace, model)
        if {"latency", "throughput", "overload"} & {*parts}:
            bare = bare_rate(folder, seconds / 4) if {"throughput", "overload"} & {*parts} else 0.0
            with served(workspace, [model]) as server:
                if "latency" in parts:
                    yield from from_change_to_picture(server, model, requests)
                capacity = bare
                if "throughput" in parts:
                    rows = throughput(server, model, seconds, bare)
                    capacity = rows[0].value
                    yield from rows
                if "overload" in parts:
                    # One image per request costs more than four: what one-image clients reach is the capacity.
                    yield from overloaded(server, model, seconds, capacity)
        if "gradio" in parts:
            if arguments.gradio_python is None:
                raise SystemExit("--parts gradio needs --gradio-python; see --help")
            yield from gradio_beside(arguments.gradio_python, folder, model, seconds)
    if "chaos" in parts:
        one, other = (workspace / "models" / name for name in arguments.chaos_models)
        yield from chaos((one, other), 2000 if arguments.short else arguments.requests, arguments.seed)


def bare_rate(folder: Path, seconds: float) -> float:
    """Images per second of the bare loop, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.serving_bare", str(folder), f"{seconds}"]
    answer = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return float(answer.stdout.split()[-1])


if __name__ == "__main__":
    main()
