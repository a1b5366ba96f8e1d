"""The output of `genai data status` and `genai data diff` for people."""

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from flows.data.diff import DataDiff
from flows.data.status import DataStatus
from flows.table import print_rendered
from genai_core.counted import counted

if TYPE_CHECKING:
    from rich.table import Table

SHORT_DIGITS = 10  # of a hash: enough to tell versions apart; `genai data diff` accepts it
MOST_CLASSES = 20

_bold = partial(click.style, bold=True)
_yellow, _green, _red = (partial(click.style, fg=colour) for colour in ("yellow", "green", "red"))


def show(parts: Iterable["str | Table"]) -> None:
    """Print lines and tables; tables are cut only in a terminal."""
    for part in parts:
        if isinstance(part, str):
            click.echo(part)
        else:
            print_rendered(part)


def status_parts(found: DataStatus) -> Iterable["str | Table"]:
    """Return the status as lines and tables."""
    raw = found.raw
    yield f"{_bold('data/raw')}  version {short(raw.md5)}  {counted(raw.files, 'file')}, {raw.size_bytes / 1e6:,.1f} MB"
    for change in found.raw_changes:
        what = "not tracked yet" if found.raw_place == "workspace" else "not here"
        how = "; DVC's cache has it: dvc checkout data/raw.dvc" if found.raw_place == "cache" else ""
        yield f"  {_yellow(f'{what}:')} {change}{how}"
    if not found.is_committed:
        before = f"git HEAD has version {short(found.head_raw)}" if found.head_raw else "git HEAD has none"
        yield f"  {_yellow('not committed:')} data/raw.dvc ({before})"
    if found.sources:
        table = _table("source", "files", "images", "classes", "rejected")
        for source in found.sources:
            cells = (source.files, source.images, source.classes, source.rejected)
            table.add_row(source.name, *("?" if cell is None else f"{cell:,}" for cell in cells))
        yield table
        if found.prepared is not None and found.prepare_action != "keep":
            yield "  images, classes and rejected: of the last preparation, not of what is there now"
    yield ""
    yield from _prepared_parts(found)
    yield ""
    yield from _remote_parts(found)


def diff_parts(found: DataDiff) -> Iterable["str | Table"]:
    """Return the difference as lines and tables."""
    a, b = found.before, found.after
    yield f"{_bold(a.name)} (data/raw {short(a.raw)}) -> {_bold(b.name)} (data/raw {short(b.raw)})"
    if found.raw_files:
        yield from _raw_parts(found.raw_files)
    if found.images:
        yield from _image_parts(found.images)
    if found.distance:
        yield from _distance_parts(found.distance)
    for note in found.notes:
        yield f"{_yellow('note:')} {note}"


def short(md5: str | None) -> str:
    """The first digits of a hash, enough for people."""
    return md5[:SHORT_DIGITS] if md5 else "none"


def _prepared_parts(found: DataStatus) -> Iterable["str | Table"]:
    if found.prepared is None:
        how = "fetch it: genai data pull" if found.raw_place == "elsewhere" else "make it: genai run prepare"
        yield f"{_bold('data/prepared')}  {_yellow('missing')}; {how}"
        return
    prepared = found.prepared
    shape = " x ".join(map(str, (*prepared.image_size, prepared.channels)))
    yield f"{_bold('data/prepared')}  fingerprint {short(prepared.fingerprint)}  images {shape}"
    if found.prepare_action == "keep":
        yield f"  {_green('up to date')}"
    else:
        doing = {"run": "out of date", "restore": "to be restored"}[found.prepare_action]
        yield f"  {_yellow(f'{doing}:')} {'; '.join(found.prepare_reasons)}"
    table = _table("class", "train", "test")
    for entry in prepared.classes[:MOST_CLASSES]:
        table.add_row(entry.name, f"{entry.train:,}", f"{entry.test:,}")
    if len(prepared.classes) > MOST_CLASSES:
        table.add_row(f"and {len(prepared.classes) - MOST_CLASSES:,} more", "", "")
    table.add_row("all", f"{prepared.splits['train']:,}", f"{prepared.splits['test']:,}", style="bold")
    yield table
    if prepared.captioned_images:
        yield f"  captions: {prepared.captioned_images:,} of {sum(prepared.splits.values()):,} images"
    rejected = ", ".join(f"{reason} {count:,}" for reason, count in prepared.rejected.items())
    yield f"  rejected: {rejected or 'none'}"


def _remote_parts(found: DataStatus) -> Iterable["str | Table"]:
    remote = found.remote
    if remote is None:
        yield f"{_bold('remote')}  none; add one: genai data push --to FOLDER, or --to s3://BUCKET/PATH"
    elif remote.error:
        yield f"{_bold('remote')}  {_yellow('unknown:')} {remote.error}"
    elif remote.missing:
        outputs = ", ".join(f"{output} {count:,}" for output, count in remote.by_output.items())
        yield f"{_bold('remote')}  {remote.address}"
        yield f"  {_yellow('not there:')} {remote.missing:,} of {remote.objects:,} objects ({outputs}): genai data push"
    else:
        yield f"{_bold('remote')}  {remote.address}: all {remote.objects:,} objects are there"


def _image_parts(images: dict[str, Any]) -> Iterable["str | Table"]:
    table = _table("images", "before", "after")
    for split in ("train", "test"):
        table.add_row(split, *(f"{images[side]['splits'][split]:,}" for side in ("before", "after")))
    table.add_row("all", f"{images['before_images']:,}", f"{images['after_images']:,}", style="bold")
    yield table
    yield (
        f"added {images['added']:,} ({images['added_share']:.1%} of all now; train {images['added_train']:,}, "
        f"test {images['added_test']:,}), removed {images['removed']:,}, relabelled {images['relabelled']:,}, "
        f"renamed {images['renamed']:,}"
        + (f", with other captions {images['recaptioned']:,}" if images["recaptioned"] else "")
    )
    if images["redecoded"]:
        yield (
            f"{_yellow('note:')} other decoder versions changed the pixels of {counted(images['redecoded'], 'image')}; "
            "matched by file name, and assigned to train or test again"
        )
    moved = images["moved_between_splits"]
    yield "moved between train and test: " + (f"{_red(f'{moved:,}, expected 0')}" if moved else "0")
    if images["matched_by"] == "source":
        yield f"{_yellow('note:')} the images differ in size or channels; they are matched by file name"
    for kind, entries in images["examples"].items():
        if entries:
            shown = [f"{e['source']}{_change(e)}" for e in entries]
            yield f"  {kind.replace('_', ' ')}: {', '.join(shown)}{' ...' if images[kind] > len(entries) else ''}"
    yield from _class_parts(images["classes"])
    reasons = sorted({*images["before"]["rejected"], *images["after"]["rejected"]})
    counts = [
        f"{r} {images['before']['rejected'].get(r, 0):,} -> {images['after']['rejected'].get(r, 0):,}" for r in reasons
    ]
    yield f"rejected: {', '.join(counts) or 'none'}"


def _class_parts(classes: list[dict[str, Any]]) -> Iterable["str | Table"]:
    if not classes:
        return
    table = _table("class", "before", "share", "after", "share")
    # If there are too many, show those whose share changed most.
    shown = sorted(classes, key=lambda c: -abs(c["after_share"] - c["before_share"]))[:MOST_CLASSES]
    for entry in (entry for entry in classes if entry in shown):
        cells = (
            f"{entry[key]:,}" if key in ("before", "after") else f"{entry[key]:.1%}"
            for key in ("before", "before_share", "after", "after_share")
        )
        table.add_row(entry["name"], *cells)
    yield table


def _distance_parts(figures: dict[str, Any]) -> Iterable["str | Table"]:
    over = figures["over_floor"]
    yield (
        f"distance of the new images from the old train images: {figures['frechet_distance']:.4g}; "
        f"of old held-out images: {figures['floor']:.4g} +- {figures['floor_std']:.2g}"
        + (f"; {_bold(f'{over:.2f} times the floor')}" if over is not None else "")
    )
    yield (
        f"  (Fréchet distance in {figures['feature']} features, {figures['dimension']} dimensions, "
        f"{figures['images']:,} images against {figures['reference_images']:,})"
    )


def _raw_parts(raw: dict[str, Any]) -> Iterable["str | Table"]:
    yield (
        f"raw files {raw['before']:,} -> {raw['after']:,}: "
        f"added {raw['added']:,}, removed {raw['removed']:,}, modified {raw['modified']:,}"
    )
    for kind, names in raw["examples"].items():
        if names:
            yield f"  {kind}: {', '.join(names)}{' ...' if raw[kind] > len(names) else ''}"


def _change(example: dict[str, Any]) -> str:
    before, after = example["before"], example["after"]
    if before is None or after is None:
        return ""
    return f" ({_first_line(before)} -> {_first_line(after)})"


def _first_line(text: str) -> str:
    """The class, the split or the first caption."""
    first, _, rest = text.partition("\n")
    return (first + (" ..." if rest else "")) or "none"


def _table(first: str, *others: str) -> "Table":
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 2), header_style="dim")
    table.add_column(first)
    for name in others:
        table.add_column(name, justify="right")
    return table
