"""Sources at addresses, with the real DVC: a DVC repository on this disk, and an HTTP server on loopback."""

import hashlib
import http.server
import json
import shutil
import subprocess
import sys
import threading
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from flows.cli import main
from flows.data.add import DataError, add
from flows.data.addresses import (
    AddressError,
    DvcAddress,
    _commit,
    _located,
    fetched,
    is_address,
    parse_dvc_address,
)
from tests.packed import files_in
from tests.test_rooms import ROOT


def run(folder: Path, *command: str) -> str:
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def dvc(folder: Path, *arguments: str) -> None:
    run(folder, sys.executable, "-m", "dvc", "--quiet", *arguments)


def make_repository(folder: Path) -> Path:
    folder.mkdir(parents=True)
    run(folder, "git", "init", "--quiet", "--initial-branch=main")
    dvc(folder, "init")
    return folder


def save_photos(folder: Path, seed: int) -> None:
    random = np.random.default_rng(seed)
    for name in ("hat", "shoe"):
        for number in range(2):
            path = folder / name / f"{seed}-{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random.integers(0, 256, (9, 9), dtype=np.uint8)).save(path)


@pytest.fixture(scope="module")
def _empty(tmp_path_factory):
    """A DVC repository that contains only the project's parameters."""
    folder = make_repository(tmp_path_factory.mktemp("empty") / "workspace")
    (folder / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    return folder


@pytest.fixture
def workspace(_empty, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return Path(shutil.copytree(_empty, tmp_path / "workspace", symlinks=True))


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """Another DVC repository, which the tests only read: two versions of `photos`, the first one tagged v1."""
    folder = make_repository(tmp_path_factory.mktemp("other") / "other")
    for seed in (1, 2):
        save_photos(folder / "photos", seed)
        dvc(folder, "add", "photos")
        run(folder, "git", "add", "-A")
        run(folder, "git", "commit", "--quiet", "-m", f"version {seed}")
        run(folder, "git", "tag", "-a", f"v{seed}", "-m", "x")
    return folder


@pytest.fixture
def site(tmp_path):
    """An HTTP server of a folder; yields the folder and its address."""
    folder = tmp_path / "site-files"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def origins(workspace: Path, name: str) -> list[dict[str, str]]:
    return json.loads((workspace / "data" / "raw" / name / "source.json").read_text())["origins"]


def nothing_is_left(workspace: Path) -> bool:
    scratch = workspace / ".genai" / "scratch"
    unfinished = [path for path in scratch.iterdir() if path.is_dir()] if scratch.exists() else []
    return not unfinished and not (workspace / "data" / ".raw.new").exists()


@pytest.mark.long
def test_folder_of_a_dvc_repository_at_an_older_and_the_newest_revision(workspace, other):
    assert add(workspace, f"dvc://{other}#photos@v1", None).version.files == 2  # a pack and source.json
    assert len(files_in(workspace / "data/raw/photos")) == 4
    assert nothing_is_left(workspace)
    assert add(workspace, f"dvc://{other}#photos", None).version.files == 3
    assert len(files_in(workspace / "data/raw/photos")) == 8
    first, second = (run(other, "git", "rev-parse", f"{name}^{{}}").strip() for name in ("v1", "v2"))
    address = f"dvc://{other}#photos"
    assert origins(workspace, "photos") == [
        {"address": address, "revision": first},
        {"address": address, "revision": second},
    ]
    before = (workspace / "data" / "raw.dvc").read_bytes()
    add(workspace, f"{address}@{second}", None)
    assert (workspace / "data" / "raw.dvc").read_bytes() == before
    assert nothing_is_left(workspace)


def test_archive_over_http_keeps_its_split(workspace, site, tmp_path):
    folder, address = site
    for seed, side in enumerate(("train", "test")):
        save_photos(tmp_path / "photos" / side, seed)
    with zipfile.ZipFile(folder / "photos.zip", "w") as archive:
        for path in sorted((tmp_path / "photos").rglob("*.png")):
            archive.write(path, str(path.relative_to(tmp_path / "photos")))
    result = CliRunner().invoke(
        main,
        ["--workspace", str(workspace), "data", "add", f"{address}/photos.zip?token=secret", "--split", "--json"],
        catch_exceptions=False,
    )
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert (said["splits"], said["total_images"]) == ({"train": 4, "test": 4}, 8)
    assert said["understood"]["split"] == "the folders test and train"
    assert said["version"]["files"] == 4
    digest = hashlib.sha256((folder / "photos.zip").read_bytes()).hexdigest()
    for side in ("train", "test"):
        assert origins(workspace, f"photos.{side}") == [{"address": f"{address}/photos.zip", "revision": digest}]
        assert len(files_in(workspace / "data/raw" / f"photos.{side}")) == 4
    assert nothing_is_left(workspace)


def test_missing_sources_give_one_line(workspace, site, other):
    _, address = site
    for source, message in {
        f"{address}/none.zip?token=secret": rf"^{address}/none\.zip: DVC could not fetch it; nothing was added:",
        f"dvc://{other}#none": "DVC could not fetch it",
        f"dvc://{other}#photos@v9": "DVC could not fetch it",
        f"dvc://{other}-none#photos": "not a reachable git repository",
        "ftp://example.org/a.zip": "unknown scheme; known are http, https, s3",
        "https://": "expected an address that ends in",
        "ftp://me:secret@example.org/a.zip": "unknown scheme",
        "dvc://https://secret@127.0.0.1:9/r#photos": "https://127.0.0.1:9/r: not a reachable git repository",
        "dvc://https://secret@127.0.0.1:9/r": "expected dvc://REPOSITORY#PATH",
        f"{address.replace('//', '//me:secret@')}/none.zip": f"{address}/none.zip: DVC could not fetch it",
    }.items():
        with pytest.raises(DataError, match=message) as error:
            add(workspace, source, None)
        assert "secret" not in str(error.value)
    assert not (workspace / "data" / "raw").exists()
    assert nothing_is_left(workspace)


def test_page_instead_of_an_archive(workspace, site):
    folder, address = site
    (folder / "photos.zip").write_text("<html>please log in</html>")
    with pytest.raises(DataError, match=r"photos\.zip: damaged, .*; nothing was added"):
        add(workspace, f"{address}/photos.zip", None)
    assert not (workspace / "data" / "raw").exists()
    assert nothing_is_left(workspace)


def test_revision_is_looked_up_by_its_full_name(tmp_path, monkeypatch):
    """A clone also has its remote's references, and others may end in the same name."""
    origin = tmp_path / "origin"
    origin.mkdir()
    run(origin, "git", "init", "--quiet", "--initial-branch=main")
    commit = ["git", "commit", "--quiet", "--allow-empty", "-m"]
    run(origin, *commit, "one")
    run(tmp_path, "git", "clone", "--quiet", "origin", "clone")
    clone = tmp_path / "clone"
    for message in ("two", "three", "four"):
        run(clone, *commit, message)
    run(clone, "git", "tag", "-a", "v1", "-m", "x", "HEAD~1")
    run(clone, "git", "tag", "old/v1", "HEAD~2")
    run(clone, "git", "branch", "x/main", "HEAD~2")
    head, tagged, theirs = (run(clone, "git", "rev-parse", name).strip() for name in ("HEAD", "HEAD~1", "origin/main"))
    for revision, commit_hash in {
        None: head,
        "HEAD": head,
        "main": head,
        "refs/heads/main": head,
        "heads/main": head,
        "v1": tagged,
        "origin/main": theirs,
        tagged: tagged,
        "none": "none",
    }.items():
        assert _commit(str(clone), revision) == commit_hash, revision

    commands = []
    monkeypatch.chdir(tmp_path)
    (tmp_path / "workspace").mkdir()
    with fetched(tmp_path / "workspace", "dvc://clone#photos", commands.append) as found:
        assert (found.address, found.revision) == ("dvc://clone#photos", head)
    assert commands[0][:4] == ["dvc", "get", str(clone), "photos"]
    assert _located("https://h/" + "x" * 5000) == "https://h/" + "x" * 5000


class TestParsing:
    def test_addresses_and_paths_are_distinguished(self):
        assert all(map(is_address, ["s3://b/x", "https://h/x.zip", "HTTPS://h/x", "dvc:///srv/r#x", "dvc://../r#x"]))
        assert not any(map(is_address, ["builtin:digits", "/a/b", "a/b", "C:\\x", "a://"[:2]]))

    @pytest.mark.parametrize(
        ("source", "repository", "path", "revision"),
        [
            ("dvc:///srv/r#data/x", "/srv/r", "data/x", None),
            ("dvc://https://h/o/r#x@v1.2", "https://h/o/r", "x", "v1.2"),
            ("dvc://git@h:o/r.git#x/", "git@h:o/r.git", "x", None),
        ],
    )
    def test_parts_of_a_dvc_address(self, source, repository, path, revision):
        assert parse_dvc_address(source) == DvcAddress(repository, path, revision)

    @pytest.mark.parametrize("source", ["dvc://", "dvc:///r", "dvc:///r#", "dvc://#x", "dvc:///r#/"])
    def test_missing_part_of_a_dvc_address(self, source):
        with pytest.raises(AddressError, match="expected dvc://REPOSITORY#PATH"):
            parse_dvc_address(source)

    @pytest.mark.parametrize(
        "source", ["dvc://ext::sh -c x#p", "dvc://--upload-pack=x#p", "dvc:///r#-x", "dvc:///r#x@-f"]
    )
    def test_refuses_what_git_would_run_or_parse_as_an_option(self, source):
        with pytest.raises(AddressError, match="refused"):
            parse_dvc_address(source)
