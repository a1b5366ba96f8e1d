"""The retraining on a toy pipeline with the real git, DVC and Prefect: what becomes of production, and why."""

import json
from pathlib import Path
from typing import Any

from flows.dvc_lock import lock_at
from flows.git import commit_of, git
from flows.registry.read import MODEL
from flows.registry.votes import Vote, VotedModel, add_vote
from tests.flows.conftest import DVC_WARNS, Server, edit, ended, genai, set_parameter, shell, started_genai, wait_for
from tests.flows.model_home import git_remote, production
from tests.flows.retrain_home import last, put, retrain, setting, started, track, variables
from tests.flows.web_servers import site

pytestmark = DVC_WARNS


def test_the_first_model(home: Path) -> None:
    assert production(home) == "v0.0.1"
    assert last(home)["result"] == "promoted"
    # The branch that people work on has it; no checkout is left, and nothing of the working tree was touched.
    assert shell(home, "git log -1 --format=%s").startswith("Retrained: v0.0.1 is in production")
    assert shell(home, "git status --porcelain") == ""
    assert list((home / ".genai/worktrees").iterdir()) == []
    assert not (home / "models").exists()
    assert "candidate@v0.0.1" in shell(home, "git tag --list")
    assert "samples/batch" in (home / "dvc.lock").read_text()


def test_nothing_new_is_told_without_a_server(home: Path, tmp_path: Path) -> None:
    prefect_home = tmp_path / "prefect"
    status, said = retrain(home, PREFECT_HOME=str(prefect_home))
    assert status == 0
    answer = genai(home, "retrain", "--json", PREFECT_HOME=str(prefect_home), **variables(home))
    assert json.loads(answer.stdout) == {
        "result": "skipped",
        "action": "skip",
        "reasons": ["production was trained on this data"],
        "production": "v0.0.1",
        "before": None,
        "branch": None,
    }
    assert "nothing to do:\n  production was trained on this data" in said
    assert not prefect_home.exists()
    assert started(home) == []


def test_images_that_production_skipped_are_told(home: Path, server: Server) -> None:
    put(home, "second", 4, text="skipped")
    track(home)
    assert retrain(home, api_url=server.url)[0] == 0
    assert production(home) == "v0.0.2"
    status, said = retrain(home, api_url=server.url)
    assert status == 0
    assert "production was made from this data, but skipped 4 images of old classes: genai retrain --force" in said


def test_a_gate_that_nothing_can_pass_is_an_error_before_the_training(home: Path, server: Server) -> None:
    set_parameter(home, "selection.metric", "fd_self_supervised")
    setting(home, "extractor.kind", "self_supervised")
    status, said = retrain(home, "--plan")
    assert (status, started(home)) == (0, [])
    assert (
        'note: the gate would reject every candidate: the images have classes, so its rule "labels consistent"' in said
    )
    status, said = retrain(home, "--force", api_url=server.url)
    assert (status, started(home)) == (2, [])
    assert said.rstrip().splitlines()[-1].startswith("the gate would reject every candidate")
    assert (production(home), last(home)["result"]) == ("v0.0.1", "failed")


def test_good_data_bad_data_and_a_rollback(home: Path, server: Server) -> None:
    """One life: fine-tuned and promoted beside a person's changes; rejected; not tried again; rolled back."""
    put(home, "second", 4)
    track(home, commit=False)
    edit(home / "tasks/stage.py", '"""The stages', '"""Somebody is at work here: the stages')
    answer = genai(home, "retrain", "--plan", "--json", api_url=server.url, **variables(home))
    said = answer.stderr
    assert answer.returncode == 0, said
    assert "decision: finetune: 21.1% of the images are new or removed" in said
    planned = json.loads(answer.stdout)
    assert (planned["result"], planned["action"], planned["production"]) == ("planned", "finetune", "v0.0.1")
    assert planned["reasons"][0].startswith("21.1% of the images are new or removed")
    assert started(home) == ["prepare"]
    status, said = retrain(home, api_url=server.url)
    assert status == 0, said
    assert "not committed, so not used: tasks/stage.py" in said
    assert "resumes retrain/" in said
    assert started(home) == ["finetune", "candidate", "generate"]  # production went on: nothing was trained anew
    assert production(home) == "v0.0.2"
    # What the person changed is there, the rest of the branch has come; the data that were added are committed.
    assert shell(home, "git status --porcelain").split() == ["M", "tasks/stage.py"]
    assert shell(home, "git log -1 --format=%s").startswith("Retrained: v0.0.2")
    assert "start: base" in (home / "params.yaml").read_text()
    shell(home, "git checkout -q tasks/stage.py")

    put(home, "second", 4, text="bad")
    put(home, "third", 4, text="bad")
    track(home)
    commit = shell(home, "git rev-parse HEAD")
    answer = genai(home, "retrain", "--json", api_url=server.url, **variables(home))
    status, said = answer.returncode, answer.stderr
    assert status == 3, said
    values = json.loads(answer.stdout)
    assert (values["result"], values["production"]) == ("rejected", "v0.0.2")
    assert values["branch"] == last(home)["branch"]
    recorded = shell(home, f"git log -1 --format='%(trailers:key=Action,valueonly)' {values['branch']}").strip()
    assert values["action"] == recorded == "train"
    assert "error" not in values
    assert "rejected: not worse: distance 1.286 against 1; difference +0.2857" in said
    assert "worse than by chance" in said
    assert "Production is unchanged: v0.0.2" in said
    assert (production(home), shell(home, "git rev-parse HEAD")) == ("v0.0.2", commit)
    branch = last(home)["branch"]
    kept = shell(home, f"git log -1 --format=%B {branch}")
    assert "NO   not worse: distance 1.286 against 1" in kept
    assert list((home / ".genai/worktrees").iterdir()) == []
    started(home)

    run = server.flow_runs(home)[-1]
    assert run["state"]["name"] == "Rejected"
    pages = {artifact["key"]: artifact for artifact in server.artifacts(run)}
    assert {"decision", "gate", "retraining"} <= pages.keys()

    # Not by the commit: an edit that shapes no result is no reason to try again, here or in another clone.
    shell(home, "echo edited >> README.md && git add README.md && git commit -q -m edited")
    status, said = retrain(home, api_url=server.url)
    assert status == 0
    assert "this data was tried" in said
    git_remote(home)
    clone = home.parent / "clone"
    shell(home, f"git push -q origin --tags && git clone -q {home.parent / 'origin.git'} {clone}")
    shell(home, f"git push -q origin {branch}")
    assert "this data was tried" in retrain(clone)[1]
    assert started(home) == []
    shell(home, "git remote remove origin")

    assert genai(home, "rollback", "-m", "greyish").returncode == 0
    assert production(home) == "v0.0.1"
    # The way from the fine-tuned model goes on through the champion to what that was made of.
    answer = genai(home, "lineage", "v0.0.2")
    assert "─ model models/base" in answer.stdout, answer.stderr
    assert "─ model models/trained/gan" in answer.stdout


def approval_pages(server: Server, flow_run: dict[str, Any]) -> list[str]:
    """What the one who approves sees, oldest first."""
    ours = {"flow_run_id": {"any_": [flow_run["id"]]}, "key": {"any_": ["approval"]}}
    return [page["data"] for page in server.post("artifacts/filter", artifacts=ours, sort="UPDATED_DESC")[::-1]]


def vote_for_the_candidate(home: Path) -> None:
    """The weights are those of toy/retraining/tasks/compare_models.py."""
    candidate, champion = (
        VotedModel(name, None, digit * 64, "gan", {}) for name, digit in (("new", "0"), ("prod", "1"))
    )
    add_vote(home, Vote("0" * 32, "2030-01-01T00:00:00+00:00", "ann", "left", None, 1, candidate, champion))


def test_a_person_has_the_last_word(home: Path, server: Server) -> None:
    setting(home, "gate.approval", "human")
    setting(home, "gate.approval_timeout_s", 120)
    setting(home, "notify.webhook", "environment")
    put(home, "second", 4)
    track(home)
    wanted = variables(home)
    del wanted["timeout"]
    with site() as hook:
        wanted["GENAI_WEBHOOK_URL"] = f"http://127.0.0.1:{hook.port}"
        with started_genai(home, "retrain", api_url=server.url, **wanted) as process:
            wait_for((home / ".genai/retrain/waiting.json").exists, 120.0)
            wait_for(lambda: server.flow_runs(home)[-1]["state"]["type"] == "PAUSED", 60.0)
            run = server.flow_runs(home)[-1]
            assert "none yet; vote: genai serve --blind" in approval_pages(server, run)[-1]
            vote_for_the_candidate(home)
            wait_for(lambda: "1 vote, 75% prefer the candidate" in approval_pages(server, run)[-1], 30.0)
            answer = genai(home, "approve", "no", "-m", "too grey")
            assert answer.returncode == 0, answer.stderr
            status, said = ended(process, 120.0)
    assert status == 3, said
    waiting, rejected = (json.loads(got.body) for got in hook.got)
    assert (waiting["kind"], waiting["title"]) == ("waiting", "May the candidate replace v0.0.1?")
    for part in ("Answer by 20", "genai approve yes", str(home), "not worse: distance 1 against 1"):
        assert part in waiting["text"]
    assert (rejected["kind"], rejected["facts"]["version"]) == ("rejected", "v0.0.1")
    assert "rejected: a person said no: too grey" in said
    assert production(home) == "v0.0.1"
    assert genai(home, "approve", "yes").returncode == 2

    setting(home, "gate.approval_timeout_s", 1)
    setting(home, "notify.webhook", None)
    status, said = retrain(home, "--force", api_url=server.url)
    assert status == 3, said
    assert "nobody answered within 1 s, which means no" in said


def test_what_keeps_a_retraining_from_starting(home: Path, server: Server) -> None:
    shell(home, "git checkout -q --detach")
    status, said = retrain(home)
    assert (status, "HEAD is detached" in said) == (2, True)
    shell(home, "git checkout -q main")
    model = lock_at(home, commit_of(home, "candidate@v0.0.1")).output(MODEL)
    assert model is not None
    (home / ".dvc/cache/files/md5" / model.md5[:2] / model.md5[2:]).unlink()
    status, said = retrain(home, "--force", api_url=server.url)
    assert (status, "genai rollback --to" in said) == (2, True), said
    assert production(home) == "v0.0.1"
    assert git(home, "status", "--porcelain") == ""
