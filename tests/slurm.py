"""A machine with Slurm, as a program in one of its jobs sees it."""

import os
from pathlib import Path

import pytest


def with_srun(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Put an `srun` on the PATH that fails when called."""
    srun = folder / "srun"
    srun.write_text("#!/bin/sh\nexit 1\n")
    srun.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)


def in_a_slurm_job(monkeypatch: pytest.MonkeyPatch, folder: Path, tasks: int) -> None:
    """Environment variables of the job's second task; `folder` contains its `srun`."""
    with_srun(monkeypatch, folder)
    for name, value in {
        "SLURM_JOB_ID": "4711",
        "SLURM_JOB_NAME": "train",
        "SLURM_NODELIST": "n1",
        "SLURM_NNODES": "1",
        "SLURM_NTASKS": str(tasks),
        "SLURM_STEP_NUM_TASKS": str(tasks),
        "SLURM_PROCID": "1",
        "SLURM_LOCALID": "1",
        "SLURM_NODEID": "0",
    }.items():
        monkeypatch.setenv(name, value)
