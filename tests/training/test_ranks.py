"""How training launches its processes; tests/tasks/test_ranks.py trains with two."""

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
