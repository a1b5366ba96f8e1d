"""A place records a stage's inputs, restores known results from the cache, and writes no wrong record."""

import hashlib
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from flows.plan import plan_of
from flows.runs.job import LockEntry
from flows.runs.place import Place, PlaceError, stage_variables
from tests.flows.conftest import DVC_WARNS, diary, edit, set_parameter, shell
from tests.flows.runs.places import job_of, locked, made, place_of, run_command

pytestmark = DVC_WARNS

UPSTREAM = ["prepare", "train@diffusion", "train@gan", "select"]


def outcomes(place: Place, stages: list[str]) -> list[tuple[LockEntry, bool]]:
    """Each stage's entry, and whether the stage ran."""
    return [(result.entry, result.ran) for result in (made(place, stage) for stage in stages)]


def run_cache(workspace: Path) -> set[str]:
    return {path.name for path in (workspace / ".dvc" / "cache" / "runs").rglob("*") if path.is_file()}


def md5_of(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def in_cache(workspace: Path, entry: LockEntry, output: str) -> Path:
    """The path of an output, a single file, in DVC's cache."""
    digest = next(out["md5"] for out in entry["outs"] if out["path"] == output)
    return workspace / ".dvc" / "cache" / "files" / "md5" / digest[:2] / digest[2:]


def test_a_whole_pipeline_is_recorded_as_dvc_repro_records_it(fresh: Path, done: Path) -> None:
    with place_of(fresh) as place:
        assert [made(place, stage).ran for stage in UPSTREAM] == [True] * 4
        assert locked(place.folder) == locked(done)
    assert run_cache(fresh) == run_cache(done)
    assert not (fresh / "dvc.lock").exists()
    shutil.copy(place.folder / "dvc.lock", fresh)
    assert [entry.action for entry in plan_of(fresh, []).stages] == ["keep"] + ["restore"] * 4


def test_results_of_other_machines_are_written_together(done: Path) -> None:
    """In a pipeline of a thousand stages, dvc.lock takes a second to write. Whoever copies it gets all entries."""
    with place_of(done) as place:
        jobs = {stage: job_of(place, stage) for stage in ("prepare", "train@gan")}
        entries = {stage: place.restore(job) for stage, job in jobs.items()}
        lock = place.folder / "dvc.lock"
        lock.unlink()
        for stage, job in jobs.items():
            place.take(job, entries[stage] or {})
        assert not lock.exists()
        place.copy_lock(done / "copy.lock")
        assert {name: dict(entry) for name, entry in locked(place.folder).items()} == entries
        assert (done / "copy.lock").read_bytes() == lock.read_bytes()


def test_inputs_edited_during_the_command(done: Path) -> None:
    set_parameter(done, "models.gan.training.seed", 5)
    with place_of(done) as place:
        before, known = locked(place.folder), run_cache(done)
        for file, old, what in (
            ("params.yaml", "seed: 5", "params.yaml models.gan.training"),
            ("work.py", "import json", "work.py"),
            ("out/prepared/a", "prepare", "out/prepared"),
        ):
            job = job_of(place, "train@gan")
            assert place.restore(job) is None
            place.clear_outputs(job)
            run_command(place, "train@gan", "python work.py out/prepared --out out/train/gan")
            path = place.folder / file
            contents = path.read_text()
            path.unlink()  # as editors write; the file is a link into the cache
            path.write_text(contents.replace(old, f"{old}1" if "seed" in old else f"# {old}\n{old}", 1))
            with pytest.raises(PlaceError, match=f"{what} changed in .* while train@gan ran, .* not recorded"):
                place.record(job)
            assert locked(place.folder) == before
            assert run_cache(done) == known
            path.write_text(contents)
            if file == "work.py":
                path.chmod(0o755)
        # Once the inputs are back, it is recorded.
        assert made(place, "train@gan").ran
        assert len(run_cache(done)) == len(known) + 1
        assert locked(place.folder)["train@gan"]["params"]["params.yaml"]["models.gan.training"]["seed"] == 5


def test_an_input_removed_during_the_command(done: Path) -> None:
    set_parameter(done, "models.gan.training.seed", 5)
    with place_of(done) as place:
        job = job_of(place, "train@gan")
        before = locked(place.folder)
        shutil.rmtree(place.folder / "out" / "prepared")
        with pytest.raises(PlaceError, match="out/prepared"):
            place.record(job)
        assert locked(place.folder) == before


def test_a_missing_output(done: Path) -> None:
    set_parameter(done, "models.gan.training.seed", 5)
    with place_of(done) as place:
        job = job_of(place, "train@gan")
        place.clear_outputs(job)
        known = run_cache(done)
        with pytest.raises(PlaceError, match="out/train/gan"):
            place.record(job)
        assert run_cache(done) == known


def test_a_changed_command_runs(done: Path) -> None:
    edit(
        done / "dvc.yaml",
        "python work.py out/train --out out/selected",
        "python -B work.py out/train --out out/selected",
    )
    with place_of(done) as place:
        assert not made(place, "train@gan").ran
        result = made(place, "select")
        entry = result.entry
        assert result.ran
        assert entry["cmd"].startswith("python -B")
        assert locked(place.folder)["select"] == entry


def test_restored_by_only_the_lock(done: Path) -> None:
    shutil.rmtree(done / ".dvc" / "cache" / "runs")
    with place_of(done) as place:
        assert outcomes(place, UPSTREAM) == [(locked(done)[stage], False) for stage in UPSTREAM]
        assert (place.folder / "out" / "selected").read_text() == (done / "out" / "selected").read_text()


def test_restored_by_only_the_run_cache(done: Path) -> None:
    recorded = locked(done)
    (done / "dvc.lock").unlink()
    with place_of(done) as place:
        assert outcomes(place, UPSTREAM) == [(recorded[stage], False) for stage in UPSTREAM]
        assert locked(place.folder) == recorded
    assert diary(place.folder, "prepare") == []


def test_results_lost_from_the_cache_are_made_again(done: Path) -> None:
    in_cache(done, locked(done)["select"], "out/selected").unlink()
    with place_of(done) as place:
        assert outcomes(place, ["select"]) == [(locked(done)["select"], True)]


def test_an_input_lost_from_the_cache_but_complete_in_the_workspace(done: Path) -> None:
    shutil.rmtree(done / ".dvc" / "cache" / "files")
    before = {path: path.stat().st_mtime_ns for path in (done / "out").rglob("*")}
    with place_of(done) as place:
        job_of(place, "select")
        assert (place.folder / "out" / "train" / "gan").read_text() == (done / "out" / "train" / "gan").read_text()
    assert {path: path.stat().st_mtime_ns for path in (done / "out").rglob("*")} == before
    assert "out/train" not in shell(done, "dvc status")  # back in the cache


def test_an_input_that_is_complete_nowhere(done: Path) -> None:
    shutil.rmtree(done / ".dvc" / "cache" / "files")
    (done / "out" / "train" / "gan").write_text("changed by hand")
    with (
        place_of(done) as place,
        pytest.raises(PlaceError, match="out/train/gan is complete neither in DVC's cache nor here"),
    ):
        job_of(place, "select")


def test_an_input_lost_from_the_cache_with_an_unreadable_workspace(done: Path) -> None:
    with place_of(done) as place:
        shutil.rmtree(done / ".dvc" / "cache" / "files")
        (done / "dvc.yaml").write_text("stages: [in the middle of an edit")
        with pytest.raises(PlaceError, match="complete neither in DVC's cache nor here"):
            job_of(place, "select")


def test_an_input_that_differs_from_the_plan(done: Path) -> None:
    set_parameter(done, "models.gan.training.seed", 5)
    planned = plan_of(done, [])["train@gan"].inputs
    assert set(planned) == {"out/prepared", "work.py"}
    with place_of(done) as place:
        assert place.job("run", "snapshot", "train@gan", planned).inputs["deps"] == locked(done)["train@gan"]["deps"]
        edit(place.folder / "work.py", "import json", "import  json")
        with pytest.raises(PlaceError, match=r"work\.py in .* differs from the run's plan"):
            place.job("run", "snapshot", "train@gan", planned)


@pytest.mark.parametrize("own", [None, "hardlink", "symlink", "copy"])
def test_links_not_copies_unless_the_user_says_so(done: Path, own: str | None) -> None:
    if own is not None:
        shell(done, f"dvc config {'--local ' if own == 'copy' else ''}cache.type {own}")
    cached = in_cache(done, locked(done)["train@gan"], "out/train/gan")
    with place_of(done) as place:
        job_of(place, "select")
        laid_out = place.folder / "out" / "train" / "gan"
        assert laid_out.is_symlink() == (own == "symlink")
        linked = laid_out.stat().st_ino == cached.stat().st_ino
        assert linked == (own != "copy")
        assert laid_out.read_text() == (done / "out" / "train" / "gan").read_text()
        # The same applies to the stage's outputs.
        set_parameter(place.folder, "selection", {"other": 1})
        result = made(place, "select")
        entry = result.entry
        assert result.ran
        new = in_cache(done, entry, "out/selected")
        assert ((place.folder / "out" / "selected").stat().st_ino == new.stat().st_ino) == (own != "copy")
    assert not (done / "out" / "train" / "gan").is_symlink()  # the workspace is unchanged


def with_a_growing_output(workspace: Path, command: str) -> None:
    """A stage with a persistent output, which reads the previous version."""
    with (workspace / "dvc.yaml").open("a") as file:
        file.write(
            f"  grow:\n    cmd: {command}\n    deps: [data/raw]\n    outs:\n      - out/grown: {{persist: true}}\n"
        )


def test_a_persistent_output(done: Path) -> None:
    with_a_growing_output(done, "mkdir -p out/grown && touch out/grown/$(ls out/grown | wc -l)")
    shell(done, "dvc repro -q grow && rm -r out/grown")
    with place_of(done) as place:
        assert not made(place, "grow").ran  # by the lock; such stages have no run-cache
    (done / "data" / "raw" / "more.txt").write_text("more")
    shell(done, "dvc add -q data/raw")
    with place_of(done, "second") as place:
        assert made(place, "grow").ran
        assert sorted(path.name for path in (place.folder / "out" / "grown").iterdir()) == ["0", "1"]


def test_a_command_that_writes_into_a_persistent_output(done: Path) -> None:
    """The previous version is in the cache under its hash, and no command may change it there."""
    with_a_growing_output(done, "mkdir -p out/grown && echo more >> out/grown/lines")
    for number in range(3):
        (done / "data" / "raw" / f"{number}.more").write_text("more")
        shell(done, "dvc add -q data/raw")
        with place_of(done, f"place-{number}") as place:
            assert made(place, "grow").ran
            assert (place.folder / "out/grown/lines").read_text().count("more") == number + 1
            shutil.copy(place.folder / "dvc.lock", done)
    objects = [path for path in (done / ".dvc/cache/files/md5").rglob("*") if path.is_file()]
    wrong = [path for path in objects if md5_of(path) != f"{path.parent.name}{path.name}".removesuffix(".dir")]
    assert objects
    assert wrong == []


def test_different_inputs_have_different_checkpoints(done: Path) -> None:
    """All inputs of a stage determine its checkpoints: no training resumes with other code."""
    with place_of(done) as place:
        before = stage_variables(place, job_of(place, "train@gan"))
        assert stage_variables(place, job_of(place, "train@gan")) == before
        names = {before["GENAI_JOB"]}
        edit(place.folder / "work.py", "import json", "import json  # other code")
        names.add(stage_variables(place, job_of(place, "train@gan"))["GENAI_JOB"])
        set_parameter(place.folder, "models.gan.training.seed", 5)
        names.add(stage_variables(place, job_of(place, "train@gan"))["GENAI_JOB"])
        names.add(stage_variables(place, job_of(place, "train@diffusion"))["GENAI_JOB"])
        assert len(names) == 4


def test_a_frozen_stage(done: Path) -> None:
    edit(done / "dvc.yaml", "    desc: Train", "    frozen: true\n      desc: Train")
    set_parameter(done, "data.image_size", 8)
    with place_of(done) as place:
        assert made(place, "prepare").ran
        # A frozen stage keeps its outputs, regardless of its inputs.
        assert outcomes(place, ["train@gan"]) == [(locked(done)["train@gan"], False)]
        assert (place.folder / "out" / "train" / "gan").read_text() == (done / "out" / "train" / "gan").read_text()


def test_a_stage_that_always_runs(done: Path) -> None:
    edit(
        done / "dvc.yaml",
        "    cmd: python work.py out/train ",
        "    always_changed: true\n    cmd: python work.py out/train ",
    )
    with place_of(done) as place:
        assert outcomes(place, ["select"]) == [(locked(done)["select"], True)]
        assert made(place, "select").ran


def test_a_pipeline_in_a_subfolder(done: Path) -> None:
    (done / "more").mkdir()
    (done / "more" / "dvc.yaml").write_text(
        "stages:\n  last:\n    cmd: cp ../out/selected last\n    deps: [../out/selected]\n    outs: [last]\n"
    )
    with place_of(done) as place:
        result = made(place, "more/dvc.yaml:last")
        assert result.ran
        assert locked(place.folder / "more") == {"last": result.entry}


def test_two_threads(done: Path) -> None:
    """Parallel stages: while one is recorded, another checks out its inputs."""
    for model in ("gan", "diffusion"):
        set_parameter(done, f"models.{model}.training.seed", 5)
    with place_of(done) as place, ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda stage: made(place, stage), ["train@gan", "train@diffusion"]))
        assert [result.ran for result in results] == [True, True]
        assert {name: locked(place.folder)[name] for name in ("train@gan", "train@diffusion")} == {
            result.job.stage: result.entry for result in results
        }
        made(place, "select")
        assert (place.folder / "out" / "selected").read_text().count('"seed": 5') == 2
