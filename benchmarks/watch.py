"""What `genai watch --once` costs with nothing new: 60,000 images in data/raw, and a watched folder of as many.

    python -m benchmarks.watch [--images 60000] [--runs 5]

Makes both in a temporary folder, of small files: how many there are is what counts. Bounds: 3 s, nothing fetched.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from flows.registry.promotion import promote
from flows.watching.arrivals import arrivals
from flows.watching.news import remember_added
from tests.flows.model_home import git_remote, make, new_home

ROOT = Path(__file__).parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=60_000)
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        home, folder = new_home(Path(scratch) / "home"), Path(scratch) / "incoming"
        picture = Path(scratch) / "one.png"
        Image.fromarray(np.zeros((28, 28), np.uint8)).save(picture)
        fill(folder, arguments.images, picture.read_bytes())
        fill(home / "data/raw/many", arguments.images, picture.read_bytes())
        subprocess.run(["dvc", "add", "-q", "data/raw"], cwd=home, check=True)
        make(home, 3.0)
        git_remote(home)
        promote(home, lambda _workspace, _commit: None)
        shutil.copy(ROOT / "params.yaml", home)
        found = arrivals(home, str(folder), 0.0)
        assert found is not None
        remember_added(home, str(folder), found.folder.stamp)
        for name, more in (("git and its remote", []), ("and a watched folder", ["--source", str(folder)])):
            seconds = [once(home, more) for _ in range(arguments.runs)]
            print(
                json.dumps(
                    {"watch": name, "images": arguments.images, "median_s": round(statistics.median(seconds), 2)}
                )
            )


def fill(folder: Path, images: int, content: bytes) -> None:
    for index in range(images):
        path = folder / str(index % 10) / f"{index:06d}.png"
        if index < 10:
            path.parent.mkdir(parents=True)
        path.write_bytes(content + index.to_bytes(4))


def once(home: Path, more: list[str]) -> float:
    began = time.monotonic()
    command = [sys.executable, "-m", "flows.cli", "--workspace", str(home), "watch", "--once", *more]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - began
    assert (answer.returncode, "nothing new" in answer.stdout) == (0, True), answer.stdout + answer.stderr
    return seconds


if __name__ == "__main__":
    main()
