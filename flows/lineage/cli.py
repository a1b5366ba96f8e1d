"""The command `genai lineage`: what an object was made from, what was made from it, which models saw an image."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flows.completion import completing
from flows.json_output import json_option, print_json
from flows.registry.cli import version_names
from genai_core.counted import counted

if TYPE_CHECKING:
    from flows.lineage.node import Node
    from flows.lineage.sightings import Sightings
    from flows.lineage.trace import Lineage

DIGITS = 12


@click.command()
@click.argument("thing", required=False, shell_complete=completing(version_names))
@click.option(
    "--saw", metavar="IMAGE", help="List the models that were trained on this image: a file, or its name in data/raw."
)
@json_option
@click.pass_obj
def lineage(workspace: Path, thing: str | None, saw: str | None, as_json: bool) -> None:
    """Show what THING was made from, and what was made from it.

    THING is a generated image (a file, a tar member such as images-00000.tar:000001.png, or a sha256), a picture that
    the page or the API of `genai serve` made, a model
    (a version, prod, a folder, the sha256 of its weights) or a dataset (a folder, a fingerprint, a hash of DVC's).
    """
    if (thing is None) == (saw is None):
        raise click.UsageError("expected either THING or --saw IMAGE")
    with _opened(workspace) as answers:
        if saw is not None:
            from flows.lineage.sightings import sightings

            seen = sightings(workspace, answers.history, answers, saw)
            print_json(seen.values()) if as_json else _print_sightings(seen, saw)
            return
        from flows.lineage.node import Node

        assert thing is not None
        found = answers.find(thing)
        note = answers.difference(found)
        made_of = found if isinstance(found, Node) else answers.made_of(found)
        became = None if isinstance(found, Node) else answers.became(found)
    if as_json:
        print_json({"made_of": made_of.values(), "became": became.values() if became else None, "note": note})
        return
    if note:
        click.echo(f"note: {note}", err=True)
    _tree(made_of)
    if became and became.links:
        click.echo("\nmade from it:")
        _tree(became)


@contextmanager
def _opened(workspace: Path) -> "Iterator[Lineage]":
    from flows.data.stores import Stores
    from flows.graph import open_repo
    from flows.lineage.ancestry import History
    from flows.lineage.trace import Lineage
    from flows.registry.read import read_registry

    with open_repo(workspace) as repo:
        yield Lineage(workspace, History(workspace, Stores(repo)), read_registry(workspace))


def _tree(node: "Node", first: str = "", rest: str = "", shown: "set[tuple[str, str]] | None" = None) -> None:
    """Print a node, its facts, and its neighbours below it. For a repeated node, print only its name."""
    shown = set() if shown is None else shown
    key = (node.name, str(node.facts.get("md5", "")))
    click.echo(f"{first}{node.kind} {click.style(node.name, bold=True)}{'  (as above)' if key in shown else ''}")
    if key in shown:
        return
    shown.add(key)
    bar = f"{rest}{'│  ' if node.links else '   '}"
    for line in lines_of(node.facts):
        click.echo(f"{bar}{line}")
    for number, link in enumerate(node.links, 1):
        last = number == len(node.links)
        _tree(link, f"{rest}{'└─ ' if last else '├─ '}", f"{rest}{'   ' if last else '│  '}", shown)


def lines_of(facts: dict[str, Any]) -> Iterator[str]:
    """Yield what is known of an object, a line each, for people."""
    if "file" in facts:
        yield f"{facts['file']}, seed {facts['seed']}" + (f", class {facts['class']}" if facts["class"] else "")
    if "sha256" in facts:
        yield f"sha256 {facts['sha256']}"
    if "says" in facts:
        yield from _statement(facts["says"])
    for version, times in [(", ".join(facts.get("versions", [])), facts.get("in_production", []))]:
        if version:
            spans = "; ".join(f"{begin[:19]} to {end[:19] if end else 'now'}" for begin, end in times)
            yield f"version {version}" + (f", in production {spans}" if spans else "")
    if "family" in facts:
        yield f"{facts['family']}, weights {facts['weights'][:DIGITS]}, trained on {facts['trained_on'][:DIGITS]}"
    if "teacher" in facts:
        evaluations = counted(facts["evaluations"], "evaluation")
        teacher = f"its teacher, weights {facts['teacher'][:DIGITS]}"
        yield f"few-step model: draws in at most {evaluations} what {teacher}, draws"
    if "fingerprint" in facts:
        counts = ", ".join(f"{count:,} {split}" for split, count in facts["images"].items())
        yield f"fingerprint {facts['fingerprint'][:DIGITS]}, images: {counts}"
    if "drawn_from" in facts:
        commit = f", commit {facts['commit'][:DIGITS]}" if facts.get("commit") else ""
        yield f"generated with {facts['drawn_from']} at {facts['drawn_at'][:19]}{commit}"
        yield f"{facts['images']:,} images from seed {facts['first_seed']}, weights {facts['model'][:DIGITS]}"
    if "stage" in facts:
        values = ", ".join(f"{name}={value}" for name, value in _flat(facts["parameters"]))
        yield f"{facts['stage']}: {facts['command']}"
        if values:
            yield f"parameters: {values if len(values) <= 160 else values[:160] + ' ... (--json has all)'}"
    if "md5" in facts:
        commit = ", no commit has exactly this code, data and parameters" if "stage" in facts else ""
        if "commit" in facts:
            commit = f", commit {facts['commit'][:DIGITS]} ({facts['committed']})"
        file = "dvc.lock" if "stage" in facts else ".dvc file"
        recorded = "" if facts.get("recorded", True) else f"; not committed: no branch or tag has this {file}"
        yield f"data {facts['md5'][:DIGITS]}{commit}{recorded}"


def _statement(provenance: dict[str, Any]) -> Iterator[str]:
    """What a picture of `genai serve` says of itself."""
    from flows.lineage.statement import statement

    yield "drawn by `genai serve`, as the file itself says; it is in no batch that could prove it"
    yield f"weights {provenance['model_sha256'][:DIGITS]}, {statement(provenance)}"


def _place(found: dict[str, Any]) -> str:
    from flows.git import printable

    captions = "".join(f' "{printable(caption)}"' for caption in found.get("captions", [])[:1])
    return f"{found['split']} {found['source']} {found['reason']}".strip() + captions


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _print_sightings(seen: "Sightings", image: str) -> None:
    trained = [entry for entry in seen.datasets if entry.trained]
    by_name = "" if Path(image).is_file() else " (not a file here; looked up by name)"
    click.echo(
        f"{image}{by_name}: in the train split of {len(trained)} of {len(seen.datasets)} versions of the dataset"
    )
    for entry in seen.datasets:
        name = f"  dataset {str(entry.dataset.facts.get('fingerprint', entry.dataset.facts['md5']))[:DIGITS]}: "
        if entry.found is None:
            click.echo(f"{name}unknown, because its data is neither in DVC's cache nor at the remote")
        places = [_place(found) for found in entry.found or []]
        if entry.found is not None:
            click.echo(f"{name}{'; '.join(places) or 'not in it'}{f' ({entry.note})' if entry.note else ''}")
    titles = {"models trained on it": seen.models, "images generated by them": seen.batches}
    if seen.skipped:
        titles["models that skipped it, and were not trained on it"] = seen.skipped
    for title, nodes in titles.items():
        click.echo(f"{title}: {'none' if not nodes else ''}")
        for node in nodes:
            lines = list(lines_of(node.facts))
            click.echo(f"  {node.name}: " + "; ".join([*lines[:2], lines[-1]] if len(lines) > 2 else lines))
