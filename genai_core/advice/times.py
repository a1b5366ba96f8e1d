"""How long each stage of the pipeline takes on a machine whose speeds are known, and the run as a whole."""

from genai_core.advice.facts import DataFacts, MachineFacts
from genai_core.advice.networks import EXTRACTOR, Candidate, speed_of
from genai_core.advice.schedule import Job, makespan
from genai_core.config import Config
from genai_core.config.extractor import TrainedExtractorConfig
from genai_core.config.models import ModelConfig

# What a run and each of its stages cost beside the stage's own work, on two idle cores, where a stage that loads torch
# starts in 2.7 s. A busy or slow machine takes longer for all of them, and so it does for that start.
RUN_START_S = 7.0
STAGE_OVERHEAD_S = 0.5
LIGHT_START_S = 0.5  # of a stage that does not load torch
REPORT_S = 3.0
_IDLE_START_S = 2.7
COPY_S = 1.5e-6  # per pixel of an augmented copy
FIGURES_S, FIGURES_PER_IMAGE_S = 2.5, 1.5e-3  # intervals of all figures; they grow with the measured images
# A training draws six grids of ten previews, a diffusion model with about twice the network calls of its own sampling.
PREVIEW_IMAGES = 120


def stage_jobs(config: Config, data: DataFacts, machine: MachineFacts) -> dict[str, Job]:
    """Return each stage of a full run with its estimated seconds, its upstream and its share of the machine."""
    cores, gpus = config.compute.cpu_threads, min(1, machine.gpus)
    train, test = data.split(config.data.test_share)
    slow = _slowness(machine)
    start, light = machine.start_s + STAGE_OVERHEAD_S * slow, (LIGHT_START_S + STAGE_OVERHEAD_S) * slow
    copies = train * (config.augment.expand - 1)
    pixels = config.data.image_size.pixels * config.data.channels
    disturbances = 1 + len(config.robustness.noise) + len(config.robustness.blur_px) + len(config.robustness.jpeg_loss)
    features = _features_per_s(config, machine)

    def evaluated(model: ModelConfig, count: int) -> float:
        disturbed = disturbances * min(config.robustness.images, count)
        drawn = count / _speed(model, config, machine)[1] + (count + disturbed) / features
        return start + drawn + (FIGURES_S + FIGURES_PER_IMAGE_S * count) * slow

    def trained(model: ModelConfig, images: int) -> float:
        per_s, drawn_per_s = _speed(model, config, machine)
        return start + images / per_s + PREVIEW_IMAGES / drawn_per_s

    jobs = {
        "prepare": Job(light + data.count * data.decode_s / cores, (), cores),
        "augment": Job((start if copies else light) + copies * pixels * COPY_S * slow, ("prepare",), cores),
        "extractor": Job(start + _extractor_s(config, machine), ("prepare",), cores, gpus),
    }
    real = train + test + disturbances * min(config.robustness.images, test)
    figures = (FIGURES_S / 2 + FIGURES_PER_IMAGE_S * test) * slow
    jobs["reference"] = Job(start + real / features + figures, ("extractor",), cores, gpus)
    for name, model in config.models.items():
        jobs[f"train@{name}"] = Job(trained(model, model.training.total_images), ("augment",), cores, gpus)
        upstream = (f"train@{name}", "reference")
        jobs[f"evaluate@{name}"] = Job(evaluated(model, config.evaluation.total_images), upstream, cores, gpus)
    # Which model is selected is not known: the slowest.
    slowest = min(config.models.values(), key=lambda model: _speed(model, config, machine)[1])
    jobs["select"] = Job(light, tuple(f"evaluate@{name}" for name in config.models))
    pairs = config.finetune.few_step.pairs if config.finetune.kind == "few_step" else 0  # which the teacher draws first
    finetuned = trained(slowest, config.finetune.total_images) + pairs / _speed(slowest, config, machine)[1]
    jobs["finetune"] = Job(finetuned, ("select",), cores, gpus)
    measured = evaluated(slowest, config.evaluation.total_images)
    jobs["evaluate-finetuned"] = Job(measured, ("finetune",), cores, gpus)
    jobs["candidate"] = Job(light, ("evaluate-finetuned",))
    generated = start + config.generate.total_images / _speed(slowest, config, machine)[1]
    jobs["generate"] = Job(generated, ("candidate",), cores, gpus)
    jobs["report"] = Job((REPORT_S + STAGE_OVERHEAD_S) * slow, ("generate",))
    return jobs


def run_seconds(jobs: dict[str, Job], machine: MachineFacts) -> float:
    """Return the seconds of a run of these stages, from the command to the report."""
    return RUN_START_S * _slowness(machine) + makespan(jobs, machine.cores, machine.gpus)


def _slowness(machine: MachineFacts) -> float:
    return max(1.0, machine.start_s / _IDLE_START_S)


def _speed(model: ModelConfig, config: Config, machine: MachineFacts) -> tuple[float, float]:
    """Return training images and generated images per second."""
    network = model.network
    candidate = Candidate(model.family, network.width, network.depth, 0)
    speed = speed_of(candidate, config.data.image_size, config.data.channels, machine)
    return speed.images_per_s, speed.samples_per_s


def _extractor_s(config: Config, machine: MachineFacts) -> float:
    extractor = config.extractor
    if not isinstance(extractor, TrainedExtractorConfig):
        return 2.0
    speed = speed_of(Candidate(EXTRACTOR, extractor.width, 1, 0), config.data.image_size, config.data.channels, machine)
    return extractor.total_images / speed.images_per_s


def _features_per_s(config: Config, machine: MachineFacts) -> float:
    extractor = config.extractor
    if not isinstance(extractor, TrainedExtractorConfig):
        return 1_000.0 if machine.gpus else 25.0  # Inception resizes to 299 x 299
    candidate = Candidate(EXTRACTOR, extractor.width, 1, 0)
    return speed_of(candidate, config.data.image_size, config.data.channels, machine).samples_per_s
