"""`genai search` from beginning to end, on a toy pipeline."""

import json
from pathlib import Path

from tests.flows.conftest import DVC_WARNS, Server, genai, parameter, shell, started_genai, wait_for
from tests.flows.search.home import PRUNING, RATE, WIDTH, new_home, search, started

pytestmark = DVC_WARNS


def test_trials_are_experiments_and_the_winner_is_measured_again(tmp_path: Path, server: Server) -> None:
    home = new_home(tmp_path / "home")
    status, said = search(home, "--trials=3", "--json", api_url=server.url)
    assert status == 0, said
    values = json.loads(said[said.index("{\n") : said.rindex("}") + 1])
    trials = values["trials"]
    assert [trial["state"] for trial in trials] == ["complete"] * 3
    assert trials[0]["present"]
    assert trials[0]["values"] == {RATE: 0.001, WIDTH: 24}
    # What all trials share ran once; the reference once more, for the seeds that no trial used.
    assert [started(home, stage) for stage in ("prepare", "reference", "train@gan")] == [1, 2, 3]

    best = min(trials, key=lambda trial: trial["distance"])
    assert values["best"] == best["number"]
    again = values["fresh"][str(best["number"])]
    assert again["distance"] == best["distance"] + 0.25  # the toy's figures with other seeds
    assert again["held_out"] == best["held_out"] + 0.25
    assert "Measured again" in Path(values["page"]).read_text()

    experiments = _experiments(home)
    assert experiments == {f"{values['study']}-{trial['number']}": trial["distance"] for trial in trials}
    name = f"{values['study']}-{trials[1]['number']}"
    shell(home, f"dvc exp apply {name}")
    assert parameter(home, RATE) == trials[1]["values"][RATE]
    assert json.loads((home / "metrics/trained/gan.json").read_text())["fd_classifier"] == trials[1]["distance"]

    # What a search leaves: no checkout, and nothing to do for the same number of trials.
    assert not list((home / ".genai/worktrees").glob("search-*"))
    shell(home, "git checkout -q . && git clean -fdq")
    status, said = search(home, "--trials=3", api_url=server.url)
    assert status == 0, said
    assert "has 3 trials already; --trials 13 continues it" in said
    assert "measuring" not in said
    assert started(home, "train@gan") == 3

    # Applied, the winner's model comes from the cache.
    answer = genai(home, "search", "apply", str(trials[2]["number"]))
    assert answer.returncode == 0, answer.stderr
    assert parameter(home, WIDTH) == trials[2]["values"][WIDTH]
    planned = json.loads(genai(home, "plan", "evaluate@gan", "--json").stdout)
    assert {stage["stage"]: stage["action"] for stage in planned}["train@gan"] == "restore"


def test_a_trial_that_falls_behind_is_ended_and_one_that_fails_is_not_fatal(tmp_path: Path, server: Server) -> None:
    space = {RATE: {"choices": [0.001, 0.1, 0.01]}}
    home = new_home(tmp_path / "home", space=space, pruning=PRUNING, sampler="random")
    status, said = search(home, "--trials=3", "--json", api_url=server.url)
    assert status == 0, said
    values = json.loads(said[said.index("{\n") : said.rindex("}") + 1])
    states = {trial["values"][RATE]: trial["state"] for trial in values["trials"]}
    assert states == {0.001: "complete", 0.1: "failed", 0.01: "pruned"}
    assert "not finite" in next(trial["fault"] for trial in values["trials"] if trial["state"] == "failed")
    experiments = _experiments(home)
    distances = {trial["number"]: experiments[f"{values['study']}-{trial['number']}"] for trial in values["trials"]}
    assert distances == {trial["number"]: trial["distance"] for trial in values["trials"]}  # None of an early end


def test_a_killed_search_continues_the_same_trial(tmp_path: Path, server: Server) -> None:
    home, go = new_home(tmp_path / "home", pruning={**PRUNING, "first_share": 0.5}), tmp_path / "go"
    variables = {"DIARY": str(tmp_path / "diary"), "TOY_WAITS_FOR": str(go)}
    with started_genai(home, "search", "--trials=2", api_url=server.url, **variables) as process:
        wait_for(lambda: (tmp_path / "diary").is_file() and started(home, "train@gan"))
        status, said = search(home, "--trials=2", api_url=server.url)
        assert status == 2
        assert "another search of the study" in said
        process.kill()
    go.touch()
    status, said = search(home, "--trials=2", "--json", api_url=server.url, TOY_WAITS_FOR=str(go))
    assert status == 0, said
    assert "resumes 1 interrupted one" in said
    values = json.loads(said[said.index("{\n") : said.rindex("}") + 1])
    assert [trial["number"] for trial in values["trials"]] == [0, 1]
    assert values["trials"][0]["state"] == "complete"


def _experiments(home: Path) -> dict[str, float | None]:
    """The distance of each experiment, by name."""
    rows = json.loads(shell(home, "dvc exp show --json"))
    found = {}
    for entry in rows[1]["experiments"] or []:
        (state,) = entry["revs"]
        metrics = state["data"]["metrics"].get("metrics/trained/gan.json", {}).get("data", {})
        found[state["name"]] = metrics.get("fd_classifier")
    return found
