"""Speed and steadiness of `genai serve`, on a workspace in which `make demo` has run.

    python -m benchmarks.serving --checkout PATH [--models trained/gan untrained/diffusion] [--short]
    python -m benchmarks.serving --checkout PATH --parts chaos --requests 10000
    python -m benchmarks.serving --checkout PATH --parts gradio --gradio-python VENV/bin/python

`untrained/gan` and `untrained/diffusion` are made here: 32x32 pixels, with the recipes of fashion_mnist.yaml. The load
comes from locust (benchmarks/peers.lock). Gradio is in no lock, because no release of it fits requirements.lock. An
environment with it, beside the project's packages: `python -m venv VENV`, a .pth file in its site-packages that names
the project's site-packages, and `VENV/bin/pip install "gradio>=6,<7"`.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.serving_chaos import chaos
from benchmarks.serving_load import (
    Measured,
    capacity,
    first_picture,
    from_change_to_picture,
    overloaded,
    single_images,
    throughput,
)
from benchmarks.serving_models import untrained
from benchmarks.serving_peer import gradio_beside
from benchmarks.serving_server import ROOT, served

PARTS = ("start", "latency", "throughput", "overload", "gradio", "chaos")
UNTRAINED = "untrained/"
# Of a request of the part overload: clients can send twice what a GAN can draw.
OVERLOAD_IMAGES = 16


@dataclass(frozen=True)
class Subject:
    """A model to serve: as `genai serve` finds it, as clients know it, and where its files are."""

    argument: str
    name: str
    folder: Path


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
    if "gradio" in arguments.parts and arguments.gradio_python is None:
        parser.error("--parts gradio needs --gradio-python; see --help")
    print("| what | measured | condition |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for row in measured(arguments, Path(folder)):
            print(row.line(), flush=True)


def measured(arguments: argparse.Namespace, made: Path) -> Iterator[Measured]:
    """made: a folder for the untrained models."""
    parts, workspace = {*arguments.parts}, arguments.checkout.resolve()
    seconds, requests = (3.0, 30) if arguments.short else (20.0, 200)
    for name in arguments.models:
        subject = subject_of(name, workspace, made)
        if "start" in parts:
            first_picture(workspace, subject.argument, subject.name)  # fills the file cache
            yield from first_picture(workspace, subject.argument, subject.name)
        if parts & {"latency", "throughput", "overload", "gradio"}:
            yield from of_a_server(workspace, subject, parts, seconds, requests)
        if "gradio" in parts:
            yield from gradio_beside(arguments.gradio_python, subject.folder, name, seconds)
    if "chaos" in parts:
        one, other = (workspace / "models" / name for name in arguments.chaos_models)
        yield from chaos((one, other), 2000 if arguments.short else arguments.requests, arguments.seed)


def of_a_server(
    workspace: Path, subject: Subject, parts: set[str], seconds: float, requests: int
) -> Iterator[Measured]:
    """The parts that need one running server."""
    bare = bare_rate(subject.folder, seconds / 4) if "throughput" in parts else 0.0
    with served(workspace, [subject.argument]) as server:
        if "latency" in parts:
            yield from from_change_to_picture(server, subject.name, requests)
        if "throughput" in parts:
            yield from throughput(server, subject.name, seconds, bare)
        if "overload" in parts:
            most = capacity(server, subject.name, OVERLOAD_IMAGES, seconds / 2)
            yield from overloaded(server, subject.name, seconds, OVERLOAD_IMAGES, most)
        if "gradio" in parts:
            yield from single_images(server, subject.name, requests, seconds)


def subject_of(name: str, workspace: Path, made: Path) -> Subject:
    """The model of a name: one of the workspace, or an untrained one, which is made."""
    if not name.startswith(UNTRAINED):
        return Subject(name, name, workspace / "models" / name)
    folder = untrained(made, name.removeprefix(UNTRAINED))
    return Subject(str(folder), folder.name, folder)


def bare_rate(folder: Path, seconds: float) -> float:
    """Images per second of the bare loop, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.serving_bare", str(folder), f"{seconds}"]
    answer = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return float(answer.stdout.split()[-1])


if __name__ == "__main__":
    main()
