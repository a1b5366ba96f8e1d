"""The stages of a toy pipeline. An image is a file CLASS/NAME.txt; a model's distance is 1 and the share of bad images.

`python -m tasks.stage STAGE`. DIARY names a file that gets a line for each start. TOY says how long a stage takes, in
seconds or until a file is there.
"""

import hashlib
import json
import os
import shutil
import sys
import time
from pathlib import Path

import yaml

MOST_WAIT_S = 120.0


def main() -> None:
    stage = sys.argv[1]
    with Path(os.environ["DIARY"]).open("a") as diary:
        diary.write(f"{stage}\n")
    wait(json.loads(os.environ.get("TOY", "{}")).get(stage, 0.0))
    name = stage.partition("@")[0]
    {"prepare": prepare, "train": lambda: learn(Path("models/trained") / stage.partition("@")[2], "train")}.get(
        name, globals().get(name, prepare)
    )()
    Path("metrics/cost").mkdir(parents=True, exist_ok=True)
    if name in ("prepare", "train", "finetune"):
        cost = {"seconds": 36.0, **({} if name == "prepare" else {"device_hours": 0.5 if name == "train" else 0.125})}
        Path(f"metrics/cost/{stage}.json").write_text(json.dumps(cost))


def wait(how_long: float | str) -> None:
    if isinstance(how_long, float):
        time.sleep(how_long)
        return
    deadline = time.monotonic() + MOST_WAIT_S
    while not Path(how_long).exists():
        if time.monotonic() > deadline:
            sys.exit(f"{how_long} did not come")
        time.sleep(0.05)


def prepare() -> None:
    params = yaml.safe_load(Path("params.yaml").read_text())["data"]
    images = {str(p.relative_to("data/raw")): p.read_text() for p in sorted(Path("data/raw").rglob("*.txt"))}
    train = [name for number, name in enumerate(sorted(images)) if number % 5]
    info = {
        "fingerprint": hashlib.sha256(json.dumps(images).encode()).hexdigest(),
        "image_size": params["image_size"],
        "channels": params["channels"],
        "classes": sorted({name.partition("/")[0] for name in images}),
        "counts": {"train": len(train), "test": len(images) - len(train)},
    }
    write("data/prepared", {"dataset.json": info, "images.json": images})
    write("models/extractor", {"config.json": {}})


def learn(folder: Path, how: str) -> None:
    images = json.loads(Path("data/prepared/images.json").read_text())
    distance = 1.0 + sum(text.startswith("bad") for text in images.values()) / len(images)
    dataset = json.loads(Path("data/prepared/dataset.json").read_text())["fingerprint"]
    weights = json.dumps([how, distance, dataset])
    skipped = sum(text.startswith("skipped") for text in images.values())
    config = {
        "family": "diffusion",
        "dataset": dataset,
        "training_summary": {"images that it was not trained on": skipped} if skipped else {},
        "sha256": {"model.safetensors": hashlib.sha256(weights.encode()).hexdigest()},
    }
    write(folder, {"config.json": config})
    (Path(folder) / "model.safetensors").write_text(weights)


def select() -> None:
    shutil.copytree("models/trained/gan", "models/selected")


def finetune() -> None:
    start = yaml.safe_load(Path("params.yaml").read_text())["finetune"]["start"]
    learn(Path("models/finetuned"), f"finetune from {start}")
    protocol = {"extractor": "classifier", "extractor_test_accuracy": 0.9}
    Path("metrics").mkdir(exist_ok=True)
    Path("metrics/finetuned.json").write_text(json.dumps({"protocol": protocol}))


def candidate() -> None:
    shutil.copytree("models/finetuned", "models/candidate")
    _, distance, _ = json.loads(Path("models/candidate/model.safetensors").read_text())
    chosen = {"family": "gan", "metric": "fd", "figures": {"fd": distance}, "reason": f"fd is {distance:g}"}
    Path("models/candidate/selection.json").write_text(json.dumps(chosen))


def generate() -> None:
    write("samples/batch", {"batch.json": Path("models/candidate/model.safetensors").read_text()})


def report() -> None:
    write("reports", {"report.html": "a report"})


def write(folder: str | Path, files: dict[str, object]) -> None:
    Path(folder).mkdir(parents=True)
    for name, value in files.items():
        (Path(folder) / name).write_text(json.dumps(value))


if __name__ == "__main__":
    main()
