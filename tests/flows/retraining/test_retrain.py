"""The retraining on a toy pipeline with the real git, DVC and Prefect: what becomes of production, and why."""

import json
import shutil
import signal
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from flows.dvc_lock import lock_at
from flows.git import commit_of, git
from flows.registry.interrupted import Delivery, write_delivery
from flows.registry.read import MODEL, read_registry
from flows.registry.votes import Vote, VotedModel, add_vote
from flows.registry.write import NewTag, add_tags
from flows.retraining import RetrainError, steps
from flows.retraining.facts import find_start_point, read_situation
from flows.retraining.records import read_records
from flows.retraining.steps import Work
from flows.retraining.worktree import Purpose, close_worktree, open_for_retraining, write_purpose
from flows.runs.checkout import open_worktree
from flows.services.doctor import examine
from genai_core.config import ConfigError
from tests.conftest import MadeOnce
from tests.flows.conftest import DVC_WARNS, Server, edit, ended, genai, set_parameter, shell, started_genai, wait_for
from tests.flows.model_home import git_remote, hook, production
from tests.flows.retrain_home import last, promoted_home, put, retrain, setting, started, track, variables
from tests.flows.web_servers import site

pytestmark = DVC_WARNS


@pytest.fixture
def home(made_once: MadeOnce, server: Server, tmp_path: Path) -> Path:
    """A home whose first model was trained and promoted by the retraining itself."""
    template = made_once("promoted", lambda folder: promoted_home(folder, server.url)) / "home"
    return Path(shutil.copytree(template, tmp_path / "home", symlinks=True))


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


def test_settings_that_no_few_step_model_of_a_base_may_have_are_found_before_the_first_run(home: Path) -> None:
    setting(home, "finetune.kind", "few_step")
    setting(home, "finetune.images", "new")  # allowed for the selected model, which knows all images
    situation = read_situation(home)
    tree = open_worktree(home, "HEAD", "retrain/x")
    purpose = Purpose(situation.start.commit, situation.start.raw, "v0.0.1", "finetune")
    with pytest.raises(ConfigError, match="finetune: images: got new; allowed: all with kind few_step"):
        steps.set_up.fn(Work(home, situation, tree, purpose))
    assert not (tree.folder / "models/base").exists()


def test_no_few_step_model_is_made_of_a_gan(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gan").mkdir()
    (tmp_path / "gan/config.json").write_text('{"family": "gan"}')
    monkeypatch.setattr(steps, "lay_out_champion", lambda *_: tmp_path / "gan")  # the toy's is of a diffusion model
    setting(home, "finetune.kind", "few_step")
    situation = read_situation(home)
    tree = open_worktree(home, "HEAD", "retrain/x")
    purpose = Purpose(situation.start.commit, situation.start.raw, "v0.0.1", "finetune")
    with pytest.raises(RetrainError, match=r"for diffusion models only, and v0\.0\.1 is none; set it to full or lora"):
        steps.set_up.fn(Work(home, situation, tree, purpose))
    assert not (tree.folder / "models/base").exists()


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


@pytest.mark.long
def test_killed_in_the_middle_and_two_at_once(home: Path, server: Server) -> None:
    put(home, "second", 4)
    track(home)
    slow = variables(home, {"finetune": 60.0})
    del slow["timeout"]
    with started_genai(home, "retrain", api_url=server.url, **slow) as first:
        diary = home.parent / "diary"
        wait_for(lambda: diary.exists() and "finetune" in diary.read_text(), 120.0)
        status, said = retrain(home, api_url=server.url)
        assert status == 2
        assert f"another retraining is already running here (process {first.pid})" in said
        assert len(said.splitlines()) <= 2
        first.kill()
    started(home)
    shell(home, "echo edited >> README.md && git add README.md && git commit -q -m edited")
    status, said = retrain(home, api_url=server.url)
    assert status == 0, said
    assert "resumes retrain/" in said
    assert "a finetune on this data was interrupted; resuming it" in said
    assert started(home) == ["finetune", "candidate", "generate"]
    assert production(home) == "v0.0.2"
    assert list((home / ".genai/worktrees").iterdir()) == []


def test_killed_between_promotion_and_merge(home: Path, server: Server) -> None:
    """Production has moved: the next one draws what was not drawn, writes down and merges what was not.

    It makes a few-step model: of production, after that has learned the new data.
    """
    setting(home, "finetune.kind", "few_step")
    put(home, "second", 4)
    track(home)
    slow = variables(home, {"generate": 60.0})
    del slow["timeout"]
    with started_genai(home, "retrain", api_url=server.url, **slow) as first:
        diary = home.parent / "diary"
        wait_for(lambda: diary.exists() and "generate" in diary.read_text(), 120.0)
        first.kill()
    assert started(home) == ["prepare", "finetune", "candidate", "finetune", "generate"]
    assert production(home) == "v0.0.2"
    made_by = shell(home, "git log -2 --format=%s candidate@v0.0.2")
    assert made_by.splitlines()[1].startswith("The teacher of a few-step model: v0.0.1, fine-tuned on data ")
    assert "  kind: few_step" in shell(home, "git show candidate@v0.0.2:params.yaml")
    # The toy's candidate has the weights of its base: each is a copy of the other, and the way ends.
    answer = genai(home, "lineage", "v0.0.2")
    assert "model models/base" in answer.stdout, answer.stderr
    (check,) = (check for check in examine(home) if check.name == "retraining")
    assert (check.status, check.todo) == ("warn", "genai retrain finishes it")
    assert check.found.startswith("v0.0.2 was promoted by a retraining that was killed before retrain/")
    status, said = retrain(home, "--plan")
    assert (status, "note: v0.0.2 was promoted by a retraining that was killed" in said) == (0, True), said
    # A checkout for newer data, such as a plan opens, does not replace the one that is not finished.
    start = replace(find_start_point(home), raw=f"{'f' * 32}.dir")
    worktree, purpose = open_for_retraining(home, start, "v0.0.2", date.today())
    close_worktree(home, worktree, purpose.base)

    # Killed once more, when the branch has just been merged: by a hook of git, whose parent is our own child.
    hook(home / ".git", "reference-transaction", _KILL_OURS)
    status, said = retrain(home, api_url=server.url)
    assert status == -signal.SIGKILL, said
    (home / ".git/hooks/reference-transaction").unlink()
    assert "v0.0.2" in shell(home, "git log -1 --format=%s main")
    assert started(home) == ["generate"]

    shell(home, "git checkout -q -f main")
    status, said = retrain(home, api_url=server.url)
    assert status == 0, said
    assert "production was trained on this data" in said
    assert (production(home), started(home)) == ("v0.0.2", [])
    assert list((home / ".genai/worktrees").iterdir()) == []
    merged = shell(home, "git log --format=%s main").splitlines()
    assert sum(line.startswith("Retrained: v0.0.2") for line in merged) == 1, merged
    assert [record.result for record in read_records(home)] == ["promoted", "promoted"]
    assert shell(home, "git status --porcelain") == ""
    assert {check.status for check in examine(home) if check.name == "retraining"} == {"ok"}


# The hook's shell is a child of `git merge`, and that is ours.
_KILL_OURS = """
if [ "$1" = committed ] && grep -q refs/heads/main; then
    kill -9 $(ps -o ppid= -p $PPID)
fi
"""


def test_rolled_back_before_the_next_one_could_finish_it(home: Path, server: Server) -> None:
    """As if killed right after the tags: what is no longer in production is neither announced nor merged."""
    tree = open_worktree(home, "HEAD", "retrain/x")
    write_purpose(tree, Purpose(commit_of(home), find_start_point(home).raw, "v0.0.1", "train"))
    shell(tree.folder, "git commit -q --allow-empty -m candidate")
    commit, main = commit_of(tree.folder), commit_of(home, "main")
    write_delivery(tree.folder, Delivery(commit, "main", 0.0, (), ()))
    tags = [NewTag(name, commit, "Promote") for name in ("candidate@v0.0.2", "candidate#prod#2")]
    add_tags(home, read_registry(home), tags, None)
    assert production(home) == "v0.0.2"
    assert genai(home, "rollback").returncode == 0

    status, said = retrain(home, api_url=server.url)
    assert status == 0, said
    assert "v0.0.2 is no longer in production (now: v0.0.1); retrain/x was not merged" in said
    assert "v0.0.2 is in production" not in said
    assert (production(home), commit_of(home, "main"), started(home)) == ("v0.0.1", main, [])
    assert list((home / ".genai/worktrees").iterdir()) == []
    assert git(home, "log", "-1", "--format=%s", "retrain/x").strip() == "Retrained: v0.0.2 was promoted"


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
