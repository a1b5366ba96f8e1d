"""Each model family and two peers, trained for the same seconds on the same cores and images, measured alike.

    OMP_WAIT_POLICY=passive python -m benchmarks.quality_race --out FOLDER [--seconds 300] [--samples 1000]
        [--families diffusion gan vae vqvae] [--peers denoising_diffusion_pytorch diffusers]

Fashion-MNIST, padded to 32x32. The extractor is this project's classifier, trained on the train images; every figure is
against the train split, and the test split serves as the floor alone. Each contestant's weights, samples (a grid too)
and figures stay in FOLDER: a second call does what is missing, and prints the table of all.

--clock cpu counts a second when the threads have computed for a second each: on a machine that others use too, wall
seconds would not be the same for all.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pydantic import TypeAdapter
from ruamel.yaml import YAML
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import AdamW

from benchmarks.fashion_mnist import fashion_mnist_split
from benchmarks.peers import DDIM_STEPS, Peer, denoising_diffusion_pytorch, diffusers
from genai_core.config import ModelConfig, TrainedExtractorConfig
from genai_core.data.dataset import SPLITS, Dataset, load_dataset
from genai_core.data.loader import ResidentBatches
from genai_core.data.writer import DatasetWriter
from genai_core.evaluation.extractor import load_extractor, save_extractor
from genai_core.evaluation.extractor_training import train_extractor
from genai_core.evaluation.features import Features, extract_features
from genai_core.evaluation.figures.frechet import frechet_distance
from genai_core.evaluation.figures.inception_score import label_agreement
from genai_core.evaluation.statistics import feature_stats, square_root
from genai_core.models.artifact import build_model
from genai_core.models.protocol import GenerativeModel, ImageShape, to_uint8, to_unit
from genai_core.reporting.grids import class_grid, save_png
from genai_core.sampling.sample import equal_labels, image_seeds, sample_images
from genai_core.training.ema import Ema, ema_decay
from genai_core.training.precision import fabric_precision
from genai_core.training.schedule import learning_rate_share

ROOT = Path(__file__).parents[1]
CPU = torch.device("cpu")
IMAGE_SIZE = 32
CLASSES = ("T-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot")
FAMILIES = ("diffusion", "gan", "vae", "vqvae")
PEERS = ("denoising_diffusion_pytorch", "diffusers")
PEER_BATCH_IMAGES = 32
# Both libraries' examples say 1e-4, for runs of days; within minutes that learns next to nothing.
PEER_LEARNING_RATE = 5e-4
EXTRACTOR = TrainedExtractorConfig(
    kind="classifier",
    width=32,
    feature_dim=64,
    total_images=120_000,
    batch_images=128,
    learning_rate=2e-3,
    decorrelation=0.05,
    seed=0,
)


@dataclass(frozen=True)
class Trained:
    """What a training came to."""

    images: int
    seconds: float


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
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--families", nargs="*", choices=FAMILIES, default=FAMILIES)
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=PEERS)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--recipes", type=Path, default=ROOT / "benchmarks" / "fashion_mnist.yaml")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    clock = Clock(arguments.clock, arguments.threads)
    dataset = prepared(arguments.out / "data", arguments.data)
    judge = Judge(arguments.out / "judge", dataset, arguments.samples)
    recipes = YAML(typ="safe").load(arguments.recipes)
    runs: dict[str, Callable[[], None]] = {}
    for family in arguments.families:
        runs[family] = lambda family=family: run_family(family, recipes[family], arguments, dataset, judge, clock)
    for peer in arguments.peers:
        runs[peer] = lambda peer=peer: run_peer(peer, arguments, dataset, judge, clock)
    for name, run in runs.items():
        if not (arguments.out / name / "figures.json").is_file():
            print(f"{name} ...", flush=True)
            run()
    print_table(arguments.out)


def prepared(folder: Path, data: Path) -> Dataset:
    """Fashion-MNIST padded to 32x32 as a dataset, the published separation kept."""
    if not (folder / "dataset.json").is_file():
        writer = DatasetWriter(folder, image_size=IMAGE_SIZE, channels=1, classes=CLASSES, shard_images=10_000)
        for split in SPLITS:
            images, labels = fashion_mnist_split(data, split)
            writer.add(split, np.pad(images[:, None], ((0, 0), (0, 0), (2, 2), (2, 2))), labels.astype(np.int64))
        writer.finish()
    return load_dataset(folder)


class Judge:
    """Measures images of any contestant with one extractor, which is trained when it is not there yet."""

    def __init__(self, folder: Path, dataset: Dataset, samples: int) -> None:
        if not (folder / "extractor" / "config.json").is_file():
            (folder / "extractor").mkdir(parents=True, exist_ok=True)
            extractor, description = train_extractor(EXTRACTOR, dataset, CPU, lambda *_: None)
            save_extractor(folder / "extractor", extractor, description)
        self.extractor, _ = load_extractor(folder / "extractor")
        if not (folder / "train.npy").is_file():
            np.save(folder / "train.npy", self._features(dataset.images("train")).features)
        self.train = feature_stats(np.load(folder / "train.npy"))
        self.root = square_root(self.train.covariance)
        # As many held-out images as a contestant draws: a distance of few is too large.
        chosen = np.random.default_rng(0).permutation(dataset.info.counts["test"])[:samples]
        self.floor = self._distance(self._features(dataset.images("test")[chosen]))

    def measure(self, images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64] | None) -> dict[str, float]:
        features = self._features(images)
        distance = self._distance(features)
        figures = {"fd_classifier": distance, "fd_classifier_over_floor": distance / self.floor}
        if labels is not None:
            figures["label_agreement"] = float(label_agreement(features.logits, labels).mean())
        return figures

    def _features(self, images: npt.NDArray[np.uint8]) -> Features:
        return extract_features(self.extractor, images, 250)

    def _distance(self, features: Features) -> float:
        return frechet_distance(self.train, self.root, feature_stats(features.features))


class Clock:
    """Seconds since the last start, of the wall or of the processor (by thread)."""

    def __init__(self, kind: str, threads: int) -> None:
        self._now = time.monotonic if kind == "wall" else lambda: time.process_time() / threads
        self._began = self._now()

    def start(self) -> None:
        self._began = self._now()

    def seconds(self) -> float:
        return self._now() - self._began


def run_family(
    family: str, values: dict[str, Any], arguments: argparse.Namespace, dataset: Dataset, judge: Judge, clock: Clock
) -> None:
    config: Any = TypeAdapter(ModelConfig).validate_python(values)
    folder = arguments.out / family
    torch.manual_seed(config.training.seed)
    model = build_model(config, ImageShape(IMAGE_SIZE, 1, CLASSES))
    batches = resident(dataset, config.training.batch_images)
    trained = train_for(folder, model, lambda: train_model(model, config, batches, arguments.seconds, clock))
    model.eval()
    labels = equal_labels(arguments.samples, len(CLASSES))
    clock.start()
    with EvaluationCounter(model.sampled_network()) as counter:
        images = sample_images(model, labels, image_seeds(arguments.samples, 10_000), config.sampling, 250)
    parameters = sum(parameter.numel() for parameter in model.sampled_network().parameters())
    evaluations = counter.images / arguments.samples
    assert labels is not None
    finish(folder, family, images, labels.numpy(), judge, trained, clock, parameters, round(evaluations), True)


def run_peer(name: str, arguments: argparse.Namespace, dataset: Dataset, judge: Judge, clock: Clock) -> None:
    torch.manual_seed(0)
    peer = (
        denoising_diffusion_pytorch(IMAGE_SIZE)
        if name == "denoising_diffusion_pytorch"
        else diffusers(IMAGE_SIZE, len(CLASSES))
    )
    folder = arguments.out / name
    batches = resident(dataset, PEER_BATCH_IMAGES)
    trained = train_for(folder, peer.network, lambda: train_peer(peer, batches, arguments.seconds, clock))
    peer.network.eval()
    labels = equal_labels(arguments.samples, len(CLASSES))
    assert labels is not None
    clock.start()
    parts = [peer.draw(part, seed) for seed, part in enumerate(labels.split(125))]
    images = to_uint8(torch.cat(parts)).numpy()
    parameters = sum(parameter.numel() for parameter in peer.network.parameters())
    finish(folder, name, images, labels.numpy(), judge, trained, clock, parameters, DDIM_STEPS, peer.conditional)


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


def train_model(model: GenerativeModel, config: Any, batches: ResidentBatches, seconds: float, clock: Clock) -> Trained:
    """The project's training (genai_core/training/loop.py), its schedule by time instead of by images."""
    training = config.training
    bf16 = fabric_precision(training.precision, CPU) == "bf16-mixed"
    optimizers = {
        phase: AdamW(
            model.phase_parameters(phase), betas=training.adam_betas, weight_decay=training.weight_decay, fused=True
        )
        for phase in model.phases
    }
    ema, generator = Ema(model.sampled_network()), torch.Generator().manual_seed(training.seed)
    model.train()
    step, spent, told = 0, 0.0, 0.0
    clock.start()
    while spent < seconds:
        batch, seen = batches.at(step), step * training.batch_images
        share = rate_share(spent / seconds, training.decay_share, (seen + len(batch.images)) / training.warmup_images)
        figures: dict[str, float] = {}
        for phase in model.phases_at(spent / seconds):
            model.requires_grad_(False)
            for parameter in model.phase_parameters(phase):
                parameter.requires_grad_(True)
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                loss = model.loss(phase, to_unit(batch.images), batch.labels, generator)
            figures |= {name: float(value) for name, value in loss.figures.items()}
            loss.value.backward()
            if training.gradient_clip_norm is not None:
                torch.nn.utils.clip_grad_norm_(model.phase_parameters(phase), training.gradient_clip_norm)
            for group in optimizers[phase].param_groups:
                group["lr"] = training.learning_rate * model.learning_rate_factor(phase) * share
            optimizers[phase].step()
            optimizers[phase].zero_grad(set_to_none=True)
        ema.update(ema_decay(training.batch_images, seen, training.ema_halflife_images))
        step, spent = step + 1, clock.seconds()
        if spent - told > 20:
            told = spent
            shown = ", ".join(f"{name} {value:.3g}" for name, value in figures.items())
            print(f"  {spent:.0f} s, {step * training.batch_images:,} images: {shown}", flush=True)
    ema.write_to_network()
    return Trained(step * training.batch_images, spent)


def train_peer(peer: Peer, batches: ResidentBatches, seconds: float, clock: Clock) -> Trained:
    """The usual loop, with our schedule: a short rise, and a linear fall over the second half."""
    optimizer = torch.optim.Adam(peer.network.parameters(), lr=PEER_LEARNING_RATE, betas=(0.9, 0.99))
    ema = Ema(peer.network)
    peer.network.train()
    step, spent, told = 0, 0.0, 0.0
    clock.start()
    while spent < seconds:
        batch = batches.at(step)
        assert batch.labels is not None
        loss = peer.loss(to_unit(batch.images), batch.labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(peer.network.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = PEER_LEARNING_RATE * rate_share(spent / seconds, 0.5, step / 30)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        ema.update(ema_decay(PEER_BATCH_IMAGES, step * PEER_BATCH_IMAGES, 4_000))
        step, spent = step + 1, clock.seconds()
        if spent - told > 20:
            told = spent
            print(f"  {spent:.0f} s, {step * PEER_BATCH_IMAGES:,} images: loss {float(loss.detach()):.3g}", flush=True)
    ema.write_to_network()
    return Trained(step * PEER_BATCH_IMAGES, spent)


def rate_share(share: float, decay_share: float, warmup: float) -> float:
    """The learning rate's share of its full value, when this share of the time is over."""
    fall = learning_rate_share(share, 0, warmup_images=0, decay_share=decay_share)
    return min(1.0, warmup, fall)


def resident(dataset: Dataset, batch_images: int) -> ResidentBatches:
    images, labels = dataset.images("train"), dataset.labels("train")
    return ResidentBatches(images, labels, batch_images=batch_images, seed=0, device=CPU)


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
    clock: Clock,
    parameters: int,
    evaluations: int,
    conditional: bool,
) -> None:
    """Measure the images, and write figures, samples and their grid."""
    seconds = clock.seconds()
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
    print("\n| contestant | parameters | s | images/s | evaluations an image | sampled/s | FD | FD/floor | agreement |")
    print("|---|---|---|---|---|---|---|---|---|")
    for row in sorted(rows, key=lambda row: row.fd):
        agreement = "" if row.label_agreement is None else f"{row.label_agreement:.3f}"
        print(
            f"| {row.name} | {row.parameters:,} | {row.seconds:.0f} | {row.images / row.seconds:.0f} "
            f"| {row.evaluations} | {row.sampling_per_second:.0f} | {row.fd:.2f} | {row.fd_over_floor:.1f} "
            f"| {agreement} |"
        )


if __name__ == "__main__":
    main()
