"""When production counts as worse, the next seed, and the data versions of a range of revisions."""

import json
from pathlib import Path

import pytest

from flows.data.versions import VersionError, data_versions
from flows.git import GitError
from flows.measuring.backfill_table import Row, keep, place_of, read_table, show, write_table
from flows.measuring.backfill_table import done as done_row
from flows.registry.production import Distance
from flows.registry.sample_production import next_seed
from flows.watching.measure_production import judge
from tests.flows.conftest import shell


def at(value: float, half: float = 0.1) -> Distance:
    return Distance("fd_classifier", value, value - half, value + half)


@pytest.mark.parametrize(
    ("now", "is_worse"),
    [
        (at(2.0), False),
        (at(2.5), False),  # farther, by less than the share
        (at(2.6), False),  # on the limit
        (at(2.7), True),
        (at(2.7, half=0.8), False),  # beyond the limit, and within noise
        (at(1.0), False),
    ],
)
def test_worse_means_beyond_the_share_and_beyond_noise(now: Distance, is_worse: bool) -> None:
    found = judge(at(2.0), now, 0.3)
    assert found.is_worse is is_worse
    assert ("(within noise)" in found.reason) is (now.low < 2.0 < 2.6 < now.value)
    assert "fd_classifier" in found.reason
    # With few test images, the distance at promotion is noisy, too.
    assert judge(at(2.0, half=0.1), at(2.7, half=0.4), 0.3).is_worse
    assert not judge(at(2.0, half=0.6), at(2.7, half=0.4), 0.3).is_worse


def test_next_seed_repeats_no_image(tmp_path: Path) -> None:
    assert next_seed(tmp_path, "v0.0.1", 20_000) == 20_000
    for version, seed, images in (("v0.0.1", 20_000, 100), ("v0.0.1", 20_100, 50), ("v0.0.10", 90_000, 5)):
        folder = tmp_path / f"{version}-{seed}"
        folder.mkdir()
        (folder / "provenance.json").write_text(json.dumps({"seed": seed, "images": images}))
    assert next_seed(tmp_path, "v0.0.1", 20_000) == 20_150
    assert next_seed(tmp_path, "v0.0.2", 20_000) == 20_000


def test_versions_of_a_range_once_each_and_oldest_first(fresh: Path) -> None:
    first = shell(fresh, "git rev-parse HEAD").strip()
    for text in ("one", "two"):
        (fresh / "data/raw/more.txt").write_text(text)
        shell(fresh, f"dvc add -q data/raw && git commit -q -a -m {text}")
        shell(fresh, "git commit -q --allow-empty -m other")
    (fresh / "data/raw/more.txt").write_text("one")  # back to what was there
    shell(fresh, "dvc add -q data/raw && git commit -q -a -m back")
    found = data_versions(fresh, f"{first}..HEAD")
    assert len({version.raw for version in found}) == len(found) == 3
    assert found[0].commit == first
    assert data_versions(fresh, f"{first}..") == found
    assert [version.raw for version in data_versions(fresh, "HEAD..HEAD")] == [found[1].raw]
    for wrong in ("HEAD", "..HEAD", "HEAD...HEAD", ""):
        with pytest.raises(VersionError, match=r"expected A\.\.B"):
            data_versions(fresh, wrong)
    with pytest.raises(GitError, match="knows no commit 'nothing'"):
        data_versions(fresh, "nothing..HEAD")
    shell(fresh, "git rm -q --cached data/raw.dvc && git commit -q -m none")
    with pytest.raises(VersionError, match=r"no commit in this range has data/raw\.dvc"):
        data_versions(fresh, "HEAD..HEAD")


def test_backfill_results_are_stored_completely_or_not_at_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = place_of(tmp_path, "commit", "v0.0.1")
    assert place != place_of(tmp_path, "other", "v0.0.1")
    place.mkdir(parents=True)
    row = Row("a" * 32, "c" * 40, "2026-01-02T00:00:00Z", 1000, 200, "v0.0.1", "b" * 32, "fd_classifier", 2.5, 2.1, 2.9)
    assert done_row(place, row.data) is None
    keep(place, row)
    assert done_row(place, row.data) == row
    (place / f"{row.data}.json").write_text('{"data": "cut')
    assert done_row(place, row.data) is None
    write_table(tmp_path / "out", [row])
    assert (read_table(tmp_path / "out"), read_table(tmp_path / "nothing")) == ([row], [])
    show(tmp_path / "out")
    show(tmp_path / "nothing")
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["aaaaaaaaaa", "2026-01-02", "1,000", "200", "2.5", "2.1", "to", "2.9"]
