"""Two classes arrive: a diffusion model is fine-tuned, against one that is trained from scratch on all ten.

    python -m benchmarks.adaptation --out FOLDER [--muon] [--turn 80] [--only NAME ...]

Fashion-MNIST at 16x16 (padded to 32x32, means of 2x2). `base` is trained without the sandals and the bags, `scratch` on
all ten classes; others continue a base. Each draws the same seeds and labels, and one classifier measures them all:
against the train images of all classes, and class by class. The intervals are of the differences from `scratch` (all
classes) and from the base (each old class) over 200 resamples of the drawn images, in pairs; a row with a seed is
compared with the scratch of that seed.

Each row's model, samples and figures stay in FOLDER: a second call does what is missing and prints the table. --turn:
end after so many seconds of training with status 3; the next call goes on.
"""

import argparse
import json
import sys
import time
from functools import cache
from pathlib import Path

import torch

from benchmarks.adaptation_judge import Judge, measure, print_table
from benchmarks.adaptation_rows import ROOT, ROWS, datasets, folder_of, make
from genai_core.training.loop import TrainingStoppedError

MORE_TO_DO = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="the folder of real data")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--turn", type=float, default=float("inf"), help="seconds of this call")
    parser.add_argument("--muon", action="store_true", help="train all with Muon instead of AdamW")
    parser.add_argument("--only", nargs="*", choices=ROWS, default=list(ROWS))
    parser.add_argument("--samples", type=int, default=3_000)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    ends = time.monotonic() + arguments.turn
    whole, old = datasets(arguments.out, arguments.data)
    judge = cache(lambda: Judge(arguments.out / "judge", whole))
    for name in arguments.only:
        folder = arguments.out / folder_of(name)
        if (folder / "figures.json").is_file():
            continue
        folder.mkdir(parents=True, exist_ok=True)
        try:
            make(name, folder, whole, old, arguments.muon, lambda: time.monotonic() > ends)
        except TrainingStoppedError as stopped:
            print(f"{name}: {stopped}", flush=True)
            sys.exit(MORE_TO_DO)
        if time.monotonic() > ends:
            sys.exit(MORE_TO_DO)
        figures = measure(folder, arguments.samples, judge())
        (folder / "figures.json").write_text(json.dumps(figures))
        print(f"{name}: FD {figures['fd']:.2f}", flush=True)
    print_table(arguments.out, judge().floor(arguments.samples))


if __name__ == "__main__":
    main()
