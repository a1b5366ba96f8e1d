"""Checks before a run: what would fail in a later stage, and how long each stage will take here."""

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from flows.advising.measured import count, known_data, known_machine
from flows.data.add import DataError
from flows.data.status import manifest_counts
from flows.dvc_lock import BASE_FILE
from flows.graph import Graph, open_repo, read_graph
from flows.plan import Plan
from flows.resources import this_machine
from flows.workspace import RAW_DATA
from genai_core.advice.facts import DataFacts
from genai_core.advice.foreseen import Finding, foreseen
from genai_core.advice.schedule import Job, makespan
from genai_core.advice.times import RUN_START_S, stage_jobs
from genai_core.config import PARAMS_FILE, Config, ConfigError, load_config

_PREPARE, _PREPARED = "prepare", Path("data/prepared")
_COMMAND = "python -m tasks.prepare"  # the checks know this project's own stages
_COST = Path("metrics/cost")
# Parameters that change the time per image of every stage, so that the last one says nothing.
_SHAPE = ("data.image_size", "data.channels")
HOUR_S = 3600.0


def findings(workspace: Path, plan: Plan, graph: Graph) -> tuple[Finding, ...]:
    """Return what is known to go wrong in the stages that would run. Empty if nothing runs, or nothing is known."""
    run = {entry.stage for entry in plan.stages if entry.action == "run"}
    if not run or not _is_ours(graph):
        return ()
    data, config = _counts(workspace, plan), load_config(workspace / PARAMS_FILE)
    found = foreseen(config, data) if data else ()
    if config.finetune.start == "base" and (missing := missing_base(workspace)):
        found = (Finding(True, missing, "finetune"), *found)
    unfit = (unfit_teacher(workspace, config), unknown_images(workspace, config))
    found = (*(Finding(True, text, "finetune") for text in unfit if text), *found)
    return tuple(finding for finding in found if finding.stage is None or finding.stage in run)


def missing_base(workspace: Path) -> str | None:
    """Say what to do if finetune.start is base and there is none; None if there is one, or DVC can fetch it."""
    file = workspace / BASE_FILE
    if file.exists() or file.with_suffix("").exists():
        return None
    return (
        "finetune.start is base, but no base was brought in here; name the model to continue: genai base NAME. Or "
        "continue the best model of each run: genai base selected"
    )


def unfit_teacher(workspace: Path, config: Config) -> str | None:
    """Say what to do if a few-step model is to be made of a base that is no diffusion model; None if it is one.

    None also if the base is not in the workspace: then the stage says it.
    """
    if (config.finetune.kind, config.finetune.start) != ("few_step", "base"):
        return None
    try:
        config_json = (workspace / BASE_FILE).with_suffix("") / "config.json"
        family = json.loads(config_json.read_text())["family"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if family == "diffusion":
        return None
    return (
        f"finetune.kind is few_step, which is for diffusion models only, and the base is a {family} model; bring in "
        "another one (genai base NAME), or set finetune.kind to full or lora"
    )


def unknown_images(workspace: Path, config: Config) -> str | None:
    """Say what to do if only images new to the base are asked for, and which it was trained on is unknown; else None.

    None also if the base is not in the workspace: then the stage says it.
    """
    finetune, base = config.finetune, (workspace / BASE_FILE).with_suffix("")
    if finetune.start != "base" or finetune.images == "all":
        return None
    if not (base / "config.json").is_file() or (base / "seen.npy").is_file():
        return None
    return (
        f"finetune.images is {finetune.images}, and nothing says which images the base was trained on; set it to all, "
        "or bring in a version whose data is known: genai base prod"
    )


def check(workspace: Path, plan: Plan, graph: Graph) -> tuple[str, ...]:
    """Return warnings. Raises ConfigError with one line per fault if a stage of the plan would fail."""
    found = findings(workspace, plan, graph)
    faults = [finding.text for finding in found if finding.is_fatal]
    if faults:
        raise ConfigError("\n".join(faults))
    return tuple(finding.text for finding in found)


def graph_of(workspace: Path) -> Graph:
    with open_repo(workspace) as repo:
        return read_graph(repo)


def estimates(workspace: Path, plan: Plan, graph: Graph) -> dict[str, float]:
    """Return the seconds that each stage to run will take here, as far as that is known.

    From the stage's last run, scaled to the images that it processes now; else from the calibration of `genai init`.
    """
    if not _is_ours(graph):
        return {}
    config = load_config(workspace / PARAMS_FILE)
    machine, data = known_machine(workspace), known_data(workspace)
    calibrated = stage_jobs(config, data, machine) if machine and data else {}
    changed = {reason.split()[1] for entry in plan.stages for reason in entry.reasons if reason.startswith(PARAMS_FILE)}
    found = {}
    for entry in plan.stages:
        if entry.action != "run" or entry.is_source:
            continue
        name = entry.stage.partition("@")[2]
        others = (*_SHAPE, f"models.{name}.network", "extractor.width" if entry.stage == "extractor" else _SHAPE[0])
        is_other = any(key.startswith(others) for key in changed)
        seconds = None if is_other else _as_last_time(workspace, entry.stage, config)
        if seconds is None and entry.stage in calibrated:
            seconds = calibrated[entry.stage].seconds
        if seconds is not None:
            found[entry.stage] = seconds
    return found


def total_seconds(seconds: Mapping[str, float], graph: Graph, accelerator: str) -> float:
    """Return the time of a run of these stages, which run side by side as far as the machine allows."""
    machine = this_machine(accelerator)
    jobs = {
        stage.name: Job(seconds[stage.name], stage.upstream, stage.needs.cores, stage.needs.gpus)
        for stage in graph.stages
        if stage.name in seconds
    }
    return RUN_START_S + makespan(jobs, machine.cores, len(machine.gpus)) if jobs else 0.0


def _is_ours(graph: Graph) -> bool:
    return any(stage.name == _PREPARE and stage.command == _COMMAND for stage in graph.stages)


def _counts(workspace: Path, plan: Plan) -> DataFacts | None:
    """Return counts of the images that the run uses; None if they are not known without work."""
    prepare = next((entry for entry in plan.stages if entry.stage == _PREPARE), None)
    if prepare is not None and prepare.action == "keep":
        return _prepared_counts(workspace)
    source = next((entry for entry in plan.stages if entry.is_source), None)
    if source is not None and source.action == "keep" and (known := known_data(workspace)) is not None:
        return known
    if not (workspace / RAW_DATA).is_dir():
        return None
    with suppress(DataError):  # what is wrong with data/raw, prepare says within seconds
        return count(workspace)
    return None


def _prepared_counts(workspace: Path) -> DataFacts | None:
    try:
        info = json.loads((workspace / _PREPARED / "dataset.json").read_text())
        rows = manifest_counts(workspace / _PREPARED / "manifest.parquet")
    except (OSError, ValueError):
        return None
    classes = dict.fromkeys(info["classes"], 0)
    for (_, _, label), number in rows.items():
        if label >= 0:
            classes[info["classes"][label]] += number
    return DataFacts(count=sum(info["counts"].values()), classes=classes, given=info["counts"])


def _as_last_time(workspace: Path, stage: str, config: Config) -> float | None:
    """Return the seconds of the stage's last run, with the images that it would process now."""
    try:
        cost = json.loads((workspace / _COST / f"{stage}.json").read_text())
        seconds, rate = float(cost["seconds"]), float(cost.get("images_per_second", 0.0))
    except (OSError, ValueError, KeyError):
        return None
    now = _images(stage, config)
    if now is None or not rate or "images" not in cost:
        return seconds
    return max(0.0, seconds - float(cost["images"]) / rate) + now / rate


def _images(stage: str, config: Config) -> int | None:
    """Return the images that a training stage processes."""
    kind, _, name = stage.partition("@")
    if kind == "train" and name in config.models:
        return config.models[name].training.total_images
    return config.finetune.total_images if kind == "finetune" else None


def shown_estimate(seconds: float) -> str:
    """Return a duration as a person says it: 8 s, 12 min, 3.5 h."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 2 * HOUR_S else f"{seconds / HOUR_S:.1f} h"


def estimate_lines(workspace: Path, seconds: Mapping[str, float], graph: Graph) -> list[str]:
    """Return a line with the time of the run, and a warning if it is long for a processor."""
    if not seconds:
        return []
    accelerator: Any = load_config(workspace / PARAMS_FILE).compute.accelerator
    total = total_seconds(seconds, graph, accelerator)
    lines = [f"about {shown_estimate(total)} on this machine"]
    if total > HOUR_S and not this_machine(accelerator).gpus:
        lines.append(
            "that is long for a processor: `genai init --minutes N` proposes settings that fit; a GPU is faster"
        )
    return lines
