"""Votes on disk: many writers, a kill in the middle of a line, lines that are no votes, and the table."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from flows.registry.votes import VOTES, Vote, VotedModel, Votes, add_vote, read_votes, reference_of, table_of
from tests.flows.conftest import ROOT, genai, shell

OLD = VotedModel("prod", "v0.0.1", "a" * 64, "gan", {"truncation": 1.0})
NEW = VotedModel("candidate", None, "b" * 64, "gan", {"truncation": 1.0})
VOTE = Vote("0" * 32, "2026-01-02T03:04:05+00:00", "ann", "left", "cat", 7, NEW, OLD)


def test_votes_come_back_as_they_were(tmp_path: Path) -> None:
    assert read_votes(tmp_path).votes == ()
    votes = [replace(VOTE, id=f"{number:032x}", answer=answer) for number, answer in enumerate(("left", "skip", "tie"))]
    for vote in votes:
        add_vote(tmp_path, vote)
    assert read_votes(tmp_path).votes == tuple(votes)


def test_a_vote_that_a_kill_cut_short_spoils_no_other(tmp_path: Path) -> None:
    add_vote(tmp_path, VOTE)
    line = (tmp_path / VOTES).read_bytes()
    (tmp_path / VOTES).write_bytes(line + line[:40])
    add_vote(tmp_path, replace(VOTE, id="1" * 32))
    found = read_votes(tmp_path)
    assert [vote.id for vote in found.votes] == ["0" * 32, "1" * 32]
    assert found.faulty_lines == 1


@pytest.mark.parametrize(
    "change", [{"answer": "both"}, {"at": "yesterday"}, {"left": {"name": "x"}}, {"extra": 1}, {"left": None}]
)
def test_lines_that_are_no_votes_are_counted(tmp_path: Path, change: dict) -> None:
    add_vote(tmp_path, VOTE)
    values = json.loads((tmp_path / VOTES).read_text())
    with (tmp_path / VOTES).open("a") as file:
        file.write(json.dumps({**values, "id": "2" * 32, **change}) + "\n[]\nnull\n")
    found = read_votes(tmp_path)
    assert (len(found.votes), found.faulty_lines) == (1, 3)


def test_a_vote_in_two_files_counts_once(tmp_path: Path) -> None:
    add_vote(tmp_path, VOTE)
    (tmp_path / VOTES).write_bytes((tmp_path / VOTES).read_bytes() * 2)
    assert len(read_votes(tmp_path).votes) == 1


def test_many_processes_write_at_once(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from dataclasses import replace\n"
        "from flows.registry.votes import add_vote; from tests.flows.registry.test_votes import VOTE\n"
        "for number in range(50): add_vote(Path(sys.argv[1]), replace(VOTE, id=f'{sys.argv[2]}{number:031x}'))"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    writers = [subprocess.Popen([*command, f"{number}"], cwd=ROOT) for number in range(3)]
    assert [writer.wait(60.0) for writer in writers] == [0, 0, 0]
    found = read_votes(tmp_path)
    assert (len(found.votes), found.faulty_lines) == (150, 0)


def test_skipped_votes_make_no_reference(tmp_path: Path) -> None:
    shell(tmp_path, "git init -q && git commit -q --allow-empty -m first")
    third = replace(NEW, sha256="f" * 64)
    skipped = [replace(VOTE, id=f"{number:032x}", answer="skip", left=third, right=OLD) for number in range(3)]
    voted = replace(VOTE, id="9" * 32, answer="left", left=NEW, right=OLD)
    assert reference_of(tmp_path, Votes(tuple(skipped))) is None
    found = Votes((*skipped, replace(voted, right=replace(OLD, sha256="0" * 64))))
    assert reference_of(tmp_path, found) == "0" * 64


def test_the_table_and_the_command(tmp_path: Path) -> None:
    shell(tmp_path, "git init -q && git commit -q --allow-empty -m first")
    assert "no votes yet" in genai(tmp_path, "serve", "votes").stdout
    for number in range(30):
        answer = "skip" if number == 0 else "tie" if number == 1 else "left" if number % 2 else "right"
        sides = {"left": NEW, "right": OLD} if number % 2 else {"left": OLD, "right": NEW}  # all for the new one
        add_vote(tmp_path, replace(VOTE, id=f"{number:032x}", answer=answer, **sides))
    votes = read_votes(tmp_path)
    table = table_of(votes, reference_of(tmp_path, votes))
    assert table["reference"] == OLD.sha256
    assert [model["name"] for model in table["models"]] == ["candidate", "v0.0.1"]
    best = table["models"][0]
    assert (best["wins"], best["losses"], best["ties"]) == (28, 0, 1)
    assert 0.79 < best["preference"]["low"] < best["preference"]["value"] < 1
    assert (table["votes"], table["skipped"], table["voters"]) == (30, 1, {"ann": 30})
    answer = genai(tmp_path, "serve", "votes", "--json")
    assert json.loads(answer.stdout) == table, answer.stderr
    text = genai(tmp_path, "serve", "votes").stdout
    assert "the reference" in text
    assert "30 votes, 1 of them skipped" in text
