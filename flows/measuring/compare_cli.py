"""The command `genai compare`: two models side by side, and whether they differ by more than noise."""

import json
from pathlib import Path
from typing import Any

import click


@click.command()
@click.argument("a")
@click.argument("b")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="Folder to write.  [default: .genai/compare]"
)
@click.option("--json", "as_json", is_flag=True, help="Print comparison.json; docs/evaluation.md describes the keys.")
@click.pass_obj
def compare(workspace: Path, a: str, b: str, out: Path | None, as_json: bool) -> None:
    """Draw the same seeds from models A and B, measure both alike, and say whether they differ by more than noise.

    A and B are model folders, models of this workspace (gan, finetuned, candidate), prod, a registered version, or git
    revisions, whose candidate is taken from DVC's cache. Both are measured by this workspace's extractor and data.
    """
    from flows.measuring.comparison import PLACE
    from flows.measuring.comparison import compare as run

    place = (out or workspace / PLACE).resolve()
    found = run(workspace, a, b, place, lambda line: click.echo(line, err=True))
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    click.echo("\n".join(table(found)))
    for note in found["notes"]:
        click.echo(f"note: {note}")
    click.echo(f"\n{found['verdict']['text']}")
    click.echo(f"Written: {place / 'comparison.json'}, {place / 'samples.png'}, {place / 'closest.png'}")


def table(found: dict[str, Any]) -> list[str]:
    """A line a figure: both values with their intervals, the difference with its own, and a star beyond noise."""
    rows = [("", f"A: {found['a']['name']}", f"B: {found['b']['name']}", "B - A", "")]
    rows += [
        (
            name,
            _value(found["a"]["figures"], name),
            _value(found["b"]["figures"], name),
            f"{difference['value']:+.4g} ({difference['low']:+.3g} to {difference['high']:+.3g})",
            "more than noise" if difference["beyond_noise"] else "",
        )
        for name, difference in found["differences"].items()
    ]
    for name, classes in found["b"]["figures"].items():
        if isinstance(classes, dict) and name.startswith("coverage_"):
            own = found["a"]["figures"][name]
            rows += [(f"{name} {label}", f"{own[label]:.4g}", f"{classes[label]:.4g}", "", "") for label in classes]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _value(figures: dict[str, Any], name: str) -> str:
    ends = figures["interval"].get(name)
    return f"{figures[name]:.4g}" + (f" ({ends['low']:.3g} to {ends['high']:.3g})" if ends else "")
