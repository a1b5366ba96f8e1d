"""Links of the report to the pages of searches."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tasks.report_searches import read_searches


def write_study(folder: Path, name: str, when: float, **changes: Any) -> None:
    trials = [{"number": 0, "distance": None}, {"number": 1, "distance": 2.34567}]
    values = {"study": name, "metric": "fd_classifier", "trials": trials, "best": 1, **changes}
    path = folder / name / "study.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(values))
    os.utime(path, (when, when))


def test_studies_are_linked_the_newest_first_and_damaged_ones_are_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GENAI_SEARCHES", raising=False)
    assert read_searches() == ()
    write_study(tmp_path / "search", "old", 1.0)
    write_study(tmp_path / "search", "new", 2.0, best=None)
    write_study(tmp_path / "search", "broken", 3.0, best=7)
    write_study(tmp_path / "search", "of_other_code", 4.0, best=0)
    write_study(tmp_path / "search", "cut", 5.0, trials=None)
    (tmp_path / "search/empty").mkdir()
    (tmp_path / "search/empty/study.json").write_text("")
    found = [(link.study, link.page, link.summary) for link in read_searches()]
    assert found == [
        ("new", "../search/new/report.html", "2 trials, none complete"),
        ("old", "../search/old/report.html", "2 trials; fd_classifier 2.346 with trial 1"),
    ]


def test_a_run_names_the_folder_of_its_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_study(tmp_path / "search", "one", 1.0)
    (tmp_path / "checkout").mkdir()
    monkeypatch.chdir(tmp_path / "checkout")
    monkeypatch.setenv("GENAI_SEARCHES", str(tmp_path / "search"))
    assert [link.page for link in read_searches()] == ["../search/one/report.html"]
