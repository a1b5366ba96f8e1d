import json
import sys
from pathlib import Path

import pytest

from genai_core.config import NEEDS_MANUAL_ACTION
from genai_core.data.ingest.add import Added
from genai_core.data.ingest.readers.items import Understood
from genai_core.data.raw.formats import RejectedFile
from tasks import ingest
from tests.packed import files_in


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["tasks.ingest", *arguments])
    ingest.main()


def test_images_are_added_and_summarised(workspace, monkeypatch, capsys):
    for number in range(5):
        path = workspace / "photos" / ("hat" if number < 3 else "shoe") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"%d" % number)
    run(monkeypatch, "photos", "--into", "data/raw", "--as", "clothes")
    assert len(files_in(workspace / "data/raw/clothes")) == 5
    assert capsys.readouterr().out.splitlines() == [
        "data/raw/clothes: 5 images added",
        "layout: class folders",
        "labels from: the folders",
        "classes: hat 3, shoe 2",
        "data/raw: 5 images in total",
    ]
    (workspace / "photos" / "shoe" / "5.png").write_bytes(b"5")
    (workspace / "data/raw/loose/hat").mkdir(parents=True)
    (workspace / "data/raw/loose/hat/6.png").write_bytes(b"a loose file")
    run(monkeypatch, "photos", "--into", "data/raw", "--as", "clothes")
    said = capsys.readouterr().out.splitlines()
    assert (said[0], said[-1]) == (
        "data/raw/clothes: 1 image added, 5 already there",
        "data/raw: 7 images in total",
    )


def test_an_error_is_one_line_and_needs_manual_action(workspace, monkeypatch, capsys):
    (workspace / "empty").mkdir()
    with pytest.raises(SystemExit) as error:
        run(monkeypatch, "empty", "--into", "data/raw")
    assert error.value.code == NEEDS_MANUAL_ACTION
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("ingest: empty: contains no image files; supported extensions:")


def test_summary_is_complete():
    added = Added(
        names=("set.train", "set.test"),
        added_images=3,
        kept_images=2,
        classes={"hat": 4, "shirt": 1},
        splits={"train": 4, "test": 1},
        skipped={"links": 1},
        bad_names=("new\\nline.png",),
        wrapper="around",
        rejected=(RejectedFile("7.png", "missing_file", "labels.csv row 7: no such image"),),
        notes=("note: columns of labels.csv that are not used: size",),
        understood=Understood("images with labels.csv", "the column a", "the folders train and test", "the column b"),
        captioned_images=4,
        changed_captions=2,
    )
    assert ingest.summary(added, Path("data/raw")) == [
        "data/raw/set.train and data/raw/set.test: 3 images added, 2 already there",
        "layout: images with labels.csv",
        "labels from: the column a",
        "split: train 4, test 1, from the folders train and test; to give it up: --no-split (pools all images)",
        "captions: 4 images, from the column b; 2 were already there with other captions, which were replaced",
        "classes: hat 4, shirt 1",
        "the outer folder around/ was removed from the names",
        "note: columns of labels.csv that are not used: size",
        "skipped: links 1",
        "skipped, names invalid in tables: 1, first new\\nline.png",
        "rejected (all in .genai/rejected.csv): missing_file 1",
        "  7.png: missing_file: labels.csv row 7: no such image",
    ]
    flat = Added(("set",), 3, 0, {}, {}, {}, (), "photos", (), (), Understood())
    said = ingest.summary(flat, Path("data/raw"))
    assert "unconditional" in said[1]
    assert said[2].endswith("if it is a class, add with --layout class-folders")


def test_facts_for_programs(workspace, monkeypatch):
    for number in range(4):
        path = workspace / "photos" / ("hat" if number % 2 else "shoe") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"%d" % number)
    run(monkeypatch, "photos", "--into", "data/raw", "--facts", "facts.json", "--no-split")
    facts = json.loads((workspace / "facts.json").read_bytes())
    assert facts["understood"] == {"layout": "class folders", "labels": "the folders", "split": None, "captions": None}
    assert (facts["added_images"], facts["total_images"], facts["classes"]) == (4, 4, {"hat": 2, "shoe": 2})


def test_many_classes_are_not_all_printed():
    added = Added(("set",), 3, 0, {f"{n:03d}": 1 for n in range(100)}, {}, {}, (), None, (), (), Understood())
    [line] = [line for line in ingest.summary(added, Path("data/raw")) if line.startswith("classes: ")]
    assert line.endswith("019 1 and 80 more")


def test_all_rejected_files_are_listed(workspace, monkeypatch, capsys):
    folder = workspace / "flat"
    folder.mkdir()
    for number in range(40):
        (folder / f"{number}.png").write_bytes(b"%d" % number)
    rows = "".join(f"{number}.png,hat\n" for number in range(39))
    (folder / "labels.csv").write_text("file,label\n" + rows + "gone.png,hat\n")
    run(monkeypatch, "flat", "--into", "data/raw")
    assert (workspace / ".genai/rejected.csv").read_text().splitlines() == [
        "source,reason,detail",
        "gone.png,missing_file,labels.csv row 40: no such image",
        "39.png,no_label,labels.csv has no row for it",
    ]
    assert "rejected (all in .genai/rejected.csv): missing_file 1, no_label 1" in capsys.readouterr().out
