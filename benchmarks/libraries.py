"""What this project's own code costs beside the libraries named in docs/architecture.md, "Own code and libraries".

    python -m benchmarks.libraries [--images 60000] [--objects 100000] [--rounds 9]

Both do the same work in turns, in one run, and the answers are compared. Medians of `rounds`. Seconds are the
processor's (user and system), of the process or of the one that was started: other work on the machine counts least in
them. Where a remote's answers are waited for, they are the wall's clock, and the requests are counted too.
"""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.libraries_data import compare_data
from benchmarks.libraries_flows import compare_flows
from benchmarks.libraries_remote import compare_remote
from benchmarks.libraries_runs import HEAD, Comparison, line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=60_000, help="hashes, names, tar members, files of a folder, too")
    parser.add_argument("--objects", type=int, default=100_000, help="that the remote has")
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    print(HEAD)
    for row in comparisons(arguments.images, arguments.objects, arguments.rounds):
        print(line(row), flush=True)


def comparisons(images: int, objects: int, rounds: int) -> Iterator[Comparison]:
    with tempfile.TemporaryDirectory() as folder:
        yield from compare_data(Path(folder), images, rounds)
    yield from compare_flows(images, rounds)
    yield from compare_remote(objects, rounds)


if __name__ == "__main__":
    main()
