"""People's blind votes on pairs of pictures: kept in votes/votes.jsonl of the workspace, one JSON object per line.

Git does not track the file. It says who voted, which a history never forgets, and git replaces files while a server may
be writing. Files of several machines may be concatenated: a vote has an id, and counts once. A model is identified by
the sha256 of its weights; its sampling options are kept, and do not distinguish it.
"""

import fcntl
import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, get_args

from flows.registry.read import read_registry
from genai_core.preference.bradley_terry import (
    Pairing,
    Preference,
    Strength,
    count_votes,
    preference_of,
    strengths,
)

VOTES = Path("votes/votes.jsonl")
Answer = Literal["left", "right", "tie", "skip"]
ANSWERS: tuple[Answer, ...] = get_args(Answer)


@dataclass(frozen=True)
class VotedModel:
    """One side of a pair. name: as it was served; version: None if it is not registered; sha256: of the weights."""

    name: str
    version: str | None
    sha256: str
    family: str
    sampling: dict[str, Any]


@dataclass(frozen=True)
class Vote:
    """One answer of one person to one pair. at: ISO 8601. seed: of both pictures; class_name: None without classes."""

    id: str
    at: str
    who: str
    answer: Answer
    class_name: str | None
    seed: int
    left: VotedModel
    right: VotedModel


@dataclass(frozen=True)
class Votes:
    """All votes in the order of the file. faulty_lines: lines that are no vote, such as one that a kill cut short."""

    votes: tuple[Vote, ...]
    faulty_lines: int = 0

    @property
    def pairings(self) -> tuple[Pairing, ...]:
        """Counts per pair of models, by sha256."""
        return count_votes((vote.left.sha256, vote.right.sha256, vote.answer) for vote in self.votes)

    def preference(self, sha256: str, other: str) -> Preference:
        """How much people prefer one model to the other, from the votes on just these two."""
        return preference_of(self.pairings, sha256, other)

    def strengths(self, reference: str) -> tuple[Strength, ...]:
        """All models, against one of them."""
        return strengths(self.pairings, reference)

    def name_of(self, sha256: str) -> str:
        """The version of a model, else the name under which it was served last."""
        sides = [side for vote in self.votes for side in (vote.left, vote.right) if side.sha256 == sha256]
        versions = [side.version for side in sides if side.version]
        return versions[-1] if versions else sides[-1].name if sides else sha256[:12]


def add_vote(workspace: Path, vote: Vote) -> None:
    """Append a vote, whole and on the disk when this returns. Many processes may do so at once. Raises OSError."""
    path = workspace / VOTES
    path.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps(asdict(vote), allow_nan=False).encode() + b"\n"
    # Opened for each vote: an open file would be lost if somebody replaced it.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            line = b"\n" + line  # a kill or a full disk cut the last one short
        written = os.write(descriptor, line)
        if written != len(line):  # a full disk: leave no half vote
            os.ftruncate(descriptor, size)
            raise OSError(f"{path}: the disk is full")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_votes(workspace: Path) -> Votes:
    """Read all votes, each id once. No file: no votes. Raises OSError."""
    try:
        lines = (workspace / VOTES).read_bytes().splitlines()
    except FileNotFoundError:
        return Votes(())
    found: dict[str, Vote] = {}
    faulty = 0
    for line in filter(None, lines):
        try:
            vote = _vote(json.loads(line))
        except (ValueError, TypeError, KeyError):
            faulty += 1
        else:
            found.setdefault(vote.id, vote)
    return Votes(tuple(found.values()), faulty)


def reference_of(workspace: Path, votes: Votes) -> str | None:
    """The model to compare with: production's if there are votes on it, else the one with most votes; None: no votes.

    Skipped votes do not count. Raises GitError.
    """
    counts: Counter[str] = Counter()
    for pairing in votes.pairings:
        counts.update({pairing.a: pairing.votes, pairing.b: pairing.votes})
    registry = read_registry(workspace)
    standing = registry.production()
    facts = registry.version(standing.version).facts if standing and registry.of_commit(standing.commit) else None
    if facts and facts.weights in counts:
        return facts.weights
    return min(counts, key=lambda sha256: (-counts[sha256], sha256), default=None)


def table_of(votes: Votes, reference: str | None) -> dict[str, Any]:
    """The table as JSON values: models, the strongest first, with preference over `reference`; pairs; who voted."""
    models = [] if reference is None else [_model_values(votes, row, reference) for row in votes.strengths(reference)]
    return {
        "votes": len(votes.votes),
        "skipped": sum(vote.answer == "skip" for vote in votes.votes),
        "faulty_lines": votes.faulty_lines,
        "reference": reference,
        "models": models,
        "pairs": [_pair_values(votes, pairing) for pairing in votes.pairings],
        "voters": dict(Counter(vote.who for vote in votes.votes).most_common()),
        "first": _ends(vote.at for vote in votes.votes)[0],
        "last": _ends(vote.at for vote in votes.votes)[1],
    }


def _model_values(votes: Votes, row: Strength, reference: str) -> dict[str, Any]:
    return {
        "name": votes.name_of(row.model),
        "sha256": row.model,
        "is_reference": row.model == reference,
        "wins": row.wins,
        "losses": row.losses,
        "ties": row.ties,
        "log_odds": row.log_odds,
        "preference": None if row.preference is None else asdict(row.preference),
    }


def _pair_values(votes: Votes, pairing: Pairing) -> dict[str, Any]:
    names = {"a_name": votes.name_of(pairing.a), "b_name": votes.name_of(pairing.b)}
    return {**asdict(pairing), **names, "preference": asdict(votes.preference(pairing.a, pairing.b))}


def _ends(times: Iterable[str]) -> Sequence[str | None]:
    found = sorted(times)
    return (found[0], found[-1]) if found else (None, None)


def _vote(values: dict[str, Any]) -> Vote:
    """Raises ValueError, TypeError or KeyError for anything but a vote."""
    if values["answer"] not in ANSWERS:
        raise ValueError(values["answer"])
    datetime.fromisoformat(values["at"])
    sides = {side: VotedModel(**values[side]) for side in ("left", "right")}
    if not all(isinstance(side.sha256, str) and side.sha256 for side in sides.values()):
        raise TypeError("sha256")
    return Vote(**{**values, **sides})
