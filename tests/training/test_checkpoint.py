import os
import time

import torch

from genai_core.training.checkpoint import Checkpoints


def state(step):
    return {"step": step, "tensor": torch.arange(3) * step, "rows": [{"loss": 0.5}], "pair": (1, torch.ones(1))}


def checkpoints(tmp_path, **identity):
    return Checkpoints(tmp_path, "train@gan", {"seed": 0, **identity})


def test_round_trip(tmp_path):
    checkpoints(tmp_path).save(3, state(3))
    loaded = checkpoints(tmp_path).load()
    assert loaded["step"] == 3
    assert torch.equal(loaded["tensor"], torch.arange(3) * 3)
    assert loaded["rows"] == [{"loss": 0.5}]


def test_load_without_a_checkpoint_returns_none(tmp_path):
    assert checkpoints(tmp_path).load() is None


def test_only_the_last_two_are_kept(tmp_path):
    kept = checkpoints(tmp_path)
    for step in (5, 9, 20, 100):
        kept.save(step, state(step))
    assert sorted(path.name[:17] for path in kept.folder.iterdir()) == ["step-000000000020", "step-000000000100"]
    assert kept.load()["step"] == 100


def test_the_last_save_is_the_newest_even_if_a_rollback_lowered_the_step(tmp_path):
    kept = checkpoints(tmp_path)
    for step in (400, 500, 150, 200):
        kept.save(step, state(step))
    assert sorted(path.name[:17] for path in kept.folder.iterdir()) == ["step-000000000150", "step-000000000200"]
    assert checkpoints(tmp_path).load()["step"] == 200
    checkpoints(tmp_path).save(100, state(100))  # another process counts on
    assert checkpoints(tmp_path).load()["step"] == 100


def test_a_damaged_checkpoint_is_skipped(tmp_path, capsys):
    kept = checkpoints(tmp_path)
    for step in (1, 2):
        kept.save(step, state(step))
    newest = max(kept.folder.iterdir())
    newest.write_bytes(newest.read_bytes()[:-10])
    assert kept.load()["step"] == 1
    assert "is damaged" in capsys.readouterr().out


def test_incomplete_files_are_ignored(tmp_path):
    kept = checkpoints(tmp_path)
    kept.save(1, state(1))
    (kept.folder / ".new-77").write_bytes(b"half")
    (kept.folder / "step-2.pt").write_bytes(b"foreign")
    assert kept.load()["step"] == 1


def test_another_dataset_has_its_own_checkpoints(tmp_path):
    checkpoints(tmp_path).save(1, state(1))
    assert checkpoints(tmp_path, dataset="other").load() is None


def test_delete_also_removes_abandoned_checkpoints(tmp_path):
    kept, abandoned, recent = checkpoints(tmp_path), checkpoints(tmp_path, seed=1), checkpoints(tmp_path, seed=2)
    others = [Checkpoints(tmp_path, name, {}) for name in ("train@gan-big", "train@gan-0", "train")]
    for each in (kept, abandoned, recent, *others):
        each.save(1, state(1))
    long_ago = time.time() - 15 * 24 * 3600
    for each in (abandoned, *others):
        os.utime(each.folder, (long_ago, long_ago))
    kept.delete()
    assert not kept.folder.exists()
    assert not abandoned.folder.exists()
    assert recent.load()  # another run with this name may resume
    assert all(other.load() for other in others)
    kept.delete()
