"""The plan compared with what `dvc repro` then does, case by case, and its reasons."""

import json
import re
import shutil
from pathlib import Path

import pytest

from flows.graph import GraphError, open_repo, read_graph
from flows.plan import Plan, make_plan, plan_of
from tests.flows.conftest import DVC_WARNS, edit, genai, parameter, set_parameter, shell

pytestmark = DVC_WARNS

STAGES = ["data/raw.dvc", "prepare", "train@diffusion", "train@gan", "select"]
KEEP_ALL = dict.fromkeys(STAGES, "keep")

SAID_BY_DVC = {
    "run": re.compile(r"^(?:Running stage|Verifying data sources in stage:) '(.+?)'", re.MULTILINE),
    "restore": re.compile(r"^Stage '(.+?)' is cached - skipping run, checking out outputs", re.MULTILINE),
    "keep": re.compile(r"^(?:Stage )?'(.+?)' didn't change, skipping", re.MULTILINE),
}


def planned(workspace: Path, *targets: str) -> Plan:
    """The plan. Planning must change nothing in the workspace, including DVC's cache."""
    before = files_of(workspace)
    with open_repo(workspace) as repo:
        plan = make_plan(repo, read_graph(repo).up_to(targets))
    assert files_of(workspace) == before
    for entry in plan.stages:
        assert (entry.action == "keep") == (not entry.reasons), entry
    return plan


def files_of(workspace: Path) -> dict[str, tuple[int, bytes]]:
    found = (path for path in workspace.rglob("*") if path.is_file() and not path.is_symlink())
    return {
        str(path): (path.stat().st_mtime_ns, path.read_bytes())
        for path in found
        if workspace / ".dvc" / "tmp" not in path.parents
    }


def actions(plan: Plan) -> dict[str, str]:
    return {entry.stage: entry.action for entry in plan.stages}


def reproduced(workspace: Path) -> dict[str, str]:
    """What `dvc repro` did with each stage, from its output."""
    said = shell(workspace, "dvc repro 2>&1")
    return {name: action for action, pattern in SAID_BY_DVC.items() for name in pattern.findall(said)}


def confirmed(workspace: Path, **expected: str) -> Plan:
    """The plan, after checks that it is `expected` (else keep), that DVC does the same, and that all is kept then."""
    plan = planned(workspace)
    wanted = KEEP_ALL | {name.replace("_", "@"): action for name, action in expected.items() if name != "source"}
    wanted["data/raw.dvc"] = expected.get("source", "keep")
    assert actions(plan) == wanted, [entry for entry in plan.stages if entry.reasons]
    if wanted["data/raw.dvc"] == "restore":  # the flow asks `dvc checkout` for it; `dvc repro` would only fail
        shell(workspace, "dvc checkout -q data/raw.dvc")
        wanted = {**wanted, "data/raw.dvc": "keep"}
    assert reproduced(workspace) == wanted
    assert actions(planned(workspace)) == KEEP_ALL
    return plan


DOWN_FROM_PREPARE = {"prepare": "run", "train_gan": "run", "train_diffusion": "run", "select": "run"}


def test_never_run_then_all_kept(fresh: Path) -> None:
    plan = confirmed(fresh, **DOWN_FROM_PREPARE)
    assert plan["prepare"].reasons == ("never run here",)
    assert plan["select"].reasons[0] == "never run here"
    assert plan.count("run") == 4
    assert not plan.nothing_to_do
    assert planned(fresh).nothing_to_do
    assert actions(planned(fresh, "train@gan")) == dict.fromkeys(["data/raw.dvc", "prepare", "train@gan"], "keep")


def test_changed_parameter_runs_descendants_and_reverting_restores_them(done: Path) -> None:
    before = set_parameter(done, "models.gan.training.seed", 77)
    plan = confirmed(done, train_gan="run", select="run")
    assert plan["train@gan"].reasons == (f"params.yaml models.gan.training.seed: {before} -> 77",)
    assert plan["select"].reasons == ("upstream train@gan runs",)

    set_parameter(done, "models.gan.training.seed", before)
    plan = confirmed(done, train_gan="restore", select="restore")
    assert plan["train@gan"].reasons == (f"params.yaml models.gan.training.seed: 77 -> {before}",)
    (reason,) = plan["select"].reasons
    assert re.fullmatch(r"out/train: [0-9a-f]{8} -> [0-9a-f]{8}", reason)


def test_changed_and_reverted_parameter_of_the_first_stage(done: Path) -> None:
    size = set_parameter(done, "data.image_size", 64)
    background = list(set_parameter(done, "data.background", [0, 0, 9]))
    plan = confirmed(done, **DOWN_FROM_PREPARE)
    assert plan["prepare"].reasons == (
        f"params.yaml data.image_size: {size} -> 64",
        f"params.yaml data.background: {background} -> [0, 0, 9]",
    )
    set_parameter(done, "data.image_size", size)
    set_parameter(done, "data.background", background)
    confirmed(done, **dict.fromkeys(DOWN_FROM_PREPARE, "restore"))


def test_restored_stage_next_to_one_that_runs(done: Path) -> None:
    """`select` reads the folder that both write to. One branch is known in advance, the other is not."""
    before = set_parameter(done, "models.diffusion.training.seed", 77)
    set_parameter(done, "report.title", "of no stage of the toy")
    confirmed(done, train_diffusion="run", select="run")
    set_parameter(done, "models.diffusion.training.seed", before)
    set_parameter(done, "models.gan.training.seed", 78)
    plan = confirmed(done, train_diffusion="restore", train_gan="run", select="run")
    assert plan["select"].reasons == ("upstream train@gan runs",)


def test_changed_code_and_a_changed_command(done: Path) -> None:
    with (done / "work.py").open("a") as file:
        file.write("# more\n")
    plan = confirmed(done, **DOWN_FROM_PREPARE)
    assert re.fullmatch(r"work\.py: [0-9a-f]{8} -> [0-9a-f]{8}", plan["train@gan"].reasons[0])
    edit(done / "dvc.yaml", "python work.py out/train ", "python -u work.py out/train ")
    plan = confirmed(done, select="run")
    (reason,) = plan["select"].reasons
    assert reason == (
        "command: python work.py out/train --out out/selected -> python -u work.py out/train --out out/selected"
    )


def test_outputs_deleted_or_changed_by_hand_are_restored(done: Path) -> None:
    (done / "out" / "train" / "gan").unlink()
    plan = confirmed(done, train_gan="restore")
    assert plan["train@gan"].reasons == ("out/train/gan is not in the workspace",)

    (done / "out" / "prepared" / "a").write_text("by hand")
    (done / "out" / "selected").write_text("by hand")
    plan = confirmed(done, prepare="restore", select="restore")
    assert plan["prepare"].reasons == ("out/prepared was changed by hand",)
    assert plan["select"].reasons == ("out/selected was changed by hand",)

    (done / "metrics" / "gan.json").unlink()  # not in DVC's cache but in its run-cache
    confirmed(done, train_gan="restore")

    shutil.rmtree(done / "out")
    confirmed(done, **dict.fromkeys(DOWN_FROM_PREPARE, "restore"))


def test_outputs_missing_in_the_cache(done: Path) -> None:
    (done / "out" / "train" / "gan").unlink()
    shutil.rmtree(done / ".dvc" / "cache" / "runs")
    for path in (done / ".dvc" / "cache" / "files").rglob("*"):
        if path.is_file() and path.read_bytes().startswith(b"train@gan"):
            path.unlink()
    plan = planned(done)
    assert plan["train@gan"].reasons == ("out/train/gan is not in cache",)
    assert actions(plan) == {**KEEP_ALL, "train@gan": "run", "select": "run"}
    assert reproduced(done) == {**KEEP_ALL, "train@gan": "run"}  # it made the same again, which no plan can know


def test_dvc_lock_that_is_being_written_is_read_again(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, lock = (done / "dvc.lock").read_text(), done / "dvc.lock"
    half = whole.replace("schema: '2.0'\n", "", 1)
    assert half != whole
    lock.write_text(half)
    monkeypatch.setattr("flows.plan.time.sleep", lambda _seconds: lock.write_text(whole))
    assert actions(plan_of(done, [])) == KEEP_ALL
    lock.write_text(half)
    monkeypatch.setattr("flows.plan.time.sleep", lambda _seconds: None)
    with pytest.raises(GraphError, match=r"dvc\.lock"):
        plan_of(done, [])


def test_without_dvc_lock_all_comes_from_the_run_cache(done: Path) -> None:
    (done / "dvc.lock").unlink()
    confirmed(done, **dict.fromkeys(DOWN_FROM_PREPARE, "restore"))


def test_a_changed_data_source_counts_its_files(done: Path) -> None:
    raw = done / "data" / "raw"
    (raw / "0.txt").write_text("another image")
    (raw / "2.txt").unlink()
    for name in ("7.txt", "8.txt"):
        (raw / name).write_text(name)
    (done / "out" / "prepared" / "a").write_text("by hand: no file of data/raw")
    plan = confirmed(done, source="run", **DOWN_FROM_PREPARE)
    (reason,) = plan["data/raw.dvc"].reasons
    assert reason == "data/raw: 2 files added, 1 file deleted, 1 file modified"
    assert plan["prepare"].reasons[0].startswith("data/raw: ")


def test_missing_data_comes_from_the_cache_or_is_an_error(done: Path) -> None:
    shutil.rmtree(done / "data" / "raw")
    plan = confirmed(done, source="restore")
    assert plan["data/raw.dvc"].reasons == ("data/raw is not in the workspace",)

    shutil.rmtree(done / "data" / "raw")
    shutil.rmtree(done / ".dvc" / "cache")
    with pytest.raises(GraphError, match=r"data/raw: neither in the workspace nor in DVC's cache.*genai data pull"):
        planned(done)


def test_tracked_data_missing_in_the_cache_is_added_again(done: Path) -> None:
    shutil.rmtree(done / ".dvc" / "cache")
    plan = planned(done, "prepare")
    assert plan["data/raw.dvc"].reasons == ("data/raw: not in cache",)
    assert actions(plan) == {"data/raw.dvc": "run", "prepare": "run"}
    shell(done, "dvc repro -q")
    assert actions(planned(done)) == KEEP_ALL


def test_frozen_stage_is_kept(done: Path) -> None:
    edit(done / "dvc.yaml", "    desc: Make the raw", "    frozen: true\n    desc: Make the raw")
    set_parameter(done, "data.image_size", 64)
    assert actions(planned(done)) == KEEP_ALL
    said = shell(done, "dvc repro 2>&1")
    assert "Running stage" not in said


def test_stages_that_the_run_cache_skips(done: Path) -> None:
    """No inputs, persistent outputs, always_changed: DVC runs these stages instead of restoring them."""
    (done / "dvc.yaml").write_text(
        "stages:\n"
        "  source: {cmd: 'mkdir -p out && date +%N > out/source', outs: [out/source]}\n"
        "  keeps: {cmd: 'echo x >> out/keeps', deps: [params.yaml], outs: [{out/keeps: {persist: true}}]}\n"
        "  always: {cmd: 'echo x > out/always', deps: [params.yaml], outs: [out/always], always_changed: true}\n"
        "  checks: {cmd: 'test -s work.py', deps: [work.py]}\n"
    )
    names = ["source", "keeps", "always", "checks"]
    assert {name: planned(done)[name].action for name in names} == dict.fromkeys(names, "run")
    shell(done, "dvc repro -q")
    plan = planned(done)
    assert {name: plan[name].action for name in names} == {**dict.fromkeys(names, "keep"), "always": "run"}
    (done / "out" / "source").unlink()
    (done / "out" / "keeps").unlink()
    with (done / "work.py").open("a") as file:
        file.write("# more\n")
    plan = planned(done)
    assert {name: plan[name].action for name in names} == dict.fromkeys(names, "run")
    assert {name: action for name, action in reproduced(done).items() if name in names} == dict.fromkeys(names, "run")


def test_stage_with_an_uncached_output_is_not_in_the_run_cache(done: Path) -> None:
    """DVC saves no entry for a stage with a `cache: false` output that is neither a metric nor a plot."""
    (done / "dvc.yaml").write_text(
        "stages:\n"
        "  plain: {cmd: 'date +%N > out/plain', deps: [work.py], outs: [{out/plain: {cache: false}}]}\n"
        "  kept: {cmd: 'date +%N > out/kept', deps: [work.py], outs: [out/kept]}\n"
    )
    names, before = ["plain", "kept"], (done / "work.py").read_text()
    shell(done, "dvc repro -q")
    (done / "work.py").write_text(before + "# more\n")
    shell(done, "dvc repro -q")
    (done / "work.py").write_text(before)
    plan = planned(done)
    assert {name: plan[name].action for name in names} == {"plain": "run", "kept": "restore"}
    assert {name: action for name, action in reproduced(done).items() if name in names} == {
        "plain": "run",
        "kept": "restore",
    }


def test_persistent_output_is_restored_only_by_dvc_checkout(done: Path) -> None:
    """Like that of prepare: after a branch switch, the stage runs again unless dvc.lock's version is laid out."""
    (done / "dvc.yaml").write_text(
        "stages:\n  keeps: {cmd: 'cp work.py out/keeps', deps: [work.py], outs: [{out/keeps: {persist: true}}]}\n"
    )
    shell(done, "dvc repro -q")
    before, lock = (done / "work.py").read_text(), (done / "dvc.lock").read_text()
    (done / "work.py").write_text(before + "# more\n")
    shell(done, "dvc repro -q")
    (done / "work.py").write_text(before)  # as `git switch` leaves a workspace
    (done / "dvc.lock").write_text(lock)
    assert planned(done)["keeps"].reasons == ("out/keeps was changed by hand",)
    assert planned(done)["keeps"].action == "run"
    shell(done, "dvc checkout -q")
    assert planned(done)["keeps"].action == "keep"
    assert reproduced(done)["keeps"] == "keep"


def test_new_or_missing_input(done: Path) -> None:
    edit(done / "dvc.yaml", "deps: [out/train, work.py]", "deps: [out/train, work.py, notes.txt]")
    assert planned(done)["select"].reasons == ("notes.txt: missing",)
    (done / "notes.txt").write_text("new")
    assert confirmed(done, select="run")["select"].reasons == ("notes.txt: a new input",)


def test_new_model_runs_only_its_branch(done: Path) -> None:
    set_parameter(done, "models.more", parameter(done, "models.gan"))
    plan = planned(done)
    assert actions(plan) == {**KEEP_ALL, "train@more": "run", "select": "run"}
    assert plan["train@more"].reasons == ("never run here",)


def test_the_plan_is_the_same_from_any_folder(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_parameter(done, "data.image_size", 64)
    (done / "data" / "raw" / "9.txt").write_text("9")
    before = planned(done)
    monkeypatch.chdir(done / "data")
    assert planned(done) == before


def test_symlinked_workspace(done: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(done)
    answer = genai(link, "plan", "--json")
    assert {entry["action"] for entry in json.loads(answer.stdout)} == {"keep"}


def test_json_form_and_text_form(done: Path) -> None:
    size = set_parameter(done, "data.image_size", 64)
    expected = [
        {"stage": e.stage, "action": e.action, "reasons": list(e.reasons), "seconds": None}  # nothing was measured
        for e in planned(done).stages
    ]
    before = files_of(done)
    answer = genai(done, "plan", "--json")
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout) == expected
    answer = genai(done, "plan", "prepare")
    assert files_of(done) == before
    assert answer.stdout.splitlines() == [
        "data/raw.dvc  keep",
        f"prepare       run      params.yaml data.image_size: {size} -> 64",
        "2 stages: 1 to run, 1 to keep",
    ]


def test_plan_names_what_a_run_replaces(done: Path) -> None:
    """Only content that exists nowhere else: no older version in DVC's cache, and nothing that is kept."""
    assert planned(done).replaced == ()
    (done / "out/prepared/notes.txt").write_text("mine")
    (done / "out/train/gan").unlink()
    (done / "out/train/gan").write_text("mine")
    advice = ": a run replaces it. Move away what you want to keep"
    whats = ("out/prepared was changed by hand (1 file added)", "out/train/gan was changed by hand")
    lines = tuple(f"{what}{advice}" for what in whats)
    assert planned(done).replaced == lines
    answer = genai(done, "plan")
    assert set(lines) < set(answer.stdout.splitlines())
    shell(done, "dvc checkout -q --force")
    (done / "out/train/gan").unlink()
    shutil.copy(done / "out/train/diffusion", done / "out/train/gan")  # in the cache under another path
    assert planned(done).replaced == ()
    set_parameter(done, "models.gan.training.seed", 5)
    (done / "metrics/gan.json").write_text("{}")
    assert planned(done).replaced == (f"metrics/gan.json was changed by hand{advice}",)
