import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from genai_core.config import NEEDS_MANUAL_ACTION
from genai_core.data.dataset.dataset import load_dataset
from tasks import evaluate, extractor, generate, reference, report, report_parts, versions
from tasks.report_parts import read_json
from tests.tasks.small_run import small_params, write_datasets, write_model, write_selection

EDGES = [("prepare", "train@small"), ("train@small", "report")]


@pytest.fixture
def finished(workspace, monkeypatch):
    """A workspace in which every stage except the report has run."""
    small_params()
    write_datasets()
    extractor.main()
    reference.main()
    write_model("models/trained/small")
    write_selection("models/selected", "models/trained/small", "small")
    write_model("models/finetuned", seed=1)
    for what, stage in (("trained/small", "evaluate@small"), ("finetuned", "evaluate-finetuned")):
        monkeypatch.setattr(sys, "argv", ["evaluate", what])
        monkeypatch.setenv("DVC_STAGE", stage)
        evaluate.main()
        folder = workspace / "plots" / what
        folder.mkdir(parents=True)
        (folder / "curves.csv").write_text(
            "images,generator_loss,score,rollbacks\n100,2.0,1,0\n200,1.5,,1\n300,1.0,3,1\n"
        )
        (folder / "evaluations.csv").write_text("images,distance\n200,0.5\n")
    (workspace / "metrics/cost/train@small.json").write_text(
        '{"seconds": 1, "peak_memory_mb": 1, "images": 300, "ended_by": "converged", "rollbacks": 1}'
    )
    (workspace / "metrics/cost/finetune.json").write_text(
        '{"seconds": 1, "peak_memory_mb": 1, "images": 512, "ended_by": "images", "rollbacks": 0}'
    )
    monkeypatch.delenv("DVC_STAGE")
    write_selection("models/candidate", "models/finetuned", "finetuned")
    generate.main()
    monkeypatch.setattr(report_parts, "stage_edges", lambda: EDGES)
    return workspace


def page(workspace):
    report.main()
    return (workspace / "reports/report.html").read_text()


def test_the_page_shows_the_run(finished):
    html = page(finished)
    for text in (
        "The candidate is gan, fine-tuned",
        "generator loss",
        "evaluate@small",
        "it is the best",
        'class="dag"',
        "Stopped after 300 images (training.early_stop: no further improvement). Rolled back 1 time after a",
        "Stopped after 512 images (finetune.total_images).",
        "distance",
        "real images, held out</h3>",
        "fd classifier, noise",
        "label agreement, jpeg",
        "between batches of",
    ):
        assert text in html
    assert html.count('class="mark"') == 2 * 3  # in each chart of both models
    # The hero, three grids to compare, and the measured samples of two models.
    assert html.count("data:image/png") == 7


def test_a_time_limit_is_named_as_the_stages_own(finished):
    path = finished / "metrics/cost/finetune.json"
    path.write_text(path.read_text().replace('"ended_by": "images"', '"ended_by": "seconds"'))
    assert "Stopped after 512 images (finetune.max_seconds)." in page(finished)


def test_warnings_of_the_measurements_are_shown(finished):
    path = Path("metrics/finetuned.json")
    values = read_json(path)
    assert isinstance(values["warnings"], list)
    text = "the test accuracy is 0.307, little better than chance: its figures mean little"
    path.write_text(json.dumps({**values, "warnings": [*values["warnings"], text]}))
    assert f'<p class="warning">Warning: gan, fine-tuned: {text}.</p>' in page(finished)


def test_files_of_removed_models_are_ignored(finished):
    for path in ("metrics/trained/gone.json", "metrics/cost/train@gone.json"):
        (finished / path).write_text("{}")
    assert "gone" not in page(finished)


def test_a_missing_graph_is_explained(finished, monkeypatch):
    def no_graph():
        raise ValueError("`dvc dag --dot`: you are not inside of a DVC repository")

    monkeypatch.setattr(report_parts, "stage_edges", no_graph)
    html = page(finished)
    assert "The graph is missing: `dvc dag --dot`: you are not inside" in html
    assert "evaluate@small" in html


def test_missing_metrics_are_named(finished, capsys):
    (finished / "metrics/trained/small.json").unlink()
    with pytest.raises(SystemExit) as stopped:
        report.main()
    assert stopped.value.code == NEEDS_MANUAL_ACTION
    assert "metrics/trained/small.json is missing" in capsys.readouterr().err


def test_the_edges_come_from_dvc_while_a_stage_runs(workspace):
    subprocess.run([sys.executable, "-m", "dvc", "init", "--no-scm", "-q"], check=True)
    ask = f'{sys.executable} -c "from tasks.versions import stage_edges; print(stage_edges())" > edges'
    (workspace / "dvc.yaml").write_text(
        "stages:\n"
        "  first: {cmd: echo 1 > one, outs: [one]}\n"
        f"  second:\n    cmd: {ask!r}\n    deps: [one]\n    outs: [edges]\n"
    )
    root = str(report_parts.__file__).rsplit("/tasks/", 1)[0]
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "repro"],
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (workspace / "edges").read_text().strip() == "[('first', 'second')]"


def test_without_a_dvc_repository_the_error_quotes_dvc(workspace):
    with pytest.raises(ValueError, match=r"dvc dag --dot`: .*not inside of a DVC repository"):
        versions.stage_edges()


def test_the_code_version_distinguishes_changed_from_committed_code(workspace):
    assert versions.code_version()["commit"].startswith("unknown: `git rev-parse HEAD`")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q", "-b", "trunk"], ["add", "params.yaml"], ["commit", "-qm", "x"]):
        subprocess.run([*git, *command], check=True)
    version = versions.code_version()
    assert (len(version["commit"]), version["branch"], version["state"]) == (40, "trunk", "as committed")
    (workspace / "metrics").mkdir()
    (workspace / "dvc.lock").write_text("")
    assert versions.code_version()["state"] == "as committed"
    (workspace / "params.yaml").write_text("")
    assert versions.code_version()["state"] == "1 file changed since"


def test_the_lineage_of_the_images_is_drawn(finished):
    html = page(finished)
    drawn = html[html.index("Lineage of the images") :]
    drawn = drawn[: drawn.index("</svg>")]
    weights = read_json(Path("models/candidate/config.json"))["sha256"]["model.safetensors"]
    fingerprint = load_dataset(Path("data/augmented")).info.fingerprint
    for text in ("data/raw", "data/prepared", "data/augmented", fingerprint[:10], f"weights {weights[:10]}", "seeds "):
        assert text in drawn
    assert drawn.count("<rect") == 6  # including the unknown dataset that the candidate was trained on
