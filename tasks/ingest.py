"""Import a user's images into data/raw: `python -m tasks.ingest SOURCE --into data/raw [--as NAME]`.

Not a stage of dvc.yaml: `genai data add` runs it before DVC tracks data/raw.
"""

import argparse
import csv
import json
import signal
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from genai_core.config import NEEDS_MANUAL_ACTION, PARAMS_FILE, load_config
from genai_core.config.source_layouts import SOURCE_LAYOUTS
from genai_core.counted import counted
from genai_core.data.ingest.add import Added, add_source
from genai_core.data.ingest.choices import Choices, giving_up_split
from genai_core.data.raw.count import count_raw_images
from genai_core.data.raw.source_json import Origin

# Every image and label that the last `genai data add` rejected.
REJECTED_FILE = Path(".genai/rejected.csv")
PACK_INDEXES = Path(".genai/cache/raw")
PRINT_EVERY_IMAGES = 5_000
PRINTED_REJECTED = 3
PRINTED_CLASSES = 20


def main() -> None:
    parser = argparse.ArgumentParser(prog="tasks.ingest", description=__doc__)
    parser.add_argument("source", help="builtin:digits, a folder, an archive, or a file that holds a dataset")
    parser.add_argument("--into", type=Path, required=True, help="folder of the raw data, for example data/raw")
    parser.add_argument("--as", dest="name", help="name of the folder below it; default: the source's name")
    parser.add_argument("--layout", choices=SOURCE_LAYOUTS, help="what the folders and files of the source mean")
    parser.add_argument("--label-column", help="column of a table; several, with commas, are combined")
    parser.add_argument("--caption-column", help="column of a table with the captions")
    parser.add_argument(
        "--split", action=argparse.BooleanOptionalAction, help="insist on the source's train/test split, or ignore it"
    )
    parser.add_argument("--every", type=int, help="take each such frame of videos, animations and DICOM files")
    parser.add_argument("--facts", type=Path, help="JSON file to write: what was understood and added")
    parser.add_argument("--origin-address", help="where the source was fetched from")
    parser.add_argument("--origin-revision", help="the commit, or the content's sha256, that was fetched")
    arguments = parser.parse_args()
    # Exit normally, so that files copied so far are removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    origin = Origin(arguments.origin_address, arguments.origin_revision) if arguments.origin_address else None
    try:
        added = add_source(
            arguments.source,
            arguments.into,
            arguments.name,
            choices=Choices(
                arguments.layout,
                tuple(filter(None, (arguments.label_column or "").split(","))),
                arguments.caption_column,
                arguments.split,
                arguments.every,
            ),
            max_rejected_share=load_config(Path(PARAMS_FILE)).data.max_rejected_share,
            origin=origin,
            indexes=PACK_INDEXES,
            on_added=_print_progress,
        )
    except (ValueError, OSError) as error:
        done = "" if "nothing was added" in str(error) else "; nothing was added"
        print(f"ingest: {error}{done}", file=sys.stderr)
        sys.exit(NEEDS_MANUAL_ACTION)
    _write_rejected(added)
    total_images = count_raw_images(arguments.into, PACK_INDEXES)
    if arguments.facts is not None:
        arguments.facts.write_text(json.dumps({**facts(added), "total_images": total_images}), encoding="utf-8")
    print("\n".join(summary(added, arguments.into)))
    print(f"{arguments.into}: {counted(total_images, 'image')} in total")


def summary(added: Added, into: Path) -> list[str]:
    """Return what was added, as lines to print."""
    lines = [f"{' and '.join(str(into / name) for name in added.names)}: {counted(added.added_images, 'image')} added"]
    if added.kept_images:
        lines[0] += f", {added.kept_images:,} already there"
    said = added.understood
    lines += [f"{what}: {found}" for what, found in (("layout", said.layout), ("labels from", said.labels)) if found]
    if added.splits:
        counts = ", ".join(f"{split} {count:,}" for split, count in added.splits.items())
        how = f", from {said.split}; to give it up: {giving_up_split(said.split, said.labels)}" if said.split else ""
        lines.append(f"split: {counts}{how}")
    if added.captioned_images or said.captions:
        lines.append(f"captions: {counted(added.captioned_images, 'image')}")
        lines[-1] += f", from {said.captions}" if said.captions else ""
        if changed := added.changed_captions:
            lines[-1] += f"; {changed:,} were already there with other captions, which were replaced"
    if added.classes:
        shown = [f"{name} {count:,}" for name, count in [*added.classes.items()][:PRINTED_CLASSES]]
        more = len(added.classes) - len(shown)
        lines.append("classes: " + ", ".join(shown) + (f" and {more:,} more" if more else ""))
    else:
        lines.append("no classes: the images have neither class folders nor labels; models will be unconditional")
    if added.wrapper:
        is_class = "" if added.classes or added.splits else "; if it is a class, add with --layout class-folders"
        lines.append(f"the outer folder {added.wrapper}/ was removed from the names{is_class}")
    lines += added.notes
    if added.skipped:
        lines.append("skipped: " + ", ".join(f"{kind} {count:,}" for kind, count in added.skipped.items()))
    if added.bad_names:
        lines.append(f"skipped, names invalid in tables: {len(added.bad_names):,}, first {added.bad_names[0]}")
    if added.rejected:
        reasons = Counter(file.reason for file in added.rejected).most_common()
        listed = ", ".join(f"{reason} {count:,}" for reason, count in reasons)
        lines.append(f"rejected (all in {REJECTED_FILE}): {listed}")
        lines += [f"  {file.source}: {file.reason}: {file.detail}" for file in added.rejected[:PRINTED_REJECTED]]
    return lines


def facts(added: Added) -> dict[str, Any]:
    """Return what was understood and added, for programs (docs/data.md)."""
    values = asdict(added)
    return values | {
        "understood": {key: text or None for key, text in values["understood"].items()},
        "rejected": dict(Counter(file.reason for file in added.rejected)),
    }


def _write_rejected(added: Added) -> None:
    REJECTED_FILE.parent.mkdir(exist_ok=True)
    with REJECTED_FILE.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["source", "reason", "detail"])
        table.writerows(added.rejected)
        table.writerows((name, "bad_name", "not UTF-8, or control characters") for name in added.bad_names)


def _print_progress(done: int, total: int) -> None:
    if done % PRINT_EVERY_IMAGES == 0:
        print(f"{done:,} of {total:,} images", flush=True)


if __name__ == "__main__":
    main()
