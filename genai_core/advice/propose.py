"""The proposal: a whole params.yaml for these images, this machine and these minutes, with reasons."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from genai_core.advice.expectation import expected_quality
from genai_core.advice.facts import AdviceError, DataFacts, MachineFacts
from genai_core.advice.networks import EXTRACTOR, Candidate, network_for, speed_of
from genai_core.advice.recipes import Recipe, model_settings
from genai_core.advice.settings import Setting, round_number, with_settings
from genai_core.advice.shape import augmentation, channels_of, data_settings, held_out_share, size_for
from genai_core.advice.times import run_seconds, stage_jobs
from genai_core.config import Config
from genai_core.image_size import ImageSize

LEAST_IMAGES = 20
MOST_UNREADABLE = 0.5  # share of the sample
LEAST_FINETUNING, LEAST_EXTRACTOR = 250, 4_000  # training images
# Families by what they are worth in little time (benchmarks/README.md, Quality at equal time). A GAN needs longest,
# and may collapse, so it comes in only where others are trained beside it. In less time, one model with all cores is
# worth more than two that share them: of 10 minutes on two cores it sees five times the images, because two threads
# train batches of 32 at 1.9 times the speed of one thread, and nothing waits for another model's figures.
FAMILIES = ("diffusion", "vqvae", "vae", "gan")
SECOND_AFTER_MINUTES, THIRD_AFTER_MINUTES, ALL_AFTER_MINUTES = 15.0, 30.0, 60.0
MOST_THREADS = 8  # of one stage: small networks do not get faster with more
AIM = 0.92  # share of the minutes that the estimate may take
TENFOLD = 10.0


@dataclass(frozen=True)
class Advice:
    """A proposal. values: a complete params.yaml. networks: by model. stages: estimated seconds of each."""

    minutes: float
    values: dict[str, Any]
    settings: tuple[Setting, ...]
    networks: dict[str, Candidate]
    stages: dict[str, float]
    seconds: float  # of the whole run, estimated
    expectation: str
    tenfold: str = ""

    @property
    def models(self) -> tuple[str, ...]:
        return tuple(self.networks)


def propose(base: Mapping[str, Any], data: DataFacts, machine: MachineFacts, minutes: float) -> Advice:
    """Propose settings. base: the values of a complete params.yaml. Raises AdviceError if no run is possible."""
    check_enough(data)
    advice = _proposal(base, data, machine, minutes)
    return replace(advice, tenfold=_difference(advice, _proposal(base, data, machine, TENFOLD * minutes)))


def check_enough(data: DataFacts) -> None:
    """Raise AdviceError if the images are too few for a run, or most of them cannot be decoded."""
    if data.unreadable_share >= MOST_UNREADABLE:
        raise AdviceError(
            f"{data.unreadable:,} of the {data.sampled:,} images looked at cannot be decoded{data.first_unreadable}; "
            "take them out (genai data remove), or mend the source and add it again"
        )
    if data.usable < LEAST_IMAGES:
        unreadable = f", and {data.unreadable:,} that cannot be decoded" if data.unreadable else ""
        raise AdviceError(
            f"data/raw has {data.usable:,} usable images{unreadable}; at least {LEAST_IMAGES} different ones are "
            "needed, some to train on and some to test with. Add more: genai data add SOURCE"
        )


def threads(machine: MachineFacts, minutes: float) -> int:
    """Return the threads of a stage: the cores are shared by as many models as are trained side by side."""
    side_by_side = 1 if machine.gpus else len(_families(machine, minutes))
    return max(1, min(MOST_THREADS, machine.cores // side_by_side))


def _families(machine: MachineFacts, minutes: float) -> tuple[str, ...]:
    count = 1 + sum(minutes >= after for after in (SECOND_AFTER_MINUTES, THIRD_AFTER_MINUTES, ALL_AFTER_MINUTES))
    # Without a GPU, more models than cores would take turns; with one, they do.
    return FAMILIES[: count if machine.gpus else min(count, max(1, machine.cores))]


def _proposal(base: Mapping[str, Any], data: DataFacts, machine: MachineFacts, minutes: float) -> Advice:
    families, channels = _families(machine, minutes), channels_of(data)
    affordable_s, tried = 60 * minutes * 0.8, set[tuple[Candidate | ImageSize, ...]]()
    while True:
        size = size_for(data, channels, affordable_s, machine)
        networks = {name: network_for(name, size, channels, affordable_s, machine) for name in families}
        training_s = _training_seconds(base, data, machine, minutes, size, networks)
        if (size, *networks.values()) in tried:
            break
        # The time that is left beside all other stages depends on the shape. It only goes down here, so this ends.
        tried.add((size, *networks.values()))
        affordable_s = min(affordable_s, training_s)
    settings = tuple(_settings(data, machine, minutes, size, networks, training_s))
    values = with_settings(base, settings, families)
    jobs = stage_jobs(Config.model_validate(values), data, machine)
    images = values["models"]["diffusion"]["training"]["total_images"]
    expectation = expected_quality(size, images, networks["diffusion"], data, held_out_share(data))
    stages = {name: job.seconds for name, job in jobs.items()}
    return Advice(minutes, values, settings, networks, stages, run_seconds(jobs, machine), expectation)


def _training_seconds(
    base: Mapping[str, Any],
    data: DataFacts,
    machine: MachineFacts,
    minutes: float,
    size: ImageSize,
    networks: Mapping[str, Candidate],
) -> float:
    """Return the seconds of training for each model with which the whole run takes its share of the minutes."""
    low, high = 1.0, 60 * minutes
    while high - low > 0.5 + 0.005 * low:
        middle = (low + high) / 2
        values = with_settings(base, _settings(data, machine, minutes, size, networks, middle), networks)
        seconds = run_seconds(stage_jobs(Config.model_validate(values), data, machine), machine)
        low, high = (middle, high) if seconds <= AIM * 60 * minutes else (low, middle)
    return low


def _settings(
    data: DataFacts,
    machine: MachineFacts,
    minutes: float,
    size: ImageSize,
    networks: Mapping[str, Candidate],
    seconds: float,
) -> Iterator[Setting]:
    """Yield all settings, with this many seconds of training for each model."""
    channels, (train, test) = channels_of(data), data.split(held_out_share(data))
    yield from data_settings(data, size, minutes)
    yield from augmentation(data)
    yield from _extractor(data, machine, size, minutes, train, test)
    totals = {}
    for name, network in networks.items():
        rate = speed_of(network, size, channels, machine).images_per_s
        totals[name] = max(1_000, round_number(rate * seconds))
        recipe = Recipe(network, size, totals[name], data, bool(machine.gpus), threads(machine, minutes))
        for setting in model_settings(recipe, minutes):
            yield Setting(f"models.{name}.{setting.key}", setting.value, setting.reason)
    slowest = min(speed_of(network, size, channels, machine).samples_per_s for network in networks.values())
    yield from _evaluation(data, minutes, slowest, test)
    finetuned = max(LEAST_FINETUNING, round_number(min(totals.values()) * 0.06))
    why = "about a sixteenth of the training" if finetuned > LEAST_FINETUNING else "the least that changes anything"
    yield Setting("finetune.total_images", finetuned, why)
    yield Setting("finetune.warmup_images", round_number(finetuned / 8))
    yield Setting("finetune.ema_halflife_images", round_number(max(128, finetuned / 4)))
    yield Setting("generate.batch_images", 100)
    yield Setting("generate.total_images", 100 if minutes < 60 else 400)
    yield Setting("report.title", f"{' and '.join(data.sources) or 'Images'}: generative models, measured")
    yield Setting("report.grid_images", 64)
    each = f"{len(networks)} models are trained side by side" if len(networks) > 1 else "one model is trained"
    yield Setting("compute.cpu_threads", threads(machine, minutes), f"{machine.cores} cores, {each}")
    if machine.gpus:
        compiles = minutes >= 30
        yield Setting("compute.compile_on_gpu", compiles, "takes a minute at the start" if compiles else "")


def _extractor(
    data: DataFacts, machine: MachineFacts, size: ImageSize, minutes: float, train: int, test: int
) -> Iterator[Setting]:
    few = _most_have_few(data)
    kind = "self_supervised" if few else "auto"
    yield Setting(
        "extractor.kind",
        kind,
        "most classes have too few images to learn" if few else f"{_labels(data)}: {_taken(data)}",
    )
    yield Setting("selection.metric", f"fd_{kind}", "" if few else "the kind that is taken stands for auto")
    width = 64 if machine.gpus and minutes >= 10 else 32
    speed = speed_of(Candidate(EXTRACTOR, width, 1, 0), size, channels_of(data), machine)
    images = min(0.08 * 60 * minutes * speed.images_per_s, max(10_000, 100 * train), 2_000_000)
    yield Setting("extractor.width", width)
    why = "at most a twelfth of the time" if images > LEAST_EXTRACTOR else "fewer would leave its features to chance"
    yield Setting("extractor.total_images", round_number(max(LEAST_EXTRACTOR, images)), why)
    dim = max((dim for dim in (16, 32, 64, 128, 256) if 3 * dim <= test), default=16)
    yield Setting("extractor.feature_dim", dim, f"fewer than the {test:,} test images: else the floor is mostly bias")


def _evaluation(data: DataFacts, minutes: float, samples_per_s: float, test: int) -> Iterator[Setting]:
    affordable = 0.045 * 60 * minutes * samples_per_s
    total = int(min(10_000, max(200, affordable), max(500, 2 * data.usable)))
    yield Setting("evaluation.total_images", round_number(total), "drawn for the figures: a twentieth of the time")
    yield Setting("evaluation.batch_images", 100)
    yield Setting("evaluation.is_splits", max(1, min(10, total // 50)))
    near = max(1, min(5, test - 2))
    yield Setting("evaluation.density_neighbours", near)
    yield Setting("evaluation.precision_neighbours", min(3, near))
    yield Setting("robustness.images", max(50, min(500, int(total / 4))))


def _most_have_few(data: DataFacts) -> bool:
    """Whether a classifier could learn next to nothing: half of the classes have fewer than five images."""
    counts = sorted(data.classes.values())
    return len(counts) > 1 and counts[len(counts) // 2] < 5


def _labels(data: DataFacts) -> str:
    return f"{len(data.classes):,} classes" if data.classes else "no classes"


def _taken(data: DataFacts) -> str:
    return "a classifier" if len(data.classes) > 1 else "features that need no labels"


def _difference(now: Advice, later: Advice) -> str:
    """Say what ten times the minutes would change."""
    size, larger = (ImageSize.from_json(advice.values["data"]["image_size"]) for advice in (now, later))
    width, wider = now.networks["diffusion"].width, later.networks["diffusion"].width
    images = [advice.values["models"]["diffusion"]["training"]["total_images"] for advice in (now, later)]
    parts = [f"{larger} pixels instead of {size}"] if larger.pixels > size.pixels else []
    if wider > width:
        parts.append("a larger network")
    if images[1] > 1.5 * images[0]:
        parts.append(f"{images[1] / images[0]:.0f} times the training images")
    if more := [name for name in later.models if name not in now.models]:
        parts.append(f"also {' and '.join(more)}")
    return f"{later.minutes:g} minutes: {', '.join(parts) or 'more of the same'}"
