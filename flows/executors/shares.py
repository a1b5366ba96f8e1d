"""What a stage asks an engine for, given what the engine's workers have."""

from collections.abc import Iterable
from dataclasses import dataclass

from flows.graph import Needs
from genai_core.config import ComputeConfig, ConfigError
from genai_core.counted import counted


@dataclass(frozen=True)
class Offer:
    """What one worker has in all, whether or not it is free. places: its labels (`meta: place`)."""

    name: str
    cores: float
    memory_gb: float
    gpus: float
    places: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Share:
    """What one job takes from its worker. gpus: less than 1 if stages share a GPU."""

    cores: int
    memory_gb: float
    gpus: float
    place: str | None


def share_of(stage: str, needs: Needs, compute: ComputeConfig, offers: Iterable[Offer]) -> Share:
    """The share of a stage, on each of its machines. Raises ConfigError if no worker has as much, or too few have.

    As on one machine, a stage that would use GPUs runs without them where there are none, unless `compute.accelerator`
    is cuda.
    """
    offers = list(offers)
    there = [offer for offer in offers if needs.place is None or needs.place in offer.places]
    if not there:
        raise ConfigError(
            f"dvc.yaml: {stage}: meta.place is {needs.place!r}, and no worker has it: {described(offers)}"
        )
    gpus: float = 0 if compute.accelerator == "cpu" else needs.gpus
    if compute.accelerator == "auto" and max(offer.gpus for offer in there) == 0:
        gpus = 0
    if gpus == 1 and needs.nodes == 1:  # NCCL does not let two processes of a training share one
        gpus = 1 / compute.stages_per_gpu
    share = Share(needs.cores, needs.memory_gb, gpus, needs.place)
    able = fitting(share, there)
    if not able:
        raise ConfigError(
            f"dvc.yaml: {stage} needs {share.cores} cores, {share.memory_gb:g} GB of memory and {share.gpus:g} GPUs, "
            f"and no worker has that: {described(there)}"
        )
    if len(able) < needs.nodes:
        raise ConfigError(
            f"dvc.yaml: {stage} trains on {needs.nodes} machines (meta.nodes, from compute.num_nodes in params.yaml), "
            f"and only {counted(len(able), 'worker')} can take part: {described(there)}"
        )
    return share


def fitting(share: Share, offers: Iterable[Offer]) -> list[Offer]:
    """The workers that have as much in all."""
    return [
        offer
        for offer in offers
        if offer.cores >= share.cores
        and offer.memory_gb >= share.memory_gb
        and offer.gpus >= share.gpus
        and (share.place is None or share.place in offer.places)
    ]


def described(offers: Iterable[Offer]) -> str:
    """The workers, for a message; equal ones are counted."""
    kinds: dict[tuple[object, ...], int] = {}
    for offer in offers:
        kind = (offer.cores, round(offer.memory_gb, 1), offer.gpus, ", ".join(sorted(offer.places)) or "none")
        kinds[kind] = kinds.get(kind, 0) + 1
    return "; ".join(
        f"{count} with {cores:g} cores, {memory:g} GB, {gpus:g} GPUs, place {places}"
        for (cores, memory, gpus, places), count in kinds.items()
    )
