"""Remove images from data/raw: `python -m tasks.remove NAME PATTERN ... --from data/raw`.

Not a stage of dvc.yaml: `genai data remove` runs it before DVC tracks the rest.
"""

import argparse
import signal
import sys
from pathlib import Path

from genai_core.config import NEEDS_MANUAL_ACTION
from genai_core.counted import counted
from genai_core.data.ingest.remove import Removed, remove_images
from genai_core.data.raw.count import count_raw_images
from tasks.ingest import PACK_INDEXES

PREPARE_CACHE = Path(".genai/cache/prepare")  # as in tasks/prepare.py, which imports too much for this task

PRINTED_NAMES = 10


def main() -> None:
    parser = argparse.ArgumentParser(prog="tasks.remove", description=__doc__)
    parser.add_argument("name", help="a folder below data/raw")
    parser.add_argument("patterns", nargs="*", help="names CLASS/file, or globs of them")
    parser.add_argument("--all", action="store_true", help="remove all of NAME; without patterns")
    parser.add_argument("--from", dest="raw", type=Path, required=True, help="folder of the raw data")
    parser.add_argument("--list", type=Path, help="a file with one name or glob per line")
    parser.add_argument("--dry-run", action="store_true", help="only print what would be removed")
    arguments = parser.parse_args()
    if arguments.all and (arguments.patterns or arguments.list):
        parser.error("--all cannot be combined with patterns or --list")
    # Exit normally, so that files staged next to data/raw are removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        patterns = [*arguments.patterns, *(_listed(arguments.list) if arguments.list else [])]
        removed = remove_images(
            arguments.raw,
            arguments.name,
            None if arguments.all else patterns,
            indexes=PACK_INDEXES,
            cache_folder=PREPARE_CACHE,
            dry_run=arguments.dry_run,
        )
    except (ValueError, OSError) as error:
        print(f"remove: {error}", file=sys.stderr)
        sys.exit(NEEDS_MANUAL_ACTION)
    print("\n".join(summary(removed, arguments.raw / arguments.name, dry_run=arguments.dry_run)))
    if not arguments.dry_run:
        print(f"{arguments.raw}: {counted(count_raw_images(arguments.raw, PACK_INDEXES), 'image')} in total")


def summary(removed: Removed, folder: Path, *, dry_run: bool) -> list[str]:
    """Return what was removed, as lines to print."""
    lines = [f"{folder}: {counted(len(removed.images), 'image')} {'would be ' if dry_run else ''}removed"]
    lines[0] += f", {removed.left_images:,} left" if removed.left_images else ", none left: the folder is removed"
    lines += [f"  {name}" for name in removed.images[:PRINTED_NAMES]]
    if len(removed.images) > PRINTED_NAMES:
        lines.append(f"  and {len(removed.images) - PRINTED_NAMES:,} more")
    if removed.unmatched:
        lines.append(f"names and patterns without a match: {len(removed.unmatched):,}, first {removed.unmatched[0]}")
    return lines


def _listed(path: Path) -> list[str]:
    """Read the patterns in a file, one per line. Raises ValueError when there are none."""
    # utf-8-sig: Windows may write a byte order mark first.
    lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").split("\n")]
    patterns = [line for line in lines if line]
    if not patterns:
        raise ValueError(f"{path}: expected one name or pattern per line, the file is empty; nothing was removed")
    return patterns


if __name__ == "__main__":
    main()
