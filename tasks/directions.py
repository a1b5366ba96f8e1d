"""Find directions in a model's noise. Not a stage: `genai serve` starts it when somebody asks for them.

`python -m tasks.directions MODEL --out FOLDER [--device auto|cpu|cuda|cuda:N]` writes FOLDER
(genai_core/exploring/directions_folder.py), as a whole or not at all.
"""

import argparse
import os
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from genai_core.exploring.directions import find_directions
from genai_core.exploring.directions_folder import save_directions
from genai_core.exploring.quick_draw import quick_draw
from tasks.own_models import load_own


def main() -> None:
    parser = argparse.ArgumentParser(prog="tasks.directions", description=__doc__)
    parser.add_argument("model", type=Path, help="the model's folder")
    parser.add_argument("--out", type=Path, required=True, help="a folder that does not exist yet")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    arguments = parser.parse_args()
    # The pictures that somebody waits for come first: half of the cores are left to them.
    os.nice(5)
    torch.set_num_threads(max(1, torch.get_num_threads() // 2))
    write_directions(arguments.model, arguments.out, arguments.device)


def write_directions(folder: Path, out: Path, device: str) -> None:
    """Find the directions of the model in a folder and write them to a new folder; none if its noise does nothing."""
    model = load_own(folder, device)
    found = find_directions(quick_draw(model), model.network.noise_shape, model.classes)
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".new-", dir=out.parent) as place:
        new = Path(place) / out.name
        save_directions(new, found)
        with suppress(OSError):  # another process finished first: the same model gives the same directions
            os.rename(new, out)
    print(f"directions: found {len(found)} of {folder.name}")


if __name__ == "__main__":
    main()
