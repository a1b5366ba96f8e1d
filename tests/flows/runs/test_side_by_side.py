"""Runs at the same time: two of one workspace, and two that each have a temporary Prefect server."""

import re
from pathlib import Path

import pytest

from tests.flows.conftest import Server, diary, edit, ended, genai, processes_in, started_genai, wait_for


def test_two_simultaneous_runs_of_one_workspace(fresh: Path, server: Server) -> None:
    """Both have the same jobs: the first does them, the second waits and restores the results."""
    go = fresh.parent / "go"
    toy = {"train@gan": {"until": str(go)}}
    with started_genai(fresh, "run", api_url=server.url, toy=toy) as first:
        wait_for(lambda: diary(fresh, "train@gan"))
        with started_genai(fresh, "run", api_url=server.url, toy=toy) as second:
            wait_for(lambda: len(list(fresh.glob(".genai/runs/*/logs/train@gan.log"))) == 2)
            go.touch()
            (status, output), (other_status, other_output) = ended(first, 60.0), ended(second, 60.0)
    assert status == other_status == 0, output + other_output
    by_age = [line.split()[0] for line in genai(fresh, "runs").stdout.splitlines()[1:]]
    waits = f"waits for run {by_age[0]}, which is doing the same"
    assert f"train@gan       {waits}" in other_output.splitlines()
    assert genai(fresh, "logs", "train@gan", "--run", by_age[1]).stdout.splitlines() == [waits]
    assert "waits for run" not in output
    assert re.search(r"train@gan +(✓ restored in|· kept)", other_output)
    assert {len(diary(fresh, stage)) for stage in ("prepare", "train@gan", "train@diffusion", "select")} == {1}


@pytest.mark.long
def test_two_simultaneous_temporary_servers(fresh: Path, done: Path, tmp_path: Path) -> None:
    """Without a configured server a run works the same, leaves no server behind, and does not disturb another's."""
    home = str(tmp_path / "prefect")
    edit(done / "dvc.yaml", "python work.py out/train", "python -u work.py out/train")
    with started_genai(fresh, "run", PREFECT_HOME=home) as other:
        answer = genai(done, "run", PREFECT_HOME=home)
        status, output = ended(other, 60.0)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert answer.stdout.splitlines()[0] == "5 stages: 1 to run, 4 to keep"
    assert re.search(r"select +✓ ran in", answer.stdout)
    assert answer.stderr == ""
    assert status == 0, output
    assert processes_in(done) == processes_in(fresh) == processes_in(tmp_path) == []
