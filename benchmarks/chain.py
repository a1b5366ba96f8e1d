"""Stages of a toy pipeline that follow each other and do nothing, and the time between them."""

import json
import statistics
from collections.abc import Callable
from pathlib import Path

from ruamel.yaml import YAML

from benchmarks.scale_out_machines import toy_workspace
from tests.flows.toy_home import shell


def chain_workspace(folder: Path, length: int) -> Path:
    """A workspace with so many stages besides `prepare`, each of which reads what the one before has made."""
    return _chains(folder, [_names(length)])


def branches_workspace(folder: Path, branches: int, length: int, size_bytes: int) -> Path:
    """A workspace with so many chains that begin at `prepare`. Each stage reads and makes more than `size_bytes`."""
    workspace = _chains(folder, [[f"branch{branch}{name}" for name in _names(length)] for branch in range(branches)])
    (workspace / "data/raw/large.txt").write_text("x" * size_bytes)
    shell(workspace, "dvc add -q data/raw && git add -A && git commit -q -m large")
    return workspace


def _chains(folder: Path, chains: list[list[str]]) -> Path:
    workspace = toy_workspace(folder, [name for names in chains for name in names])
    yaml, path = YAML(), workspace / "dvc.yaml"
    pipeline = yaml.load(path)
    train = pipeline["stages"]["train"]
    train["foreach"] = {
        name: {"before": source}
        for names in chains
        for name, source in zip(names, ["out/prepared", *(f"out/train/{name}" for name in names)], strict=False)
    }
    train["do"]["cmd"] = "python work.py ${item.before} --out out/train/${key}"
    train["do"]["deps"] = ["${item.before}", "work.py"]
    del pipeline["stages"]["select"]
    yaml.dump(pipeline, path)
    return workspace


def gaps(diary: Path, length: int) -> list[float]:
    """Seconds from the end of each stage's command to the begin of the next one's, in the last run."""
    entries = [
        [json.loads(line) for line in (diary / f"train@{name}").read_text().splitlines()] for name in _names(length)
    ]
    begins = [max(entry["at"] for entry in lines if entry["what"] == "start") for lines in entries]
    ends = [max(entry["at"] for entry in lines if entry["what"] == "end") for lines in entries]
    return [begin - end for begin, end in zip(begins[1:], ends[:-1], strict=True)]


def measure_chain(run: Callable[[str], float], executor: str, diary: Path, length: int, repeats: int) -> None:
    """Print the overhead per stage of an executor. run: changes the first stage, runs all, and returns the seconds.

    The first runs are not counted: workers make their clones. In each run, the first stages may meet a worker's process
    that has loaded nothing yet, so the overhead of one with a warm process is that of the median.
    """
    seconds: dict[str, list[float]] = {"local": [], executor: []}
    between: dict[str, list[float]] = {"local": [], executor: []}
    for number in range(repeats + 1):
        for who in ("local", executor):
            took = run(who)
            if number > 0:
                seconds[who].append(took)
                between[who] += gaps(diary, length)
    alone, there = (statistics.median(between[who]) for who in ("local", executor))
    print(f"a chain of {length + 1} stages that do nothing, s: one machine {shown(seconds['local'])}; ", end="")
    print(f"{executor} {shown(seconds[executor])}")
    print(f"  between two stages, s: one machine {alone:.2f}; {executor} {there:.2f} ({shown(between[executor])})")
    print(f"  overhead per stage with warm workers: {there - alone:.2f} s", flush=True)
    beyond = [(t - a) / (length + 1) for a, t in zip(seconds["local"], seconds[executor], strict=True)]
    print(f"  overhead per stage with begin and end of the run: {shown(beyond)} s", flush=True)


def shown(seconds: list[float]) -> str:
    return ", ".join(f"{value:.1f}" for value in seconds)


def _names(length: int) -> list[str]:
    return [f"step{number}" for number in range(length)]
