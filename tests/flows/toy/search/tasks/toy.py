"""Stages of a toy search: a GAN's distance is how far its learning rate is from 0.001, in powers of ten.

`python -m tasks.toy STAGE`. DIARY names a file that gets a line for each start. A learning rate above 0.05 fails.
TOY_WAITS_FOR may name a file; a training waits for it at each rung.
"""

import json
import math
import os
import sys
import time
from pathlib import Path

import yaml


def main() -> None:
    stage = sys.argv[1]
    with Path(os.environ["DIARY"]).open("a") as diary:
        diary.write(f"{stage}\n")
    params = yaml.safe_load(Path("params.yaml").read_text())
    name, _, model = stage.partition("@")
    values = params["models"].get(model, {})
    if name == "train":
        train(stage, values, Path("models/trained") / model)
    elif name == "evaluate":
        evaluate(model, values, params["evaluation"]["seed"])
    else:
        write(Path("data") / {"prepare": "prepared"}.get(name, name) / "made.json", {})


def train(stage: str, values: dict, folder: Path) -> None:
    rate = values["training"]["learning_rate"]
    if rate > 0.05:
        sys.exit(f"the loss is not finite with a learning rate of {rate:g}")
    distance = 1.0 + abs(math.log10(rate) + 3.0) + values["network"]["width"] / 1000
    rungs = json.loads(os.environ.get("GENAI_RUNGS") or '{"shares": []}')
    reported = []
    for share in rungs["shares"]:
        reported.append({"share": share, "images": 100, "distance": distance / 10})
        state = {"phase": "train", "unit": "images", "done": round(1000 * share), "total": 1000, "figures": {}}
        state |= {"per_second": 1.0, "seconds_left": None, "rungs": reported}
        write(Path(f".genai/progress/{stage}.json"), state)
        wait()
    write(folder / "model.json", {"distance": distance})
    write(Path(f"metrics/cost/{stage}.json"), {"seconds": 1.0})


def wait() -> None:
    name = os.environ.get("TOY_WAITS_FOR")
    deadline = time.monotonic() + 60.0
    while name and not Path(name).exists() and time.monotonic() < deadline:
        time.sleep(0.02)


def evaluate(model: str, values: dict, seed: int) -> None:
    distance = json.loads((Path("models/trained") / model / "model.json").read_text())["distance"]
    shift = abs(values["sampling"]["truncation"] - 0.8) + (0.25 if seed == 50_000 else 0.0)
    speed = 100.0 / values["network"]["width"]
    figures = {"fd_classifier": distance + shift, "fd_classifier_test": distance + shift + 1.0}
    write(Path("metrics/trained") / f"{model}.json", figures)
    write(Path("metrics/cost") / f"evaluate@{model}.json", {"seconds": 1.0, "images_per_second": speed})
    folder = Path("plots/evaluated/trained") / model
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "samples.png").write_bytes(PIXEL)


def write(path: Path, values: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values))


PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b550000000a49444154789c6360000000020001"
    "48afa4710000000049454e44ae426082"
)

if __name__ == "__main__":
    main()
