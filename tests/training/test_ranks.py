"""Who starts the processes of a training; tests/tasks/test_ranks.py starts some."""

import torch

from genai_core.training.ranks import Ranks, launch
from tests.slurm import in_a_slurm_job, with_srun

CPU = torch.device("cpu")


def test_a_machine_with_srun_trains_as_any_other(monkeypatch, tmp_path):
    """Fabric's warning that `srun` was not used would be an error here."""
    with_srun(monkeypatch, tmp_path)
    ranks = Ranks(launch(CPU, "32-true", 1, 1))
    assert (ranks.count, ranks.rank) == (1, 0)


def test_in_a_slurm_job_a_stage_is_one_process_and_the_first(monkeypatch, tmp_path):
    in_a_slurm_job(monkeypatch, tmp_path, tasks=4)
    ranks = Ranks(launch(CPU, "32-true", 1, 1))
    assert (ranks.count, ranks.rank, ranks.is_first) == (1, 0, True)
    assert ranks.part(8) == range(8)
