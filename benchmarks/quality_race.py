"""Each model family and two peers, trained for the same seconds on the same cores and images, measured alike.

    OMP_WAIT_POLICY=passive python -m benchmarks.quality_race --out FOLDER [--seconds 300] [--samples 1000]
        [--families diffusion gan vae vqvae] [--peers denoising_diffusion_pytorch diffusers] [--processes 2] [--turn 90]
        [--device cuda --recipes benchmarks/fashion_mnist_gpu.yaml --peer-batch 128]

Fashion-MNIST, padded to 32x32. The extractor is this project's classifier, trained on the train images; every figure is
against the train split, and the test split serves as the floor alone. Each contestant's weights, samples (a grid too)
and figures stay in FOLDER: a second call does what is missing, and prints the table of all.

--turn: every call trains each contestant for so many seconds more and ends. In calls by turns a machine that is quicker
at times than at others is the same for all of them.
"""

import argparse
import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pydantic import TypeAdapter
from ruamel.yaml import YAML
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from benchmarks.fashion_mnist import CLASSES, fashion_mnist_dataset
from benchmarks.peers import BATCH_IMAGES, DDIM_STEPS, Trained, denoising_diffusion_pytorch, diffusers, train_peer
from benchmarks.race_judge import Judge
from genai_core.config import ModelConfig, TrainingConfig
from genai_core.data.dataset.dataset import Dataset
from genai_core.data.dataset.loader import ResidentBatches
from genai_core.image_size import ImageSize
from genai_core.models.artifact import build_model
from genai_core.models.protocol import GenerativeModel, ImageShape, to_uint8
from genai_core.progress import Progress
from genai_core.reporting.grids import class_grid, save_png
from genai_core.sampling.sample import equal_labels, image_seeds, sample_images
from genai_core.training.checkpoint import Checkpoints
from genai_core.training.loop import Hardware, TrainingStoppedError, train

ROOT = Path(__file__).parents[1]
IMAGE_SIZE = 32
FAMILIES = ("diffusion", "gan", "vae", "vqvae")
PEERS = ("denoising_diffusion_pytorch", "diffusers")
NO_LIMIT = 10**9  # images: the seconds end a training


class Turn:
    """The seconds for which a contestant may train in this call, from its first step on; None: to its end."""

    def __init__(self, seconds: float | None) -> None:
        self._seconds = math.inf if seconds is None else seconds
        self._ends: float | None = None

    def is_over(self) -> bool:
        if self._ends is None:
            self._ends = time.monotonic() + self._seconds
        return time.monotonic() >= self._ends


@dataclass(frozen=True)
class Contestant:
    """A row of the table."""

    name: str
    parameters: int  # of what draws
    seconds: float
    images: int
    evaluations: int  # of the network, for one image
    samples: int
    fd: float
    fd_over_floor: float
    label_agreement: float | None  # None: it knows no classes
    sampling_per_second: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="the folder of real data")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--processes", type=int, default=1, help="that train a family and share the threads")
    parser.add_argument("--turn", type=float, help="seconds that a contestant trains in this call; the next goes on")
    parser.add_argument("--families", nargs="*", choices=FAMILIES, default=FAMILIES)
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=PEERS)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--peer-batch", type=int, default=BATCH_IMAGES, help="images a step of the peers")
    parser.add_argument("--recipes", type=Path, default=ROOT / "benchmarks" / "fashion_mnist.yaml")
    arguments = parser.parse_args()
    if arguments.processes > 1 and (len(arguments.families) != 1 or arguments.peers):
        parser.error("--processes: give one family and no peers, `--families NAME --peers`")
    torch.set_num_threads(max(1, arguments.threads // arguments.processes))
    dataset = fashion_mnist_dataset(arguments.out / "data", arguments.data, IMAGE_SIZE)
    judge = cache(lambda: Judge(arguments.out / "judge", dataset, arguments.samples, arguments.device))
    recipes = YAML(typ="safe").load(arguments.recipes)
    runs: dict[str, Callable[[], None]] = {}
    for family in arguments.families:
        runs[family] = lambda family=family: run_family(family, recipes[family], arguments, dataset, judge)
    for peer in arguments.peers:
        runs[peer] = lambda peer=peer: run_peer(peer, arguments, dataset, judge)
    for name, run in runs.items():
        if not (arguments.out / name / "figures.json").is_file():
            print(f"{name} ...", flush=True)
            try:
                run()
            except TrainingStoppedError as stopped:
                print(f"{name}: {stopped}", flush=True)
    print_table(arguments.out)


def run_family(
    family: str, values: dict[str, Any], arguments: argparse.Namespace, dataset: Dataset, judge: Callable[[], Judge]
) -> None:
    config: Any = TypeAdapter(ModelConfig).validate_python(values)
    folder = arguments.out / family
    torch.manual_seed(config.training.seed)
    model = build_model(config, ImageShape(ImageSize.square(IMAGE_SIZE), 1, CLASSES)).to(arguments.device)
    batches = resident(dataset, config.training.batch_images, arguments.device)
    trained = train_for(
        folder,
        model,
        lambda: train_model(
            model,
            config.training,
            batches,
            arguments.seconds,
            folder,
            Hardware(arguments.device, devices=arguments.processes),
            Turn(arguments.turn),
        ),
    )
    torch.set_num_threads(arguments.threads)
    model.eval()
    labels = equal_labels(arguments.samples, len(CLASSES))
    began = time.monotonic()
    with EvaluationCounter(model.sampled_network()) as counter:
        images = sample_images(model, labels, image_seeds(arguments.samples, 10_000), config.sampling, 250)
    seconds = time.monotonic() - began
    parameters = sum(parameter.numel() for parameter in model.sampled_network().parameters())
    evaluations = counter.images / arguments.samples
    assert labels is not None
    finish(
        folder,
        family,
        images,
        labels.numpy(),
        judge(),
        trained,
        seconds,
        parameters,
        round(evaluations),
        True,
    )


def run_peer(name: str, arguments: argparse.Namespace, dataset: Dataset, judge: Callable[[], Judge]) -> None:
    torch.manual_seed(0)
    peer = (
        denoising_diffusion_pytorch(IMAGE_SIZE, arguments.device)
        if name == "denoising_diffusion_pytorch"
        else diffusers(IMAGE_SIZE, len(CLASSES), arguments.device)
    )
    folder = arguments.out / name
    batches = resident(dataset, arguments.peer_batch, arguments.device)
    checkpoints = Checkpoints(folder / "checkpoints", name, {"seconds": arguments.seconds})
    is_over = Turn(arguments.turn).is_over
    trained = train_for(
        folder,
        peer.network,
        lambda: train_peer(peer, batches, arguments.peer_batch, arguments.seconds, checkpoints, is_over),
    )
    peer.network.eval()
    labels = equal_labels(arguments.samples, len(CLASSES))
    assert labels is not None
    began = time.monotonic()
    at_once = 1000 if arguments.device.type == "cuda" else 125
    parts = [peer.draw(part, seed).cpu() for seed, part in enumerate(labels.split(at_once))]
    images = to_uint8(torch.cat(parts)).numpy()
    seconds = time.monotonic() - began
    parameters = sum(parameter.numel() for parameter in peer.network.parameters())
    finish(
        folder,
        name,
        images,
        labels.numpy(),
        judge(),
        trained,
        seconds,
        parameters,
        DDIM_STEPS,
        peer.conditional,
    )


def train_for(folder: Path, network: nn.Module, train: Callable[[], Trained]) -> Trained:
    """Train `network`, or take the weights that an earlier call left."""
    folder.mkdir(parents=True, exist_ok=True)
    weights, facts = folder / "weights.safetensors", folder / "trained.json"
    if facts.is_file():
        network.load_state_dict(load_file(weights))
        return Trained(**json.loads(facts.read_text()))
    trained = train()
    save_file({name: tensor.contiguous().clone() for name, tensor in network.state_dict().items()}, weights)
    facts.write_text(json.dumps(asdict(trained)))
    return trained


def train_model(
    model: GenerativeModel,
    training: TrainingConfig,
    batches: ResidentBatches,
    seconds: float,
    folder: Path,
    hardware: Hardware,
    turn: Turn,
) -> Trained:
    """The project's own training, with a budget of seconds; killed, the next call goes on from its checkpoint.

    Of several processes, which the training starts, all but the first end here. Raises TrainingStoppedError when the
    turn is over.
    """
    budget = training.model_copy(update={"total_images": NO_LIMIT, "max_seconds": seconds})
    checkpoints = Checkpoints(folder / "checkpoints", model.family, {"seconds": seconds})
    is_first = os.environ.get("LOCAL_RANK", "0") == "0"
    try:
        result = train(
            model,
            batches,
            budget,
            hardware=hardware,
            checkpoints=checkpoints,
            checkpoint_every_s=60.0,
            progress=Progress(folder / "progress.json") if is_first else Progress(silent=True),
            stop_requested=turn.is_over,
        )
    except TrainingStoppedError:
        if is_first:
            raise
    if not is_first:
        raise SystemExit
    return Trained(result.images, result.seconds)


def resident(dataset: Dataset, batch_images: int, device: torch.device) -> ResidentBatches:
    images, labels = dataset.images("train"), dataset.labels("train")
    return ResidentBatches(images, labels, batch_images=batch_images, seed=0, device=device)


class EvaluationCounter:
    """Counts for how many images the network that draws is run, without its parts."""

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        self.images = 0

    def __enter__(self) -> "EvaluationCounter":
        self._hook = self._network.register_forward_hook(self._count)
        return self

    def _count(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:  # noqa: ARG002
        self.images += len(inputs[0])

    def __exit__(self, *_: object) -> None:
        self._hook.remove()


def finish(
    folder: Path,
    name: str,
    images: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.int64],
    judge: Judge,
    trained: Trained,
    seconds: float,
    parameters: int,
    evaluations: int,
    conditional: bool,
) -> None:
    """Measure the images, drawn in so many seconds, and write figures, samples and their grid."""
    np.save(folder / "samples.npy", images)
    save_png(folder / "samples.png", class_grid(images, labels if conditional else None, CLASSES))
    figures = judge.measure(images, labels if conditional else None)
    row = Contestant(
        name=name,
        parameters=parameters,
        seconds=round(trained.seconds, 1),
        images=trained.images,
        evaluations=evaluations,
        samples=len(images),
        fd=figures["fd_classifier"],
        fd_over_floor=figures["fd_classifier_over_floor"],
        label_agreement=figures.get("label_agreement"),
        sampling_per_second=round(len(images) / seconds, 1),
    )
    (folder / "figures.json").write_text(json.dumps(asdict(row), indent=2) + "\n")


def print_table(out: Path) -> None:
    rows = [Contestant(**json.loads(path.read_text())) for path in sorted(out.glob("*/figures.json"))]
    better_peer = min((row.fd for row in rows if row.name in PEERS), default=None)
    print(
        "\n| contestant | parameters | s | images/s | evaluations an image | sampled/s | FD | FD/floor "
        "| FD/better peer's | agreement |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for row in sorted(rows, key=lambda row: row.fd):
        agreement = "" if row.label_agreement is None else f"{row.label_agreement:.3f}"
        over_peer = "" if better_peer is None else f"{row.fd / better_peer:.2f}"
        print(
            f"| {row.name} | {row.parameters:,} | {row.seconds:.0f} | {row.images / row.seconds:.0f} "
            f"| {row.evaluations} | {row.sampling_per_second:.0f} | {row.fd:.2f} | {row.fd_over_floor:.1f} "
            f"| {over_peer} | {agreement} |"
        )


if __name__ == "__main__":
    main()
