"""Small files are replaced completely or not at all."""

import os
from pathlib import Path

import pytest

from flows.presets import write_preset
from flows.registry.base import set_start
from flows.whole_file import write_file
from tests.flows.conftest import ROOT


def test_a_file_is_written_with_its_folder_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "new/file"
    write_file(path, "caf\u00e9\n")
    assert path.read_bytes() == b"caf\xc3\xa9\n"
    write_file(path, b"\x00\r\n")
    assert path.read_bytes() == b"\x00\r\n"
    assert list(path.parent.iterdir()) == [path]


def test_the_old_file_stays_if_the_write_is_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for a kill just before the rename."""
    params = (ROOT / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(params)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write_preset(tmp_path, "cifar10", force=True)
    with pytest.raises(KeyboardInterrupt):
        set_start(tmp_path, "base")
    assert (tmp_path / "params.yaml").read_text() == params
