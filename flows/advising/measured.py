"""Facts about the data and the machine, which tasks.look and tasks.calibrate measure. Kept in .genai/look."""

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from statistics import harmonic_mean
from typing import Any

from flows.data.add import DataError, run_task, tracked_data
from flows.dvc_lock import RAW_FILE
from flows.process import Processes, run_module
from flows.resources import this_machine
from flows.scratch import scratch_folder
from flows.whole_file import write_json
from flows.workspace import RAW_DATA
from genai_core.advice.facts import DataFacts, MachineFacts, Speed, from_json, to_json
from genai_core.advice.propose import threads
from genai_core.config import ConfigError
from genai_core.config.machine import usable_cores
from genai_core.image_size import ImageSize

FOLDER = Path(".genai/look")
DATA, MACHINE = FOLDER / "data.json", FOLDER / "machine.json"


def look(workspace: Path) -> DataFacts:
    """Look at data/raw, or return what was seen of this version of it. Raises ConfigError or DataError."""
    if not (workspace / RAW_FILE).is_file():
        raise ConfigError(f"{RAW_DATA}: there is no data yet; add some: genai data add PATH, or builtin:digits")
    if not (workspace / RAW_DATA).is_dir():
        raise ConfigError(f"{RAW_DATA} is not in the workspace; DVC's cache may have it: dvc checkout {RAW_FILE}")
    if (known := known_data(workspace)) is not None:
        return known
    facts = _looked(workspace, [])
    write_json(workspace / DATA, {"version": tracked_data(workspace).md5, "facts": to_json(facts)})
    return facts


def known_data(workspace: Path) -> DataFacts | None:
    """Return what was seen of the version of the data that data/raw.dvc records; None if it was not looked at."""
    try:
        values = json.loads((workspace / DATA).read_text())
        return from_json(DataFacts, values["facts"]) if values["version"] == tracked_data(workspace).md5 else None
    except (OSError, ValueError, KeyError):
        return None


def count(workspace: Path) -> DataFacts:
    """Count the images of data/raw by their names. Pixels are not read, so it takes about a second."""
    return _looked(workspace, ["--counts"])


def calibrate(workspace: Path, data: DataFacts, base: Mapping[str, Any], minutes: float) -> MachineFacts:
    """Measure this machine's speeds for a run of these minutes; takes about half a minute at most.

    base: the values of a complete params.yaml. Raises DataError with the output of a failed measurement.
    """
    has_gpu = bool(this_machine("auto").gpus)
    plain = MachineFacts(cores=usable_cores(), gpus=int(has_gpu))
    side_by_side = 1 if has_gpu else max(1, plain.cores // threads(plain, minutes))
    processes = Processes()
    with scratch_folder(workspace, "look") as folder:
        write_json(folder / "data.json", to_json(data))
        write_json(folder / "base.json", base)

        def measured(number: int) -> MachineFacts:
            out, output = folder / f"machine-{number}.json", list[str]()
            command = ["tasks.calibrate", str(folder / "data.json"), str(folder / "base.json"), str(out)]
            command.append(f"--minutes={minutes}")
            if run_module(command, folder=workspace, on_line=output.append, processes=processes) != 0:
                raise DataError("\n".join(["the speed of this machine could not be measured:", *output]))
            return from_json(MachineFacts, json.loads(out.read_text()))

        try:
            with ThreadPoolExecutor(side_by_side) as pool:
                found = list(pool.map(measured, range(side_by_side)))
        except BaseException:
            processes.stop()
            raise
    machine = replace(found[0], speeds=merged([facts.speeds for facts in found]))
    write_json(workspace / MACHINE, to_json(machine))
    return machine


def known_machine(workspace: Path) -> MachineFacts | None:
    """Return what the last calibration here found."""
    try:
        return from_json(MachineFacts, json.loads((workspace / MACHINE).read_text()))
    except (OSError, ValueError):
        return None


def merged(measured: list[tuple[Speed, ...]]) -> tuple[Speed, ...]:
    """Return each network's mean speed over processes that measured it at the same time."""
    by_network: dict[tuple[str, int, int, ImageSize, int], list[Speed]] = {}
    for speeds in measured:
        for speed in speeds:
            key = (speed.family, speed.width, speed.depth, speed.image_size, speed.channels)
            by_network.setdefault(key, []).append(speed)
    return tuple(
        replace(
            speeds[0],
            images_per_s=harmonic_mean([speed.images_per_s for speed in speeds]),
            samples_per_s=harmonic_mean([speed.samples_per_s for speed in speeds]),
        )
        for speeds in by_network.values()
    )


def _looked(workspace: Path, options: list[str]) -> DataFacts:
    with scratch_folder(workspace, "look") as folder:
        run_task(workspace, "tasks.look", str(folder / "data.json"), *options)
        return from_json(DataFacts, json.loads((folder / "data.json").read_text()))
