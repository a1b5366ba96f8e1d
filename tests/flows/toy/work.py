"""What every stage of a toy workspace runs: reads its inputs and parameters, waits, writes its outputs at the end.

    python work.py INPUT ... --out OUTPUT ...

The environment variable TOY tells a stage how to behave, by JSON: {"train@gan": {"seconds": 3}}. Keys: seconds; exit (a
status); failures (exit only so many times); child (leave one sleeping beside it); saves (seconds that it takes to end
when interrupted); until (work until this file is there: for what has to happen meanwhile, however slow the machine).
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import yaml

STAGE = os.environ["DVC_STAGE"]
BEHAVIOUR = json.loads(os.environ.get("TOY", "{}")).get(STAGE, {})
# One line for a start and one for an end; no output of the stage. Not in the folder where it works, which may be gone.
DIARY = Path(os.environ.get("TOY_DIARY", ".genai/toy")) / STAGE

MOST_WAIT_S = 240.0


def main() -> None:
    arguments = sys.argv[1:]
    split = arguments.index("--out")
    inputs, outputs = map(Path, arguments[:split]), [Path(path) for path in arguments[split + 1 :]]
    note("start", devices=os.environ.get("CUDA_VISIBLE_DEVICES"))
    if BEHAVIOUR.get("child"):
        subprocess.Popen(["sleep", "600"])
    work(BEHAVIOUR.get("seconds", 0.0))
    fail_if_told()
    text = "".join(f"{path.name}: {path.read_text()}\n" for folder in inputs for path in files_of(folder))
    for path in outputs:
        write(path, f"{STAGE} {parameters()}\n{text}")
    model = STAGE.partition("@")[2] or STAGE
    if model != "select":
        write(Path("metrics") / f"{model}.json", json.dumps({"characters": len(text)}))
    note("end")


def work(seconds: float) -> None:
    print(f"{STAGE} begins\n> {STAGE} quotes somebody", flush=True)
    steps = max(1, round(seconds * 10))
    for step in range(steps):
        time.sleep(seconds / steps)
        state = {"phase": "work", "unit": "steps", "done": step + 1, "total": steps, "per_second": 10.0}
        write(
            Path(f".genai/progress/{STAGE}.json"), json.dumps({**state, "seconds_left": 1.0, "figures": {"loss": 0.5}})
        )
    if "until" in BEHAVIOUR:
        wait_for(Path(BEHAVIOUR["until"]))
    print(f"{STAGE} did {steps} steps", flush=True)


def wait_for(file: Path) -> None:
    deadline = time.monotonic() + MOST_WAIT_S
    while not file.exists():
        if time.monotonic() > deadline:
            sys.exit(f"{STAGE}: {file} did not come")
        time.sleep(0.05)


def fail_if_told() -> None:
    status = BEHAVIOUR.get("exit", 0)
    starts = DIARY.read_text().count("start")
    if status and starts <= BEHAVIOUR.get("failures", sys.maxsize):
        print(f"{STAGE}: the reason is clear", file=sys.stderr)
        sys.exit(status)


def parameters() -> str:
    """The parameters that pipeline.yaml names for this stage."""
    params = yaml.safe_load(Path("params.yaml").read_text())
    name, _, model = STAGE.partition("@")
    own = {"prepare": params["data"], "select": params["selection"]}
    return json.dumps(own[name] if not model else params["models"][model]["training"])


def files_of(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    return sorted(file for file in path.rglob("*") if file.is_file() and file.name != ".gitignore")


def write(path: Path, text: str) -> None:
    """Whole or not at all."""
    new = Path(".genai/toy") / f"new-{os.getpid()}"
    new.parent.mkdir(parents=True, exist_ok=True)
    new.write_text(text)
    path.parent.mkdir(parents=True, exist_ok=True)
    os.replace(new, path)


def note(what: str, **more: object) -> None:
    DIARY.parent.mkdir(parents=True, exist_ok=True)
    with DIARY.open("a") as file:
        file.write(json.dumps({"what": what, "at": time.time(), "pid": os.getpid(), **more}) + "\n")


try:
    main()
except KeyboardInterrupt:
    time.sleep(BEHAVIOUR.get("saves", 0.0))
    sys.exit(130)
