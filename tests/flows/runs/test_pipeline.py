"""The flow on toy workspaces with a real Prefect server: execution, reports, failures, and going on after them."""

import re
import shutil
from pathlib import Path
from typing import Any

from flows.plan import plan_of
from flows.runs.record import read_runs
from genai_core.config import MACHINE_FAULT, NEEDS_MANUAL_ACTION
from tests.flows.conftest import DVC_WARNS, Server, diary, edit, genai, parameter, processes_in, set_parameter, shell
from tests.flows.runs.places import locked

CACHED = dict.fromkeys(("data/raw.dvc", "prepare", "train@diffusion", "train@gan", "select"), "Cached")


def upstream_of(task_run: dict[str, Any], task_runs: dict[str, Any]) -> set[str]:
    """The upstream task runs of a task run, as shown on Prefect's pages."""
    names = {run["id"]: name for name, run in task_runs.items()}
    return {names[item["id"]] for items in task_run["task_inputs"].values() for item in items if "id" in item}


def span(workspace: Path, stage: str) -> tuple[float, float]:
    """When the stage's command last began and ended."""
    return diary(workspace, stage, "start")[-1]["at"], diary(workspace, stage, "end")[-1]["at"]


def test_a_run_and_a_second_one(fresh: Path, done: Path, server: Server) -> None:
    notes = fresh / ".genai/toy"
    toy = {
        "train@gan": {"until": str(notes / "train@diffusion")},
        "train@diffusion": {"until": str(notes / "train@gan")},
    }
    answer = genai(fresh, "run", api_url=server.url, toy=toy)
    assert answer.returncode == 0, answer.stdout + answer.stderr

    # Without a terminal: lines, each with its stage.
    lines = answer.stdout.splitlines()
    assert lines[0] == "5 stages: 4 to run, 1 to keep"
    shown = [line for line in lines if line.startswith("train@gan")]
    assert shown[0].split() == ["train@gan", "started"]
    assert "train@gan       | train@gan begins" in shown
    assert "train@gan       | > train@gan quotes somebody" in shown  # in DVC's style, but printed by the stage
    assert re.fullmatch(r"train@gan +✓ ran in \d+\.\d s", shown[-1])
    assert not [
        line
        for line in lines
        if "Running stage" in line or "> python" in line or "lock file" in line or "git add" in line
    ]

    # dvc.lock and files equal those of `dvc repro`.
    assert locked(fresh) == locked(done)
    assert shell(fresh, "dvc status").strip() == "Data and pipelines are up to date."

    # Branches run in parallel, after their upstream stages.
    (gan_began, gan_ended), (other_began, other_ended) = span(fresh, "train@gan"), span(fresh, "train@diffusion")
    assert max(gan_began, other_began) < min(gan_ended, other_ended)
    assert span(fresh, "prepare")[1] < min(gan_began, other_began)
    assert span(fresh, "select")[0] > max(gan_ended, other_ended)
    assert diary(fresh, "train@gan")[0]["devices"] == ""

    # Pages at the server.
    (flow_run,) = server.flow_runs(fresh)
    assert flow_run["state"]["type"] == "COMPLETED"
    task_runs = server.task_runs(flow_run)
    assert {name: run["state"]["name"] for name, run in task_runs.items()} == {
        **dict.fromkeys(CACHED, "Completed"),
        "data/raw.dvc": "Cached",
    }
    waits = {name: upstream_of(run, task_runs) for name, run in task_runs.items()}
    assert waits == {
        "data/raw.dvc": set(),
        "prepare": {"data/raw.dvc"},
        "train@gan": {"prepare"},
        "train@diffusion": {"prepare"},
        "select": {"train@gan", "train@diffusion"},
    }
    messages = [entry["message"] for entry in server.logs(task_runs["train@gan"])]
    assert "because: never run here" in messages
    assert "train@gan did 1 steps" in messages
    begins = next(e["timestamp"] for e in server.logs(task_runs["train@gan"]) if e["message"] == "train@gan begins")
    assert begins < task_runs["train@gan"]["end_time"]
    progress = {artifact["key"]: artifact for artifact in server.artifacts(flow_run) if artifact["type"] == "progress"}
    assert {"progress-train-gan", "progress-train-diffusion"} <= progress.keys()
    assert progress["progress-train-gan"]["data"] == 100.0
    assert progress["progress-train-gan"]["task_run_id"] == task_runs["train@gan"]["id"]

    # Again: nothing runs, and the server shows it.
    answer = genai(fresh, "run", api_url=server.url)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert answer.stdout.splitlines()[0] == "5 stages: 5 to keep"
    assert server.states(server.flow_runs(fresh)[-1]) == CACHED
    assert len(diary(fresh, "train@gan")) == 1


def test_restored_stages_and_a_part_of_the_pipeline(done: Path, server: Server) -> None:
    shutil.rmtree(done / "out")
    shutil.rmtree(done / "data" / "raw")
    answer = genai(done, "run", "train@gan", api_url=server.url)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    lines = answer.stdout.splitlines()
    assert lines[0] == "3 stages: 3 to restore"
    for stage in ("data/raw.dvc", "prepare", "train@gan"):
        assert any(re.match(rf"{stage} +✓ restored in", line) for line in lines), lines
    assert not (done / "out" / "train" / "diffusion").exists()
    assert (done / "data" / "raw" / "0.txt").exists()
    (flow_run,) = server.flow_runs(done)
    task_runs = server.task_runs(flow_run)
    assert {name: (run["state"]["name"], run["state"]["message"]) for name, run in task_runs.items()} == dict.fromkeys(
        ("data/raw.dvc", "prepare", "train@gan"), ("Cached", "restored from the cache")
    )


@DVC_WARNS
def test_a_frozen_stage_and_a_pipeline_in_a_subfolder(done: Path, server: Server) -> None:
    edit(done / "dvc.yaml", "      desc: Train", "      frozen: true\n      desc: Train")
    edit(done / "dvc.yaml", "cmd: python work.py out/train ", "cmd: python -B work.py out/train ")
    (done / "more").mkdir()
    (done / "more" / "dvc.yaml").write_text(
        "stages:\n  last:\n    cmd: cp ../out/selected last && echo copied\n"
        "    deps: [../out/selected]\n    outs: [last]\n"
    )
    set_parameter(done, "data.image_size", 8)
    before = locked(done)
    answer = genai(done, "run", api_url=server.url)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    after = locked(done)
    changed = [name for name in before if before[name] != after[name]]
    assert changed == ["prepare", "select"]  # the frozen stage is kept, and nothing is reported as missing
    assert "only in DVC's cache" not in answer.stdout + answer.stderr
    assert (done / "more" / "last").read_bytes() == (done / "out" / "selected").read_bytes()
    assert genai(done, "logs", "more/dvc.yaml:last").stdout == "copied\n"
    # DVC ignores the inputs of frozen stages; everything else is up to date.
    assert [entry.action for entry in plan_of(done, []).stages] == ["keep"] * 6


def test_failing_stages(fresh: Path, server: Server) -> None:
    """A fault that needs manual action, one of the machine, one that a retry fixes, a timeout; a branch succeeds."""
    for model in ("flaky", "slow", "full"):
        set_parameter(fresh, f"models.{model}", parameter(fresh, "models.gan"))
    edit(fresh / "dvc.yaml", "timeout_s: 600", 'timeout_s: "${item.training.batch_images}"')
    for model in ("gan", "diffusion", "flaky", "full"):
        set_parameter(fresh, f"models.{model}.training.batch_images", 600)
    set_parameter(fresh, "models.slow.training.batch_images", 5)
    toy = {
        "train@gan": {"exit": NEEDS_MANUAL_ACTION},
        "train@full": {"exit": MACHINE_FAULT},
        "train@flaky": {"exit": 3, "failures": 1},
        "train@slow": {"seconds": 60.0, "child": True},
    }
    answer = genai(fresh, "run", api_url=server.url, toy=toy)
    assert answer.returncode == 1, answer.stdout + answer.stderr
    assert "Traceback" not in answer.stdout + answer.stderr

    (flow_run,) = server.flow_runs(fresh)
    assert server.states(flow_run) == {
        "data/raw.dvc": "Cached",
        "prepare": "Completed",
        "train@diffusion": "Completed",
        "train@flaky": "Completed",
        "train@full": "Failed",
        "train@gan": "Failed",
        "train@slow": "Failed",
        "select": "NotReady",
    }
    assert [len(diary(fresh, f"train@{name}")) for name in ("gan", "full", "flaky", "slow")] == [1, 2, 2, 2]
    assert processes_in(fresh) == []
    (record,) = read_runs(fresh)
    failed = {name: stage.not_executed for name, stage in record.stages.items() if stage.outcome == "failed"}
    why = "status 74; its last line: train@full: the reason is clear"
    assert failed == {"train@gan": None, "train@slow": None, "train@full": why}

    summary = answer.stderr
    assert summary == flow_run["state"]["message"].join(["\n", "\n"])
    assert "failed: train@gan, train@slow, train@full; not run because of that: select" in summary
    assert summary.count("train@gan: the reason is clear") == 1
    assert "stage train@gan failed (status 2)" in summary
    assert "stage train@slow" in summary
    assert "5 s, its time limit" in summary
    assert "train@slow begins" in summary
    assert "flaky" not in summary
    assert any(re.match(r"select +- skipped", line) for line in answer.stdout.splitlines())

    # The next run continues from there.
    set_parameter(fresh, "models.slow.training.batch_images", 600)
    answer = genai(fresh, "run", api_url=server.url)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert answer.stdout.splitlines()[0] == "8 stages: 4 to run, 4 to keep"
    assert len(diary(fresh, "train@diffusion")) == 1


def test_nothing_to_do_starts_no_server(done: Path, tmp_path: Path) -> None:
    home = tmp_path / "prefect"
    answer = genai(done, "run", PREFECT_HOME=str(home), PYTHONPROFILEIMPORTTIME="1", forked=False)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout == "5 stages: 5 to keep\n"
    imported = {line.rpartition("|")[2].strip() for line in answer.stderr.splitlines()}
    assert "dvc.repo" in imported
    assert not {name for name in imported if name.partition(".")[0] in ("prefect", "torch", "pandas")}
    assert not home.exists()


def test_an_empty_dvc_lock_is_repaired(done: Path) -> None:
    before = (done / "dvc.lock").read_bytes()
    shell(done, "git add dvc.lock && git commit -q -m lock")
    (done / "dvc.lock").write_bytes(b"")
    answer = genai(done, "run")
    assert answer.returncode == 0
    assert answer.stderr.startswith("dvc.lock was empty (an interrupted write); restored the committed one")
    assert "5 to keep" in answer.stdout
    assert (done / "dvc.lock").read_bytes() == before


def test_the_users_files(done: Path, server: Server) -> None:
    """Files that a run overwrites are named before any stage runs; then only the run's results differ in git."""
    (done / ".gitignore").write_text(".genai/\n/data/raw\n/out/prepared/\n/out/train/\n/out/selected\n")
    shell(done, "git add -A && git commit -q -m trained")
    (done / "out/prepared/notes.txt").write_text("mine")
    set_parameter(done, "data.test_share", 0.3)
    shell(done, "git commit -q -a -m share")
    answer = genai(done, "run", api_url=server.url)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    lines = answer.stdout.splitlines()
    said = next(
        i for i, line in enumerate(lines) if line.startswith("out/prepared was changed by hand (1 file added): a")
    )
    assert said < next(i for i, line in enumerate(lines) if line.startswith("prepare"))
    # The folder did not exist for a while: DVC must still find the pattern that ignores it.
    shutil.rmtree(done / "out/prepared")
    assert genai(done, "run", api_url=server.url).returncode == 0
    changed = [line[3:] for line in shell(done, "git status --porcelain").splitlines()]
    assert [path for path in changed if not path.startswith(("dvc.lock", "metrics/"))] == []
