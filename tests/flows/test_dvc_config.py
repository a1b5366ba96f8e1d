"""DVC's configuration with letters beyond ASCII: paths of checkouts and of remotes."""

import shutil
import stat
from pathlib import Path

import pytest

from flows.data.stores import add_default_remote, keep_indexes_private
from flows.dvc_config import ConfigFileError, edited_config
from flows.graph import open_repo
from flows.runs.checkout import open_detached
from tests.flows.conftest import DVC_WARNS, shell

pytestmark = DVC_WARNS

SECRET = "http://me:token@127.0.0.1:9/store"


@pytest.fixture
def checkout(fresh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout in a folder with letters beyond ASCII, with a remote whose address has a secret."""
    monkeypatch.delenv("DVC_SITE_CACHE_DIR")
    folder = Path(shutil.move(fresh, tmp_path / "Prüfung 画像"))
    assert add_default_remote(folder, SECRET)
    return folder


def test_indexes_of_a_checkout_with_such_a_path(checkout: Path) -> None:
    keep_indexes_private(checkout)
    with open_repo(checkout) as repo:
        assert Path(repo.config["core"]["site_cache_dir"]) == checkout / ".dvc" / "tmp" / "site"
        assert repo.config["remote"]["storage"]["url"] == SECRET
    assert shell(checkout, "dvc remote list").split() == ["storage", SECRET, "(default)"]


def test_run_has_a_place_in_such_a_checkout(checkout: Path) -> None:
    """Its own configuration names the workspace's cache."""
    place = open_detached(checkout, "HEAD", checkout / ".genai" / "worktrees" / "one")
    with open_repo(place) as repo, open_repo(checkout) as home:
        assert repo.cache.local.path == home.cache.local.path
        assert repo.config["remote"]["storage"]["url"] == SECRET


def test_remote_with_such_a_path(fresh: Path, tmp_path: Path) -> None:
    add_default_remote(fresh, str(tmp_path / "Größe"))
    with open_repo(fresh) as repo:
        assert repo.config["remote"]["storage"]["url"] == str(tmp_path / "Größe")


def test_value_that_cannot_be_written_leaves_the_file_as_it_was(checkout: Path) -> None:
    path = checkout / ".dvc" / "config.local"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o640)
    before = path.read_bytes()
    with (
        open_repo(checkout) as repo,
        pytest.raises(ConfigFileError, match=r"config\.local: '\\udcff' cannot be written in (?i:utf-8)"),
        edited_config(repo.config, "local") as settings,
    ):
        settings["core"]["site_cache_dir"] = "/not utf-8 \udcff"
    assert path.read_bytes() == before
    assert not list((checkout / ".dvc" / "tmp").glob("config-*"))
    keep_indexes_private(checkout)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
