import json

import pytest

from genai_core.data.prepare.split import GIVEN
from genai_core.data.raw.source_json import Origin, SourceNote, given_splits, read_note


def write(folder, content):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "source.json").write_text(content if isinstance(content, str) else json.dumps(content))


def test_round_trip(tmp_path):
    note = SourceNote("test", (Origin("https://example.org/a.zip", "0" * 64),))
    write(tmp_path, note.to_json())
    assert read_note(tmp_path) == note


def test_a_repeated_origin_changes_nothing():
    origin = Origin("https://example.org/a.zip", None)
    once = SourceNote().with_origin(origin)
    assert once.with_origin(origin) == once
    assert len(once.with_origin(Origin(origin.address, "1")).origins) == 2


def test_splits_of_files_are_those_of_their_source(tmp_path):
    write(tmp_path / "a.test", {"schema_version": 1, "split": "test"})
    write(tmp_path / "b", {"schema_version": 1})
    (tmp_path / "c").mkdir()
    files = ["1.png", "a.test/hat/1.png", "a.test/hat/2.png", "b/1.png", "c/hat/1.png"]
    assert given_splits(tmp_path, files).tolist() == [GIVEN[side] for side in (None, "test", "test", None, None)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[1]", "expected an object"),
        ({"split": "test"}, "schema_version None, this code reads 1"),
        ({"schema_version": 1, "split": "both"}, "split is 'both'; allowed are train, test and null"),
        ({"schema_version": 1, "splits": "test"}, "unknown keys splits"),
        ({"schema_version": 1, "origins": [{"url": "x"}]}, "every origin needs an address and a revision"),
    ],
)
def test_faults_are_named(content, message, tmp_path):
    write(tmp_path / "a", content)
    with pytest.raises(ValueError, match=rf"a/source\.json: {message}"):
        given_splits(tmp_path, ["a/1.png"])
