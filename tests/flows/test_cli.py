"""The command line: quick help, one line per error, status 2 before any stage starts."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from flows.cli import main
from tests.flows.conftest import ROOT, edit, ended, genai, processes_in, set_parameter, shell, started_genai, wait_for


def assert_one_line(answer: "subprocess.CompletedProcess[str]", *said: str) -> None:
    assert answer.returncode == 2, answer.stdout + answer.stderr
    assert answer.stdout == ""
    assert len(answer.stderr.splitlines()) == 1, answer.stderr
    for text in said:
        assert text in answer.stderr


def test_checkout_is_found_from_a_folder_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkout, inside, outside = tmp_path / "checkout", tmp_path / "checkout/notes/deep", tmp_path / "outside"
    for folder in (inside, outside, checkout / ".dvc"):
        folder.mkdir(parents=True)
    (checkout / "dvc.yaml").touch()
    (inside.parent / "dvc.yaml").touch()  # of another pipeline in the same repository
    for folder, options, found in (
        (inside, [], checkout),
        (checkout, [], checkout),
        (outside, [], outside),
        (inside, ["--workspace", "."], inside),  # as it was said
    ):
        monkeypatch.chdir(folder)
        answer = CliRunner().invoke(main, [*options, "plan"])
        assert answer.exit_code == 2
        assert answer.stderr.startswith(
            f"{found}: no dvc.yaml here" if found != checkout else f"{checkout}/params.yaml"
        )


def test_conflict_in_the_version_of_the_data(done: Path) -> None:
    path = done / "data" / "raw.dvc"
    path.write_text(f"<<<<<<< HEAD\n{path.read_text()}=======\n{path.read_text()}>>>>>>> theirs\n")
    hint = "it has the conflict markers of a merge; keep one side (git checkout --ours FILE"
    for command in (("plan",), ("data", "diff")):
        assert_one_line(genai(done, *command), "data/raw.dvc", hint)


@pytest.mark.parametrize(
    "arguments",
    [
        "--help",
        "run --help",
        "plan --help",
        "init --help",
        "data add --help",
        "data diff --help",
        "evaluate --help",
        "--version",
    ],
)
def test_help_imports_nothing_slow(arguments: str) -> None:
    code = (
        "import sys\nfrom flows.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit as end: assert end.code == 0\n"
        "slow = {'torch', 'prefect', 'dvc', 'pandas', 'numpy', 'rich', 'networkx', 'matplotlib', 'sklearn'}\n"
        "print(sorted(slow & sys.modules.keys()), file=sys.stderr)"
    )
    command = [sys.executable, "-c", code, *arguments.split()]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stderr.strip() == "[]"
    assert "version 0" in answer.stdout if arguments == "--version" else "Usage:" in answer.stdout


def test_no_workspace(tmp_path: Path) -> None:
    workspace = tmp_path / "empty"
    workspace.mkdir()
    for command in ("run", "plan"):
        assert_one_line(genai(workspace, command), "no dvc.yaml here", "--workspace")
    answer = genai(tmp_path / "none", "run")
    assert answer.returncode == 2
    assert "does not exist" in answer.stderr


def test_errors_of_a_workspace(fresh: Path) -> None:
    """Each mends the one before, in one workspace."""
    params = (fresh / "params.yaml").read_text()

    assert_one_line(genai(fresh, "run", "trian"), "unknown stage 'trian'", "train@gan", "select")

    set_parameter(fresh, "data.image_size", 30)
    assert_one_line(genai(fresh, "run"), "params.yaml: data.image_size: got 30", "multiple of 4")
    (fresh / "params.yaml").write_text(params + "surprise: 1\n")
    assert_one_line(genai(fresh, "plan"), "params.yaml: surprise: unknown key")
    (fresh / "params.yaml").write_text("data: [\n")
    assert_one_line(genai(fresh, "run"), "params.yaml: not valid YAML")
    (fresh / "params.yaml").unlink()
    assert_one_line(genai(fresh, "run"), "params.yaml: no such file")
    (fresh / "params.yaml").write_text(params)

    shutil.move(fresh / "dvc.yaml", fresh / "kept.yaml")
    assert_one_line(genai(fresh, "run"), "no dvc.yaml here")
    (fresh / "dvc.yaml").write_text((fresh / "kept.yaml").read_text() + "  broken: {comand: x}\n")
    assert_one_line(genai(fresh, "run"), "dvc.yaml", "not allowed @ data['stages']['broken']['comand']")
    shutil.move(fresh / "kept.yaml", fresh / "dvc.yaml")

    for path in (fresh / "data" / "raw").iterdir():
        path.unlink()
    (fresh / "data" / "raw" / "class-a").mkdir()
    assert_one_line(genai(fresh, "run"), "data/raw: the folder contains no files", "genai data add")
    shutil.rmtree(fresh / "data" / "raw")
    shutil.move(fresh / ".dvc" / "cache", fresh / ".dvc" / "lost")
    assert_one_line(genai(fresh, "run"), "data/raw: neither in the workspace nor in DVC's cache", "genai data pull")
    (fresh / "data" / "raw.dvc").unlink()
    assert_one_line(genai(fresh, "run"), "data/raw: there is no data yet", "genai data add")
    assert not (fresh / ".genai" / "toy").exists()


@pytest.mark.parametrize("rest", ["\n- {", "\n  broken:\n    cmd:\n"], ids=["no YAML", "no entry"])
def test_truncated_dvc_lock_gives_one_line(done: Path, rest: str) -> None:
    text = (done / "dvc.lock").read_text()
    (done / "dvc.lock").write_text(text + rest)
    assert_one_line(genai(done, "plan"), "dvc.lock", "git checkout dvc.lock")


def test_server_that_does_not_answer(fresh: Path) -> None:
    answer = genai(fresh, "run", api_url="http://127.0.0.1:9/api")
    assert answer.returncode == 2
    assert answer.stderr.splitlines() == [
        "no Prefect server answers at http://127.0.0.1:9/api ([Errno 111] Connection refused); "
        "start it, or unset PREFECT_API_URL for a temporary one (not with executor pool)"
    ]
    assert not (fresh / ".genai").exists()


@pytest.mark.parametrize(
    ("name", "status", "state"),
    [
        ("INT", 130, "stopped"),
        pytest.param("TERM", 143, "stopped", marks=pytest.mark.long),
        pytest.param("KILL", -9, "killed", marks=pytest.mark.long),
    ],
)
def test_signal_while_the_temporary_server_starts(
    fresh: Path, tmp_path: Path, name: str, status: int, state: str
) -> None:
    """The run has started by then: its end is recorded, and nothing of it is left."""
    with started_genai(fresh, "run", PREFECT_HOME=str(tmp_path / "prefect")) as process:
        wait_for(lambda: any("temporary_server" in line for line in processes_in(tmp_path)), 60.0)
        time.sleep(0.7)
        shell(fresh, f"kill -{name} {process.pid}")
        answer, output = ended(process)
    assert answer == status, output
    assert "Traceback" not in output
    wait_for(lambda: not processes_in(tmp_path) + processes_in(fresh))
    (run,) = json.loads(genai(fresh, "runs", "--json").stdout)
    assert run["state"] == state
    assert shell(fresh, "git worktree list").count("\n") == 1


def test_workspace_from_the_current_folder(done: Path) -> None:
    edit(done / "dvc.yaml", "python work.py out/train", "python -u work.py out/train")
    assert re.search(r"select +run +command: python work\.py", in_folder(done, "plan").stdout)


def test_help_has_sections_and_fits(tmp_path: Path) -> None:
    text = in_folder(tmp_path, "--help", COLUMNS="80").stdout
    sections = [
        "Add data:",
        "Train and generate:",
        "Evaluate and trace:",
        "Put a model into production:",
        "Serve:",
        "Operate:",
    ]
    assert [line for line in text.splitlines() if line in sections] == sections
    listed = re.findall(r"^  ([a-z]+) +[A-Z]", text, re.MULTILINE)
    assert sorted(listed) == sorted(main.commands)
    assert not [line for line in text.splitlines() if line.startswith("  ") and line.endswith("...")]


@pytest.mark.parametrize("before", [True, False])
def test_workspace_before_or_after_the_command(done: Path, tmp_path: Path, before: bool) -> None:
    place = ["--workspace", str(done)]
    for words in (["plan"], ["data", "status"], ["runs"], ["runs", "show", "none"]):
        answer = in_folder(tmp_path, *(place + words if before else words + place))
        assert answer.returncode == (2 if "none" in words else 0), answer.stderr
        assert "no run" in answer.stderr if "none" in words else answer.stdout


def test_workspace_from_the_environment(done: Path, tmp_path: Path) -> None:
    assert in_folder(tmp_path, "plan", GENAI_WORKSPACE=str(done)).stdout.endswith("5 stages: 5 to keep\n")


def test_debug_shows_the_traceback(done: Path, tmp_path: Path) -> None:
    words = ["--workspace", str(done), "runs", "show", "none"]
    plain, debug = in_folder(tmp_path, *words), in_folder(tmp_path, "--debug", *words)
    assert "Traceback" not in plain.stderr
    assert "Traceback" in debug.stderr
    assert plain.stderr.strip() in debug.stderr


def in_folder(folder: Path, *words: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """`genai` started in a folder, with exactly these words."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    command = [sys.executable, "-m", "flows.cli", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)
