"""Take a user's images into data/raw: `python -m tasks.ingest SOURCE --into data/raw [--as NAME]`.

No stage of dvc.yaml: it is what `genai data add` runs before DVC tracks data/raw.
"""

import argparse
import signal
import sys
from pathlib import Path

from genai_core.config import NEEDS_A_PERSON
from genai_core.data.ingest import Added, add_source


def main() -> None:
    parser = argparse.ArgumentParser(prog="tasks.ingest", description=__doc__)
    parser.add_argument("source", help="builtin:digits, a folder of images, or a zip or tar archive of one")
    parser.add_argument("--into", type=Path, required=True, help="the raw data's folder, for example data/raw")
    parser.add_argument("--as", dest="name", help="the folder's name below it; by default the source's")
    arguments = parser.parse_args()
    # So that what was copied so far is removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        added = add_source(arguments.source, arguments.into, arguments.name, _print_copied)
    except (ValueError, OSError) as error:
        print(f"ingest: {error}", file=sys.stderr)
        sys.exit(NEEDS_A_PERSON)
    print("\n".join(summary(added, arguments.into)))


def summary(added: Added, into: Path) -> list[str]:
    """What was added, in lines for people."""
    lines = [f"{into / added.name}: {added.added_images:,} images added"]
    if added.kept_images:
        lines[0] += f", {added.kept_images:,} were there before"
    if added.classes:
        lines.append("classes: " + ", ".join(f"{name} {count:,}" for name, count in added.classes.items()))
    else:
        lines.append("no classes: the images lie in no folders of their own, so models will be unconditional")
    if added.wrapper:
        lines.append(f"the folder {added.wrapper}/ around everything was left out of the names")
    if added.split_folders:
        named = " and ".join(added.split_folders)
        lines.append(f"note: {named} were taken as classes; if they are parts of one set, add them one by one")
    if added.skipped:
        lines.append("left out: " + ", ".join(f"{kind} {count:,}" for kind, count in added.skipped.items()))
    if added.bad_names:
        lines.append(f"left out, names that no table can hold: {len(added.bad_names):,}, first {added.bad_names[0]}")
    return lines


def _print_copied(done: int, total: int) -> None:
    if done % 5_000 == 0:
        print(f"copied {done:,} of {total:,}", flush=True)


if __name__ == "__main__":
    main()
