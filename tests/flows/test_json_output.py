"""`--json`: standard output is one JSON document, for success and for failure; its keys are an interface."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from flows.cli import main
from flows.command_group import Commands
from flows.json_output import FLAG, json_option, print_json
from genai_core import GenaiError
from tests.flows.conftest import DVC_WARNS, Server, genai, set_parameter, shell

# What the issue asks for, and what had the option before.
WITH_JSON = {
    "generate",
    "serve token list",
    "serve votes",
    "init",
    "plan",
    "run",
    "runs",
    "runs show",
    "runs resume",
    "status",
    "base",
    "search",
    "search show",
    "watch",
    "evaluate",
    "compare",
    "backfill",
    "lineage",
    "promote",
    "rollback",
    "history",
    "registry show",
    "registry at",
    "retrain",
    "doctor",
    "workers",
    "data add",
    "data status",
    "data diff",
    "data verify",
}
RUN_KEYS = ["run", "state", "snapshot", "stages", "figures", "report"]
STAGE_KEYS = {"outcome", "began", "seconds", "left", "machine", "not_executed"}


def commands(group: click.Group, above: str = "") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        yield f"{above}{name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{above}{name} ")


def document(answer: "subprocess.CompletedProcess[str]") -> Any:
    """Standard output, which must be exactly one JSON document."""
    return json.loads(answer.stdout)


def test_commands_share_the_option() -> None:
    found = {
        name: next((option for option in command.params if FLAG in option.opts), None)
        for name, command in commands(main)
    }
    assert {name for name, option in found.items() if option} == WITH_JSON
    texts = {option.help for option in found.values() if isinstance(option, click.Option)}
    assert len(texts) == 1


# --- the helper, with commands of its own -----------------------------------------------------------------------------


@pytest.fixture
def group() -> Commands:
    @click.group(cls=Commands)
    @click.option("--debug", is_flag=True)
    def top(debug: bool) -> None: ...

    @click.command()
    @click.argument("how")
    @json_option
    def act(how: str, as_json: bool) -> None:
        print("on the way")
        click.echo("and on")
        if how == "known":
            raise GenaiError("no such thing; make one")
        if how == "crash":
            raise KeyError("key")
        if how == "interrupt":
            raise KeyboardInterrupt
        if how == "signal":
            raise SystemExit(143)
        if how == "usage":
            raise click.UsageError("one of them")
        if as_json:
            print_json({"done": True})
        if how == "late":
            raise SystemExit(3)

    top.add_section("Act", {"act": act})
    return top


@pytest.mark.parametrize(
    ("how", "status", "error"),
    [
        ("known", 2, "no such thing; make one"),
        ("crash", 1, "KeyError: 'key'"),
        ("interrupt", 130, "interrupted"),
        ("signal", 143, "failed with exit status 143; see standard error"),
        ("usage", 2, "one of them"),
        ("known --nothing-like-it", 2, "No such option '--nothing-like-it'."),
    ],
)
def test_failure_is_a_json_object(group: Commands, how: str, status: int, error: str) -> None:
    answer = CliRunner().invoke(group, ["act", *how.split(), "--json"])
    assert answer.exit_code == status
    assert json.loads(answer.stdout) == {"error": error}
    assert ("on the way" in answer.stderr) == ("--" not in how)
    plain = CliRunner().invoke(group, ["act", *how.split()])
    assert (plain.exit_code, "error" in plain.stdout) == (status, False)


def test_everything_else_goes_to_standard_error(group: Commands) -> None:
    answer = CliRunner().invoke(group, ["act", "well", "--json"])
    assert (answer.exit_code, json.loads(answer.stdout)) == (0, {"done": True})
    assert answer.stderr == "on the way\nand on\n"
    late = CliRunner().invoke(group, ["act", "late", "--json"])  # a status that is no failure: the document stands
    assert (late.exit_code, json.loads(late.stdout)) == (3, {"done": True})
    assert CliRunner().invoke(group, ["act", "well"]).stdout == "on the way\nand on\n"


# --- the commands -----------------------------------------------------------------------------------------------------


@DVC_WARNS
def test_run_with_nothing_to_do(done: Path) -> None:
    answer = genai(done, "run", "--json")
    assert answer.returncode == 0, answer.stderr
    values = document(answer)
    assert list(values) == RUN_KEYS
    assert (values["run"], values["state"], values["snapshot"], values["report"]) == (None, "completed", None, None)
    kept = {"outcome": "kept", "began": None, "seconds": 0.0, "left": None, "machine": None}
    names = [entry["stage"] for entry in document(genai(done, "plan", "--json"))]
    assert values["stages"] == dict.fromkeys(names, kept)
    assert "5 stages: 5 to keep" in answer.stderr


@DVC_WARNS
def test_failed_run_and_its_resumption(fresh: Path, server: Server) -> None:
    set_parameter(fresh, "compute.accelerator", "cpu")
    failed = genai(fresh, "run", "--json", toy={"select": {"exit": 2}}, api_url=server.url)
    assert failed.returncode == 1, failed.stderr
    values = document(failed)
    assert list(values) == [*RUN_KEYS, "error"]
    assert values["error"].startswith("failed: select")
    assert values["error"] in failed.stderr
    assert values["state"] == "failed"
    assert all(set(stage) == STAGE_KEYS for stage in values["stages"].values())
    outcomes = {name: stage["outcome"] for name, stage in values["stages"].items()}
    assert (outcomes["train@gan"], outcomes["select"]) == ("ran", "failed")

    resumed = genai(fresh, "runs", "resume", values["run"], "--json", api_url=server.url)
    assert resumed.returncode == 0, resumed.stderr
    again = document(resumed)
    assert list(again) == RUN_KEYS
    assert (again["run"], again["state"], again["snapshot"]) == (values["run"], "completed", values["snapshot"])
    assert again["stages"]["select"]["outcome"] == "ran"
    (shown,) = document(genai(fresh, "runs", "--json"))
    assert shown["stages"] == again["stages"]
    assert "select" in resumed.stderr


def test_run_that_cannot_start(fresh: Path) -> None:
    answer = genai(fresh, "run", "trian", "--json")
    assert answer.returncode == 2
    assert list(document(answer)) == ["error"]
    assert document(answer)["error"] == answer.stderr.strip().splitlines()[-1]
    missing = genai(fresh, "runs", "show", "none", "--json")
    assert (missing.returncode, document(missing)) == (2, {"error": "no run matches 'none'; `genai runs` lists them"})


@DVC_WARNS
def test_check_for_new_data(done: Path) -> None:
    shell(done, "git add -A && git commit -q -m done")
    answer = genai(done, "watch", "--once", "--json")
    assert answer.returncode == 3, answer.stderr
    values = document(answer)
    (line,) = [
        line for line in (done / "data/raw.dvc").read_text().splitlines() if "md5:" in line and "hash" not in line
    ]
    assert values == {
        "is_new": True,
        "production": None,
        "production_data": None,
        "newest_data": line.split()[-1],
        "commit": shell(done, "git rev-parse HEAD").strip(),
        "where": "this checkout",
        "source": None,
        "told": None,
        "warnings": [],
    }
    lost = genai(done, "watch", "--once", "--json", "--source", "nowhere")
    assert lost.returncode == 2
    assert list(document(lost)) == ["error"]
