"""`genai data status` and `genai data diff` on a small project whose data grow, with the real DVC and stages."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from flows.data.add import DataError
from flows.data.diff import DataDiff, as_json, diff
from flows.data.objects import RemoteError
from flows.data.remote import push
from flows.data.status import status
from flows.data.stores import Stores, add_default_remote
from flows.data.versions import VersionError, resolve, version_at
from flows.data.view import diff_parts
from flows.graph import open_repo
from tests.flows.conftest import DVC_WARNS, genai, shell
from tests.project import new_checkout

pytestmark = DVC_WARNS

# Three states of the data, each a commit: the first, one with more images of which some have another class, and one
# with data/raw changed but not prepared.
BASE, MORE = 120, 40


def save(folder: Path, numbers: range, seed: int, brightness: int = 0) -> None:
    """Grey images of two classes, all different. Another brightness gives images far from these."""
    for number in numbers:
        pixels = np.random.default_rng([seed, number]).integers(0, 120, (8, 8)) + brightness
        path = folder / ("left" if number % 2 else "right") / f"{seed}-{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(path)


def add(folder: Path, source: Path) -> None:
    answer = genai(folder, "data", "add", str(source))
    assert answer.returncode == 0, answer.stdout + answer.stderr


def commit(folder: Path, message: str) -> None:
    shell(folder, f"git add -A && git commit -q -m {message} && git tag {message}")


@pytest.fixture(scope="module")
def grown(_own_settings: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("grown")
    folder = new_checkout(place / "checkout")
    raw = folder / "data" / "raw" / "base"  # files of a person, which are changed by hand
    save(raw, range(BASE), seed=1)
    (raw / "left" / "no-image.png").write_text("<html>")
    shell(folder, "dvc add -q data/raw")
    shell(folder, "dvc repro -q prepare extractor")
    commit(folder, "one")

    save(place / "more", range(MORE), seed=2, brightness=100)
    add(folder, place / "more")
    shutil.move(raw / "left" / "1-1.png", raw / "right" / "1-1.png")  # another class
    (raw / "left" / "1-3.png").unlink()
    shutil.move(raw / "left" / "1-5.png", raw / "left" / "five.png")  # another name
    (raw / "left" / "five.txt").write_text("five of them\nas a picture")
    shell(folder, "dvc add -q data/raw && dvc repro -q prepare")
    commit(folder, "two")

    save(place / "late", range(10), seed=3)
    add(folder, place / "late")
    commit(folder, "three")
    return folder


@pytest.fixture(scope="module")
def compared(grown: Path) -> DataDiff:
    return diff(grown, "one", "two")


@pytest.fixture(scope="module")
def found(compared: DataDiff) -> dict[str, Any]:
    return as_json(compared)


def test_the_output_names_changed_captions(compared: DataDiff) -> None:
    lines = [part for part in diff_parts(compared) if isinstance(part, str)]
    assert any(line.endswith("renamed 2, with other captions 1") for line in lines)
    assert "  recaptioned: base/left/five.png (none -> five of them ...)" in lines


def test_images_of_two_revisions(found: dict[str, Any]) -> None:
    images = found["images"]
    assert images["matched_by"] == "pixels"
    assert (images["before_images"], images["after_images"]) == (BASE, BASE + MORE - 1)
    assert (images["added"], images["removed"], images["relabelled"]) == (MORE, 1, 1)
    assert images["moved_between_splits"] == 0
    assert images["renamed"] == 2
    assert images["added_share"] == pytest.approx(MORE / (BASE + MORE - 1))
    assert images["examples"]["relabelled"] == [{"source": "base/right/1-1.png", "before": "left", "after": "right"}]
    captioned = {"source": "base/left/five.png", "before": "", "after": "five of them\nas a picture"}
    assert (images["recaptioned"], images["examples"]["recaptioned"]) == (1, [captioned])
    assert images["examples"]["removed"] == [{"source": "base/left/1-3.png", "before": "left", "after": None}]
    assert {entry["name"]: entry["after"] for entry in images["classes"]} == {"left": 78, "right": 81}
    assert found["before"]["rejected"] == found["after"]["rejected"] == {"not_an_image": 1}
    assert sum(found["after"]["splits"].values()) == BASE + MORE - 1
    assert found["notes"] == []


def test_distance_uses_the_older_extractor(found: dict[str, Any]) -> None:
    distance = found["distance"]
    assert distance["feature"] == "classifier"
    assert distance["dimension"] == 16
    assert distance["images"] <= MORE
    assert distance["frechet_distance"] > distance["floor"] > 0
    assert distance["over_floor"] > 3, "brighter by 100 of 255"


def test_extractor_of_a_revision_runs_no_code(grown: Path, tmp_path: Path) -> None:
    """A branch whose extractor names a command: comparing with it must not run the command."""
    folder, witness = Path(shutil.copytree(grown, tmp_path / "checkout", symlinks=True)), tmp_path / "witness"
    shell(folder, "git checkout -q -b theirs one && dvc checkout -q models/extractor")
    path = folder / "models/extractor/config.json"
    settings = {"factory": "os:system", "arguments": {"command": f"touch {witness}"}}
    planted = json.dumps({**json.loads(path.read_text()), "kind": "module", "settings": settings})
    path.unlink()  # a link into DVC's cache
    path.write_text(planted)
    shell(folder, "dvc commit -q -f extractor")
    commit(folder, "planted")
    shell(folder, "git checkout -q two")
    with pytest.raises(DataError, match=r"config.json: made by a call of 'os:system' .*nothing was called"):
        diff(folder, "planted", "two")
    assert not witness.exists()
    assert as_json(diff(folder, "planted", "two", distance=False))["images"]["added"] == MORE


def test_json_has_exactly_the_documented_keys(grown: Path, found: dict[str, Any]) -> None:
    """As in docs/data.md."""
    assert list(found) == ["before", "after", "images", "distance", "raw_files", "notes"]
    assert found["raw_files"] is None
    printed = genai(grown, "data", "diff", "one", "two", "--json", "--no-distance")
    assert json.loads(printed.stdout) == {**found, "distance": None}


def test_versions_by_the_first_digits_of_hashes(grown: Path) -> None:
    with open_repo(grown) as repo:
        stores = Stores(repo)
        one = resolve(repo, "one", stores)
        assert one.raw is not None
        assert resolve(repo, one.raw[:8], stores).commit == one.commit
        assert resolve(repo, one.raw, stores).commit == one.commit
        folder = stores.listing(one.prepared)
        assert folder is not None
        [place] = [Path(stores.cache.oid_to_path(md5)) for name, md5 in folder.items() if name == "dataset.json"]
        fingerprint = json.loads(place.read_text())["fingerprint"]
        assert resolve(repo, fingerprint[:12], stores).commit == one.commit

        with pytest.raises(VersionError, match=r"not a git revision or a version.*\(working tree\).*\(") as error:
            resolve(repo, "ffffffff", stores)
        assert str(error.value).count(one.raw[:10]) == 1
        with pytest.raises(VersionError):
            resolve(repo, "--all", stores)


def test_same_version_in_two_commits_is_one_version(grown: Path) -> None:
    """Commit `three` changed only data/raw, so dvc.lock and the prepared version are those of `two`."""
    with open_repo(grown) as repo:
        two, three = (version_at(grown, name, name) for name in ("two", "three"))
        assert two.prepared == three.prepared
        assert two.is_prepared
        assert not three.is_prepared
        assert three.raw is not None
        assert resolve(repo, three.raw[:10], Stores(repo)).raw == three.raw


def test_unprepared_versions_are_compared_by_raw_files(grown: Path) -> None:
    found = diff(grown, "two")
    assert found.images is None
    assert found.raw_files is not None
    assert found.raw_files["added"] >= 1
    assert (found.raw_files["removed"], found.raw_files["modified"]) == (0, 0)
    assert "working tree: this version of data/raw is not prepared, but another one is" in found.notes
    answer = genai(grown, "data", "diff", "two")
    assert answer.returncode == 0
    assert "genai run prepare" in answer.stdout


def test_diff_does_not_change_the_working_tree(grown: Path) -> None:
    before = shell(grown, "git status --short && ls -R data | md5sum")
    diff(grown, "two", "one", distance=False)
    assert shell(grown, "git status --short && ls -R data | md5sum") == before
    assert not (grown / ".genai" / "diff").exists()


def test_status_of_unprepared_data(grown: Path) -> None:
    found = status(grown)
    assert {source.name: source.images for source in found.sources} == {"base": BASE - 1, "late": None, "more": MORE}
    assert [source.rejected for source in found.sources] == [1, 0, 0]
    assert found.is_committed
    assert found.raw_changes == ()
    assert found.prepared is not None
    assert found.prepared.splits == {
        split: sum(getattr(entry, split) for entry in found.prepared.classes) for split in ("train", "test")
    }
    assert found.prepared.rejected == {"not_an_image": 1}
    assert found.prepared.captioned_images == 1
    assert found.prepare_action == "run"
    assert any("data/raw" in reason for reason in found.prepare_reasons)
    assert found.remote is None
    printed = genai(grown, "data", "status").stdout
    assert "out of date" in printed
    assert "images, classes and rejected: of the last preparation" in printed
    assert f"  captions: 1 of {BASE - 1 + MORE} images" in printed
    assert "genai data push --to" in printed


@pytest.fixture(scope="module")
def clone(grown: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone with an empty cache. The remote has everything."""
    place = tmp_path_factory.mktemp("clone")
    shell(grown, f"git clone -q {grown} {place}/clone && cp -r {grown}/.dvc/cache/files {place}/store")
    add_default_remote(place / "clone", str(place / "remote"))
    (place / "remote").mkdir()
    shutil.move(place / "store", place / "remote" / "files")
    return place / "clone"


def test_diff_in_a_clone_reads_the_remote_and_fills_no_cache(clone: Path, found: dict[str, Any]) -> None:
    there = as_json(diff(clone, "one", "two"))
    assert there == found
    assert not list((clone / ".dvc" / "cache").rglob("*.dir"))


def test_status_in_a_clone_says_where_the_data_are(clone: Path) -> None:
    found = status(clone)
    assert found.prepared is None
    assert (found.raw_place, len(found.raw_changes)) == ("elsewhere", 1)
    assert "genai data pull" in found.raw_changes[0]
    printed = genai(clone, "data", "status").stdout
    assert "  not here: data/raw: neither in the workspace nor in DVC's cache" in printed
    assert "data/prepared  missing; fetch it: genai data pull" in printed
    assert "not tracked yet" not in printed
    assert found.remote is not None
    assert (found.remote.missing, found.remote.error) == (0, None)


def test_damaged_objects_at_the_remote_are_detected(clone: Path) -> None:
    version = version_at(clone, "one", "one")
    with open_repo(clone) as repo:
        stores = Stores(repo)
        files = stores.listing(version.prepared)
        assert files is not None
        assert stores.remote is not None
        place = Path(stores.remote.oid_to_path(files["manifest.parquet"]))
    place.chmod(0o644)
    place.write_bytes(b"x" * place.stat().st_size)
    with pytest.raises(RemoteError, match=r"manifest\.parquet .* damaged at the remote"):
        diff(clone, "one", "two")


def test_status_while_a_run_writes_dvc_lock(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, lock = (done / "dvc.lock").read_text(), done / "dvc.lock"
    lock.write_text(whole.replace("schema: '2.0'\n", "", 1))
    monkeypatch.setattr("flows.plan.time.sleep", lambda _seconds: lock.write_text(whole))
    assert status(done).raw.files == 3


def test_status_names_changes(done: Path) -> None:
    """In a toy workspace without a prepared dataset."""
    found = status(done)
    assert (found.raw.files, found.raw_changes, found.is_committed, found.prepared) == (3, (), True, None)
    (done / "data" / "raw" / "new.txt").write_text("new")
    assert (status(done).raw_changes, status(done).raw_place) == (("data/raw: 1 file added",), "workspace")
    shutil.rmtree(done / "data" / "raw")
    assert status(done).raw_place == "cache"
    assert "not here: data/raw is not in the workspace; DVC's cache has it" in genai(done, "data", "status").stdout
    shell(done, "dvc checkout -q data/raw")
    (done / "data" / "raw" / "new.txt").write_text("new")
    shell(done, "dvc add -q data/raw")
    found = status(done)
    assert (found.raw.files, found.raw_changes, found.is_committed) == (4, (), False)

    add_default_remote(done, str(done.parent / "store"))
    remote = status(done).remote
    assert remote is not None
    assert remote.missing == remote.objects
    assert remote.by_output["data/raw"] == 5
    push(done)
    remote = status(done).remote
    assert remote is not None
    assert remote.missing == 0

    shell(done, f"dvc remote add -q other {done.parent / 'other'}")
    elsewhere = status(done, remote="other").remote
    assert elsewhere is not None
    assert (elsewhere.missing, elsewhere.address) == (remote.objects, str(done.parent / "other"))
    with pytest.raises(RemoteError, match=r"unknown remote 'none'; available: storage, other"):
        status(done, remote="none")
    with pytest.raises(RemoteError, match="unknown remote 'none'"):
        diff(done, remote="none")
