"""A retraining that was killed: the next one finishes it, once, whatever has happened since."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from flows.git import commit_of, git
from flows.registry.interrupted import Delivery, write_delivery
from flows.registry.read import read_registry
from flows.registry.write import NewTag, add_tags
from flows.retraining.facts import find_start_point
from flows.retraining.records import read_records
from flows.retraining.worktree import Purpose, close_worktree, open_for_retraining, write_purpose
from flows.runs.checkout import open_worktree
from flows.services.doctor import examine
from tests.flows.conftest import DVC_WARNS, Server, genai, shell, started_genai, wait_for
from tests.flows.model_home import hook, production
from tests.flows.retrain_home import put, retrain, setting, started, track, variables

pytestmark = DVC_WARNS


@contextmanager
def retraining_in(home: Path, stage: str, server: Server) -> Iterator["subprocess.Popen[str]"]:
    """A retraining that is in the middle of a stage."""
    slow = variables(home, {stage: 60.0})
    del slow["timeout"]
    with started_genai(home, "retrain", api_url=server.url, **slow) as process:
        diary = home.parent / "diary"
        wait_for(lambda: diary.exists() and stage in diary.read_text(), 120.0)
        yield process


@pytest.mark.long
def test_killed_in_the_middle_and_two_at_once(home: Path, server: Server) -> None:
    put(home, "second", 4)
    track(home)
    with retraining_in(home, "finetune", server) as first:
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
    with retraining_in(home, "generate", server) as first:
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
