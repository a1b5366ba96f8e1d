"""Hold models and compute what the server asks for. Not a stage: `genai serve` starts it, one process per device.

`python -m tasks.serve [--device auto|cpu|cuda|cuda:N] [--threads N]` reads requests from standard input and writes
replies to standard output, as frames (genai_core/serving/frames.py). It ends when its standard input does.
"""

import argparse
import os
import sys

from tasks.serving.channel import Channel


def main() -> None:
    parser = argparse.ArgumentParser(prog="tasks.serve", description=__doc__)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--threads", type=int, help="threads of computations on a processor; default: one per core")
    arguments = parser.parse_args()
    channel = Channel.of_standard_streams()
    # Only now: whatever the imports print no longer reaches the server's end of the pipe.
    from tasks.serving.worker import use_device, work

    try:
        device = use_device(arguments.device, arguments.threads)
    except ValueError as error:
        sys.exit(f"tasks.serve: {error}")
    work(channel, device)
    # Nothing is left to save, and to unload torch would take a second.
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
