"""What `genai init` found and chose, as lines and as JSON."""

from dataclasses import asdict
from typing import Any

from flows.table import print_table
from genai_core.advice.facts import DataFacts, MachineFacts, to_json
from genai_core.advice.propose import Advice
from genai_core.config.section import as_written
from genai_core.counted import counted

_SHOWN_CLASSES = 12


def found_lines(data: DataFacts, machine: MachineFacts) -> list[str]:
    """Return what was found, one line for the data, one for the machine."""
    parts = [counted(data.count, "image")]
    sizes = f"{data.file_size} pixels"
    parts.append(sizes if data.same_size else f"about {sizes}, of different sizes")
    parts.append("in colour" if data.colour_share > 0.5 else f"{data.colour_share:.0%} of them in colour")
    if data.transparent_share:
        parts.append(f"{data.transparent_share:.0%} with transparent parts")
    parts.append(_classes(data))
    if data.captions:
        parts.append(f"{data.captions:,} with captions")
    if data.given:
        parts.append("split by the source: " + ", ".join(f"{split} {count:,}" for split, count in data.given.items()))
    if data.unreadable:
        parts.append(f"{data.unreadable:,} of the {data.sampled:,} looked at cannot be decoded")
    if data.duplicate_share > 0.01:
        parts.append(f"about {data.duplicate_share:.0%} duplicates")
    hardware = f"{counted(machine.cores, 'core')}, {machine.memory_gb:g} GB"
    hardware += f", {machine.gpus} x {machine.gpu} ({machine.gpu_memory_gb:g} GB)" if machine.gpus else ", no GPU"
    return [f"data: {', '.join(parts)}", f"machine: {hardware}"]


def unreadable_lines(data: DataFacts, max_rejected_share: float) -> list[str]:
    """Return which images of the sample cannot be decoded, and what a run does with them; none if all can."""
    if not data.unreadable:
        return []
    names = ", ".join(f"{name} ({reason})" for name, reason in data.unreadable_files)
    more = data.unreadable - len(data.unreadable_files)
    in_all = round(data.count * data.unreadable_share)
    about = f", about {in_all:,} of all {data.count:,}" if data.sampled < data.count else ""
    return [
        f"cannot be decoded: {names}" + (f" and {more:,} more" if more > 0 else "") + about,
        "    prepare rejects such files and lists all of them in data/prepared/rejected.csv; if they are more than "
        f"data.max_rejected_share ({max_rejected_share:g}) of the files, it stops",
    ]


def chosen_lines(advice: Advice) -> list[str]:
    """Return what the proposal amounts to."""
    lines = [f"time: about {_minutes(advice.seconds)} of {advice.minutes:g} minutes"]
    if advice.seconds > 60 * advice.minutes:
        lines[0] = (
            f"time: about {_minutes(advice.seconds)}, more than the {advice.minutes:g} minutes: the least that a run "
            "of these images takes on this machine, with hardly any training"
        )
    return [*lines, f"expect: {advice.expectation}", f"with more time: {advice.tenfold}"]


def show(data: DataFacts, machine: MachineFacts, advice: Advice) -> None:
    """Print what was found and chosen; only settings with a reason are listed."""
    share = advice.values["data"]["max_rejected_share"]
    print("\n".join([*found_lines(data, machine), *unreadable_lines(data, share)]))
    print()
    print_table([(item.key, _short(item.value), item.reason) for item in advice.settings if item.reason])
    print()
    print("\n".join(chosen_lines(advice)))


def as_json(data: DataFacts, machine: MachineFacts, advice: Advice, written: str | None) -> dict[str, Any]:
    """Return what `genai init --json` prints."""
    return {
        "data": to_json(data),
        "machine": to_json(machine),
        "minutes": advice.minutes,
        "seconds": round(advice.seconds),
        "stages": {name: round(seconds, 1) for name, seconds in advice.stages.items()},
        "settings": [asdict(setting) for setting in advice.settings],
        "expectation": advice.expectation,
        "more_time": advice.tenfold,
        "written": written,
    }


def _classes(data: DataFacts) -> str:
    if not data.classes:
        return "no classes"
    counts = sorted(data.classes.values())
    spread = f"{counts[0]:,} to {counts[-1]:,} images each" if counts[0] != counts[-1] else f"{counts[0]:,} images each"
    names = list(data.classes)
    listed = ", ".join(names[:_SHOWN_CLASSES]) + (", ..." if len(names) > _SHOWN_CLASSES else "")
    return f"{counted(len(names), 'class')} of {spread} ({listed})"


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def _short(value: Any) -> str:
    if isinstance(value, dict):  # search.space: ranges by dotted names
        return ", ".join(str(key).rpartition(".")[2] for key in value)
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if value is None or isinstance(value, bool):
        return as_written(value)
    return f"{value:,}" if isinstance(value, int) else str(value)
