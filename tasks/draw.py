"""Generate a batch of any size from the candidate in this folder, for production and for measuring. Not a stage.

`python -m tasks.draw OUT [--images N] [--seed S]` creates OUT, which must not exist.
"""

import argparse
from pathlib import Path

from tasks.context import running
from tasks.generate import CANDIDATE, draw_batch


def main() -> None:
    parser = argparse.ArgumentParser(prog="tasks.draw", description=__doc__)
    parser.add_argument("out", type=Path, help="a folder that does not exist yet")
    parser.add_argument("--images", type=int, required=True, help="number of images")
    parser.add_argument("--seed", type=int, required=True, help="seed of the first image; the others count up from it")
    arguments = parser.parse_args()
    with running("draw") as context:
        if arguments.images < 1 or arguments.seed < 0:
            raise ValueError(f"expected at least one image and a seed from 0, got {arguments.images}, {arguments.seed}")
        if arguments.out.exists():
            raise ValueError(f"{arguments.out}: exists already; choose another folder")
        draw_batch(context, CANDIDATE, arguments.out, arguments.images, arguments.seed)


if __name__ == "__main__":
    main()
