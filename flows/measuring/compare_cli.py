"""The command `genai compare`: compare two models, and say whether they differ by more than noise."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from flows.completion import completing, model_names
from flows.json_output import json_option, print_json
from flows.registry.cli import version_names
from flows.table import print_table


def comparable(workspace: Path) -> Iterable[str]:
    """Return the workspace's models and the registered versions, for shell completion."""
    return [*model_names(workspace), *version_names(workspace), "prod"]


@click.command()
@click.argument("a", shell_complete=completing(comparable))
@click.argument("b", shell_complete=completing(comparable))
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="Folder to write.  [default: .genai/compare]"
)
@json_option
@click.pass_obj
def compare(workspace: Path, a: str, b: str, out: Path | None, as_json: bool) -> None:
    """Compare models A and B: do they differ by more than noise?

    Both generate images from the same seeds. A and B are model folders, models of this workspace (gan, finetuned,
    candidate), prod, registered versions, or git revisions, whose candidate comes from DVC's cache. This workspace's
    extractor and data measure both.
    """
    from flows.measuring.comparison import PLACE
    from flows.measuring.comparison import compare as run

    place = (out or workspace / PLACE).resolve()
    found = run(workspace, a, b, place, lambda line: click.echo(line, err=True))
    if as_json:
        print_json(found)
        return
    head = ("", f"A: {found['a']['name']}", f"B: {found['b']['name']}", "B - A", "")
    print_table(figure_rows(found), head)
    for note in found["notes"]:
        click.echo(f"note: {note}")
    click.echo(f"\n{found['verdict']['text']}")
    click.echo(f"Written: {place / 'comparison.json'}, {place / 'samples.png'}, {place / 'closest.png'}")


def figure_rows(found: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return one row per figure: both values and the difference, with intervals, marked if it is more than noise."""
    rows: list[tuple[str, ...]] = [
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
    return rows


def _value(figures: dict[str, Any], name: str) -> str:
    ends = figures["interval"].get(name)
    return f"{figures[name]:.4g}" + (f" ({ends['low']:.3g} to {ends['high']:.3g})" if ends else "")
