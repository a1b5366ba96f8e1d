"""How training launches its processes; tests/tasks/test_ranks.py trains with two."""

from types import SimpleNamespace

import pytest
import torch

from genai_core.training.ranks import Ranks, launch
from tests.slurm import in_a_slurm_job, with_srun

CPU = torch.device("cpu")


def test_a_machine_with_srun_trains_like_any_other(monkeypatch, tmp_path):
    """Fabric would warn that `srun` is not used, which is an error in tests."""
    with_srun(monkeypatch, tmp_path)
    ranks = Ranks(launch(CPU, "32-true", 1, 1))
    assert (ranks.count, ranks.rank) == (1, 0)


def test_in_a_slurm_job_a_stage_is_a_single_process(monkeypatch, tmp_path):
    in_a_slurm_job(monkeypatch, tmp_path, tasks=4)
    ranks = Ranks(launch(CPU, "32-true", 1, 1))
    assert (ranks.count, ranks.rank, ranks.is_first) == (1, 0, True)
    assert ranks.part(8) == range(8)


def test_a_batch_has_an_image_for_each_process():
    ranks = Ranks(SimpleNamespace(world_size=4, global_rank=3, device=CPU))
    assert ranks.part(4) == range(3, 4)
    said = r"training\.batch_images \(in a fine-tuning, finetune\.batch_images\): got 3; .* there are 4"
    with pytest.raises(ValueError, match=said):
        ranks.part(3)
