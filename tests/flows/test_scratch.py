"""Scratch folders: private, removed at the end, and removed later if the command was killed."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from flows.scratch import SCRATCH, scratch_folder
from tests.flows.conftest import ROOT


def folders(root: Path) -> list[str]:
    return sorted(path.name for path in (root / SCRATCH).iterdir() if path.is_dir())


def fail_in(root: Path) -> None:
    with scratch_folder(root, "diff") as folder:
        (folder / "sub").mkdir()
        raise ZeroDivisionError


def test_two_concurrent_folders_are_separate_and_removed(tmp_path: Path) -> None:
    with scratch_folder(tmp_path, "diff") as one, scratch_folder(tmp_path, "diff") as two:
        assert one != two
        (one / "file").write_text("1")
        with pytest.raises(ZeroDivisionError):
            fail_in(tmp_path)
        assert (one / "file").read_text() == "1"
        assert len(folders(tmp_path)) == 2
    assert folders(tmp_path) == []


def test_folders_of_killed_commands_are_removed_and_others_kept(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from flows.scratch import scratch_folder\n"
        "with scratch_folder(Path(sys.argv[1]), 'killed') as folder:\n"
        "    (folder / 'half').write_text('x'); print(folder.name, flush=True); time.sleep(600)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as owner:
        try:
            assert owner.stdout
            name = owner.stdout.readline().strip()
            with scratch_folder(tmp_path, "next"):
                assert name in folders(tmp_path), "its owner is at work"
        finally:
            owner.kill()
    assert folders(tmp_path) == [name]
    (tmp_path / SCRATCH / "an orphan made it again").mkdir()
    with scratch_folder(tmp_path, "next") as folder:
        assert folders(tmp_path) == [folder.name]


def test_many_threads_sweep_at_once(tmp_path: Path) -> None:
    lost: list[Path] = []

    def work(number: int) -> None:
        for _ in range(30):
            with scratch_folder(tmp_path, str(number)) as folder:
                (folder / "file").write_text("x")
                if not (folder / "file").is_file():
                    lost.append(folder)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60.0)
    assert lost == []
    assert folders(tmp_path) == []
