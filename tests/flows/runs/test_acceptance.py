"""A run's results reach the workspace if the inputs there are the run's, and no user's change is lost."""

import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from flows.plan import plan_of
from flows.runs.acceptance import Verdict, accept
from flows.runs.job import Result
from tests.flows.conftest import DVC_WARNS, edit, set_parameter, shell
from tests.flows.runs.places import locked, made, place_of

pytestmark = DVC_WARNS


@dataclass(frozen=True)
class Ran:
    """A workspace with a new seed for one model, and a run's results in a place: cached, not accepted."""

    workspace: Path
    place: Path
    results: list[Result]


@pytest.fixture(scope="module")
def _ran_template(_done_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    folder = tmp_path_factory.mktemp("ran") / "toy"
    shutil.copytree(_done_template, folder, symlinks=True)
    set_parameter(folder, "models.gan.training.seed", 5)
    with place_of(folder) as place:
        return Ran(folder, place.folder, [made(place, stage) for stage in ("train@gan", "select")])


@pytest.fixture
def ran(_ran_template: Ran, tmp_path: Path) -> Ran:
    """A copy for one test."""
    folder = shutil.copytree(_ran_template.workspace / ".", tmp_path / "ran", symlinks=True, ignore=_no_places)
    return replace(_ran_template, workspace=Path(folder))


def _no_places(folder: str, _names: list[str]) -> list[str]:
    """Do not copy the checkout, whose path git records, but the run-cache, which has that name too."""
    return ["runs"] if folder.endswith(".genai") else []


def ran_in(workspace: Path, *stages: str) -> Ran:
    """Run the stages in a place of the workspace; return their results."""
    with place_of(workspace) as place:
        return Ran(workspace, place.folder, [made(place, stage) for stage in stages])


def accepted(ran: Ran) -> dict[str, str | None]:
    """The reason for each stage that was not accepted; None if it was."""
    verdicts = accept(ran.workspace, ran.place, iter([(result, {}) for result in ran.results]))
    assert [verdict.stage for verdict in verdicts] == [result.job.stage for result in ran.results]
    return {verdict.stage: verdict.reason for verdict in verdicts}


def holdings(workspace: Path) -> dict[str, bytes]:
    """The contents of the user's files: the lock, outputs, figures."""
    files = [
        path for name in ("out", "metrics", "dvc.lock") for path in [workspace / name, *(workspace / name).rglob("*")]
    ]
    return {str(path): path.read_bytes() for path in files if path.is_file()}


def actions(workspace: Path) -> dict[str, str]:
    return {entry.stage: entry.action for entry in plan_of(workspace, []).stages if entry.action != "keep"}


def test_all_results_are_accepted(ran: Ran) -> None:
    before = locked(ran.workspace)
    assert accepted(ran) == {"train@gan": None, "select": None}
    assert actions(ran.workspace) == {}
    assert "up to date" in shell(ran.workspace, "dvc status")
    assert locked(ran.workspace) == {**before, **{result.job.stage: result.entry for result in ran.results}}
    assert '"seed": 5' in (ran.workspace / "out" / "train" / "gan").read_text()
    assert '"seed": 5' in (ran.workspace / "out" / "selected").read_text()
    metrics = ran.workspace / "metrics" / "gan.json"
    assert metrics.read_bytes() == (ran.place / "metrics/gan.json").read_bytes()
    assert os.access(metrics, os.W_OK)
    assert not metrics.is_symlink()
    assert metrics.stat().st_nlink == 1  # git tracks it and users may edit it: no link into DVC's cache
    assert accepted(ran) == {"train@gan": None, "select": None}  # a second time changes nothing


def _other_parameter(workspace: Path) -> None:
    set_parameter(workspace, "models.gan.training.seed", 6)


def _other_code(workspace: Path) -> None:
    edit(workspace / "work.py", "import json", "import json  # edited")


def _other_data(workspace: Path) -> None:
    (workspace / "out" / "prepared" / "a").unlink()
    (workspace / "out" / "prepared" / "a").write_text("other")


def _data_gone(workspace: Path) -> None:
    shutil.rmtree(workspace / "out" / "prepared")


def _other_command(workspace: Path) -> None:
    edit(
        workspace / "dvc.yaml",
        "cmd: python work.py out/prepared --out out/train",
        "cmd: python -B work.py out/prepared --out out/train",
    )


def _another_input(workspace: Path) -> None:
    edit(workspace / "dvc.yaml", "deps: [out/prepared, work.py]", "deps: [out/prepared, work.py, params.yaml]")


def _another_parameter(workspace: Path) -> None:
    edit(workspace / "dvc.yaml", '"models.${key}.training"', '"models.${key}.training", selection')


def _another_output(workspace: Path) -> None:
    edit(workspace / "dvc.yaml", 'outs: ["out/train/${key}"]', 'outs: ["out/train/${key}", "out/more/${key}"]')


def _no_such_stage(workspace: Path) -> None:
    edit(workspace / "dvc.yaml", "  train:", "  learn:")


def _changed_by_hand(workspace: Path) -> None:
    (workspace / "out" / "train" / "gan").unlink()
    (workspace / "out" / "train" / "gan").write_text("by hand")


def _figures_by_hand(workspace: Path) -> None:
    (workspace / "metrics" / "gan.json").write_text('{"characters": 0}')


def _a_folder_there(workspace: Path) -> None:
    (workspace / "metrics" / "gan.json").unlink()
    (workspace / "metrics" / "gan.json").mkdir()
    (workspace / "metrics" / "gan.json" / "mine").write_text("by hand")


def _broken_yaml(workspace: Path) -> None:
    edit(workspace / "dvc.yaml", "stages:", "stages: [in the middle of an edit")


def _broken_parameters(workspace: Path) -> None:
    (workspace / "params.yaml").write_text("models: {gan: [in the middle")


def _no_yaml(workspace: Path) -> None:
    (workspace / "dvc.yaml").unlink()


def _broken_lock(workspace: Path) -> None:
    with (workspace / "dvc.lock").open("a") as file:
        file.write("<<<<<<< a merge\n")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_other_parameter, "params.yaml models.gan.training changed here after the run began"),
        (_other_code, "work.py changed here after the run began"),
        (_other_data, "out/prepared changed here after the run began"),
        (_data_gone, "out/prepared"),
        (_other_command, "the command changed here after the run began"),
        (_another_input, "params.yaml changed here after the run began"),
        (_another_parameter, "params.yaml selection changed here after the run began"),
        (_another_output, "its outputs in dvc.yaml changed here after the run began"),
        (_no_such_stage, "the stage is no longer in dvc.yaml"),
        (_changed_by_hand, "out/train/gan was changed by hand after the run began"),
        (_figures_by_hand, "metrics/gan.json was changed by hand after the run began"),
        (_a_folder_there, "metrics/gan.json was changed by hand after the run began"),
        (_broken_yaml, "this checkout cannot be read"),
        (_broken_parameters, "this checkout cannot be read"),
        (_no_yaml, "the stage is no longer in dvc.yaml"),
        (_broken_lock, "this checkout cannot be read"),
    ],
)
def test_an_edit_during_the_run_keeps_a_result_out(ran: Ran, change: Callable[[Path], None], said: str) -> None:
    ran = replace(ran, results=ran.results[:1])
    saved = {name: (ran.workspace / name).read_bytes() for name in ("dvc.yaml", "params.yaml", "work.py", "dvc.lock")}
    change(ran.workspace)
    before = holdings(ran.workspace)
    reason = accepted(ran)["train@gan"]
    assert said in str(reason)
    assert holdings(ran.workspace) == before
    if (
        "out/" not in said and "metrics" not in said
    ):  # the edit is undone: at the end of a run, all results are tried again
        for name, contents in saved.items():
            (ran.workspace / name).write_bytes(contents)
        assert accepted(ran) == {"train@gan": None}


def test_results_downstream_of_a_rejected_one_are_rejected(ran: Ran) -> None:
    _changed_by_hand(ran.workspace)
    assert accepted(ran) == {
        "train@gan": "out/train/gan was changed by hand after the run began",
        "select": "out/train changed here after the run began",
    }
    (ran.workspace / "out" / "train" / "gan").unlink()
    assert accepted(ran) == {"train@gan": None, "select": None}


def test_rejected_results_are_restored_once_the_inputs_are_back(ran: Ran) -> None:
    _other_parameter(ran.workspace)
    assert all(accepted(ran).values())
    set_parameter(ran.workspace, "models.gan.training.seed", 5)
    assert actions(ran.workspace) == {"train@gan": "restore", "select": "restore"}


def test_an_output_that_was_changed_before_the_run_is_replaced(ran: Ran) -> None:
    """The plan said so and the user ran it: it is made again, as by `dvc repro`."""
    _changed_by_hand(ran.workspace)
    before = plan_of(ran.workspace, [])["train@gan"].outputs
    assert accept(ran.workspace, ran.place, [(ran.results[0], before)]) == [Verdict("train@gan", None)]


def test_a_missing_output_is_restored(ran: Ran) -> None:
    (ran.workspace / "out" / "train" / "gan").unlink()
    (ran.workspace / "metrics" / "gan.json").unlink()
    assert set(accepted(ran).values()) == {None}
    assert (ran.workspace / "metrics" / "gan.json").is_file()


def test_the_first_run_of_a_workspace(fresh: Path) -> None:
    """Without dvc.lock or output folders; outputs are added to .gitignore, as by `dvc repro`."""
    edit(fresh / ".gitignore", "/out/\n", "")
    ran = ran_in(fresh, "prepare", "train@gan")
    assert accepted(ran) == {"prepare": None, "train@gan": None}
    assert locked(fresh) == {result.job.stage: result.entry for result in ran.results}
    ignored = shell(fresh, "git status --porcelain --untracked-files=all").splitlines()
    assert not [line for line in ignored if "out/prepared/" in line or line.endswith("out/train/gan")]
    assert (fresh / "out" / ".gitignore").read_text() == "/prepared\n"
    assert (fresh / "out" / "train" / ".gitignore").read_text() == "/gan\n"


def test_a_frozen_stage_keeps_its_outputs(done: Path) -> None:
    set_parameter(done, "data.image_size", 8)
    ran = ran_in(done, "prepare")
    before = locked(done)["prepare"]
    edit(done / "dvc.yaml", "    desc: Make the raw", "    frozen: true\n    desc: Make the raw")
    assert accepted(ran) == {"prepare": "it was frozen here after the run began"}
    # Frozen before the run began, it keeps its outputs, and nothing is reported as missing.
    shutil.rmtree(done / "out" / "prepared")
    assert accepted(ran_in(done, "prepare")) == {"prepare": None}
    assert locked(done)["prepare"] == before
    assert (done / "out" / "prepared" / "a").is_file()


def test_a_pipeline_in_a_subfolder(done: Path) -> None:
    (done / "more").mkdir()
    (done / "more" / "dvc.yaml").write_text(
        "stages:\n  last:\n    cmd: cp ../out/selected last\n    deps: [../out/selected]\n    outs: [last]\n"
    )
    assert accepted(ran_in(done, "more/dvc.yaml:last")) == {"more/dvc.yaml:last": None}
    assert actions(done) == {}
    assert (done / "more" / "last").read_bytes() == (done / "out" / "selected").read_bytes()
    edit(done / "more" / "dvc.yaml", "cmd: cp", "cmd: cp -f")
    (last,) = (entry for entry in plan_of(done, []).stages if entry.action != "keep")
    assert last.reasons == ("command: cp ../out/selected last -> cp -f ../out/selected last",)


def test_a_write_error(ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is reported for each result, and the lock is unchanged."""
    before = (ran.workspace / "dvc.lock").read_bytes()

    def refuse(*_paths: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("flows.runs.acceptance._write_entries", refuse)
    reasons = accepted(ran)
    assert "No space left on device" in str(reasons["train@gan"])
    assert (ran.workspace / "dvc.lock").read_bytes() == before


def test_the_lock_is_complete_at_any_time(ran: Ran) -> None:
    """A thread reads it all the time without a lock, as git and editors do."""
    done, seen = threading.Event(), set()

    def look() -> None:
        while not done.is_set():
            seen.add((ran.workspace / "dvc.lock").read_bytes())

    thread = threading.Thread(target=look)
    thread.start()
    before = (ran.workspace / "dvc.lock").read_bytes()
    accepted(ran)
    done.set()
    thread.join()
    # Before and after: both results are written at once.
    assert before in seen
    assert len(seen | {(ran.workspace / "dvc.lock").read_bytes()}) == 2
    assert all(contents.endswith(b"\n") and contents.startswith(b"schema:") for contents in seen)
    assert not list((ran.workspace / ".dvc" / "tmp").glob("tmp*"))
