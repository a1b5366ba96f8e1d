"""How groups of classes, each drawn by a network, change with the classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from genai_core.config import ClassGroups


@dataclass(frozen=True)
class Regrouped:
    """Groups for other classes. kept: the number that each one's network had before."""

    groups: ClassGroups
    kept: tuple[int, ...]


def largest(groups: ClassGroups) -> int:
    """Return the number of the network that draws the most classes; of several, the first."""
    return max(range(len(groups.networks)), key=lambda number: len(groups.networks[number]))


def regrouped(groups: ClassGroups, classes: Sequence[str], now_named: Mapping[str, str]) -> Regrouped:
    """Return the groups for these classes.

    now_named: new names of classes, by their names in `groups`. A class that is in no group joins the largest one. A
    network without classes is dropped, unless no other is left.
    """
    named = [[now_named.get(name, name) for name in group] for group in groups.networks]
    kept = {number: [name for name in group if name in classes] for number, group in enumerate(named)}
    kept = {number: group for number, group in kept.items() if group} or {largest(groups): []}
    joined = max(kept.values(), key=len)
    joined += [name for name in classes if not any(name in group for group in kept.values())]
    return Regrouped(ClassGroups(networks=tuple(map(tuple, kept.values()))), tuple(kept))


def with_group(groups: ClassGroups, names: Sequence[str]) -> ClassGroups:
    """Return the groups and one more, of these classes, which leave theirs."""
    others = (tuple(name for name in group if name not in names) for group in groups.networks)
    return ClassGroups(networks=(*filter(None, others), tuple(names)))
