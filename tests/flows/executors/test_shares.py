"""What a stage asks an engine for."""

import pytest

from flows.executors.shares import Offer, Share, described, share_of
from flows.graph import Needs
from genai_core.config import ConfigError
from tests.flows.executors.test_pools import compute

SMALL = Offer("a", 4, 16.0, 0)
GPU = Offer("b", 16, 128.0, 2)
CELLAR = Offer("c", 64, 512.0, 0, frozenset(["cellar"]))


@pytest.mark.parametrize(
    ("needs", "share"),
    [
        (Needs(cores=2, memory_gb=3), Share(2, 3, 0, None)),
        (Needs(gpus=2), Share(1, 0, 2, None)),
        (Needs(gpus=1, place="cellar"), Share(1, 0, 0, "cellar")),  # no GPU there, as on a machine without one
    ],
)
def test_a_share_is_what_the_stage_needs(needs: Needs, share: Share) -> None:
    assert share_of("train@gan", needs, compute(), [SMALL, GPU, CELLAR]) == share


def test_stages_may_share_a_gpu() -> None:
    assert share_of("train@gan", Needs(gpus=1), compute(stages_per_gpu=4), [GPU]).gpus == 0.25
    assert share_of("train@gan", Needs(gpus=2), compute(stages_per_gpu=4), [GPU]).gpus == 2
    assert share_of("train@gan", Needs(gpus=1), compute(accelerator="cpu"), [GPU]).gpus == 0
    assert share_of("train@gan", Needs(gpus=1, nodes=2), compute(stages_per_gpu=4), [GPU, GPU]).gpus == 1


def test_what_no_worker_has_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"needs 17 cores, 0 GB of memory and 0 GPUs, and no worker has that: 2 with 4"
    ):
        share_of("select", Needs(cores=17), compute(), [SMALL, SMALL, GPU])
    with pytest.raises(ConfigError, match="needs 1 cores, 0 GB of memory and 1 GPUs, and no worker"):
        share_of("train@gan", Needs(gpus=1), compute(accelerator="cuda"), [SMALL])
    with pytest.raises(ConfigError, match=r"train@gan trains on 3 machines .* and only 2 workers can take part"):
        share_of("train@gan", Needs(cores=10, nodes=3), compute(), [SMALL, GPU, CELLAR])
    with pytest.raises(ConfigError, match=r"meta\.place is 'attic', and no worker has it: .*place cellar"):
        share_of("select", Needs(place="attic"), compute(), [SMALL, CELLAR])


def test_equal_workers_are_counted() -> None:
    assert described([SMALL, SMALL, CELLAR]) == (
        "2 with 4 cores, 16 GB, 0 GPUs, place none; 1 with 64 cores, 512 GB, 0 GPUs, place cellar"
    )
