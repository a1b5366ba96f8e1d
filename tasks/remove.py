"""Take images out of data/raw: `python -m tasks.remove NAME PATTERN ... --from data/raw`.

No stage of dvc.yaml: it is what `genai data remove` runs before DVC tracks what is left.
"""

import argparse
import signal
import sys
from pathlib import Path

from genai_core.config import NEEDS_A_PERSON
from genai_core.data.ingest.remove import Removed, remove_images
from tasks.ingest import PACK_INDEXES

PREPARE_MEMORY = Path(".genai/cache/prepare")  # as in tasks/prepare.py, which brings in more than is needed here

PRINTED_NAMES = 10


def main() -> None:
    parser = argparse.ArgumentParser(prog="tasks.remove", description=__doc__)
    parser.add_argument("name", help="the folder below data/raw")
    parser.add_argument("patterns", nargs="*", help="names CLASS/file, or globs of them")
    parser.add_argument("--all", action="store_true", help="instead of patterns: all of NAME")
    parser.add_argument("--from", dest="raw", type=Path, required=True, help="the raw data's folder")
    parser.add_argument("--list", type=Path, help="a file with a name or a glob a line")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    arguments = parser.parse_args()
    if arguments.all and (arguments.patterns or arguments.list):
        parser.error("--all takes all of NAME: give it, or patterns, or --list")
    # So that what was made ready beside data/raw is removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        patterns = [*arguments.patterns, *(_listed(arguments.list) if arguments.list else [])]
        removed = remove_images(
            arguments.raw,
            arguments.name,
            None if arguments.all else patterns,
            indexes=PACK_INDEXES,
            memory=PREPARE_MEMORY,
            dry_run=arguments.dry_run,
        )
    except (ValueError, OSError) as error:
        print(f"remove: {error}", file=sys.stderr)
        sys.exit(NEEDS_A_PERSON)
    print("\n".join(summary(removed, arguments.raw / arguments.name, dry_run=arguments.dry_run)))


def summary(removed: Removed, folder: Path, *, dry_run: bool) -> list[str]:
    """What was removed, in lines for people."""
    lines = [f"{folder}: {len(removed.images):,} images {'would be ' if dry_run else ''}removed"]
    lines[0] += f", {removed.left_images:,} left" if removed.left_images else ", none left: the folder goes"
    lines += [f"  {name}" for name in removed.images[:PRINTED_NAMES]]
    if len(removed.images) > PRINTED_NAMES:
        lines.append(f"  and {len(removed.images) - PRINTED_NAMES:,} more")
    if removed.unmatched:
        lines.append(f"names and patterns that no image has: {len(removed.unmatched):,}, first {removed.unmatched[0]}")
    return lines


def _listed(path: Path) -> list[str]:
    """The patterns of a file, one a line. Raises ValueError for a file without any."""
    # utf-8-sig: Windows writes a mark before the first name.
    lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").split("\n")]
    patterns = [line for line in lines if line]
    if not patterns:
        raise ValueError(f"{path}: expected a name or a pattern a line, it is empty; nothing was removed")
    return patterns


if __name__ == "__main__":
    main()
