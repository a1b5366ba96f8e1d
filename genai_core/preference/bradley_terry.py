"""Strengths of models from blind votes on pairs (Bradley and Terry 1952), with confidence intervals.

The model: people prefer a to b with probability p = 1 / (1 + exp(s_b - s_a)), with one strength s per model.

- A tie counts as half a vote for each side. A skipped pair does not count.
- Each compared pair of models gets one more tie. Strengths are then finite, even if all votes are for one side.
  For two models this is the logit with 1/2 added to both counts, with the variance of Gart and Zweifel (1967):
  s_a - s_b = log((w + 1/2) / (l + 1/2)), variance 1 / (w + 1/2) + 1 / (l + 1/2).
- Intervals are those of the normal approximation, from the inverse of Fisher's information. They treat votes as
  independent: many votes of one person say less than the interval shows.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

EXTRA_TIE = 0.5  # of a vote, for each side of a compared pair
CONFIDENCE = 0.95
# Newton's method on a concave function that is smooth in every direction: it needs about ten steps.
_MAX_STEPS, _TOLERANCE = 200, 1e-10


@dataclass(frozen=True)
class Pairing:
    """The votes on one pair of models: how many preferred `a`, preferred `b`, or neither."""

    a: str
    b: str
    wins: int
    losses: int
    ties: int

    @property
    def votes(self) -> int:
        return self.wins + self.losses + self.ties


@dataclass(frozen=True)
class Preference:
    """The share of people who prefer one model to another, with its interval, and the number of votes behind it."""

    value: float
    low: float
    high: float
    votes: int


@dataclass(frozen=True)
class Strength:
    """A model's strength: preference over the reference model, and its own votes against all others.

    log_odds: s of the model minus s of the reference. preference: None for the reference itself, and for a model that
    no chain of votes connects with it.
    """

    model: str
    wins: int
    losses: int
    ties: int
    log_odds: float | None
    preference: Preference | None


def count_votes(results: Iterable[tuple[str, str, str]]) -> tuple[Pairing, ...]:
    """Count (left model, right model, answer) by pair, in alphabetical order.

    answer: "left", "right" or "tie"; "skip" is not counted. A pair of equal models is not counted either. Raises
    ValueError for another answer.
    """
    counts: dict[tuple[str, str], list[int]] = {}
    for left, right, answer in results:
        if answer not in ("left", "right", "tie", "skip"):
            raise ValueError(f"expected left, right, tie or skip, got {answer!r}")
        if answer == "skip" or left == right:
            continue
        first, second = sorted((left, right))
        preferred = {"left": left, "right": right}.get(answer)
        place = 2 if preferred is None else 0 if preferred == first else 1
        counts.setdefault((first, second), [0, 0, 0])[place] += 1
    return tuple(Pairing(a, b, *found) for (a, b), found in sorted(counts.items()))


def preference(wins: int, losses: int, ties: int, confidence: float = CONFIDENCE) -> Preference:
    """The preference for a model over one other. Without votes: 0.5, with an interval that excludes little."""
    left, right = wins + ties / 2 + EXTRA_TIE, losses + ties / 2 + EXTRA_TIE
    return _preference(math.log(left / right), 1 / left + 1 / right, wins + losses + ties, confidence)


def preference_of(pairings: Sequence[Pairing], model: str, other: str, confidence: float = CONFIDENCE) -> Preference:
    """The preference for `model` over `other`, from the votes on just these two."""
    for pairing in pairings:
        if (pairing.a, pairing.b) == (model, other):
            return preference(pairing.wins, pairing.losses, pairing.ties, confidence)
        if (pairing.a, pairing.b) == (other, model):
            return preference(pairing.losses, pairing.wins, pairing.ties, confidence)
    return preference(0, 0, 0, confidence)


def strengths(pairings: Sequence[Pairing], reference: str, confidence: float = CONFIDENCE) -> tuple[Strength, ...]:
    """The strengths of all models, the strongest first, then those without a comparison with `reference`.

    Pairs that were compared with a third model count too: a beats b, and b beats c, say that a is better than c.
    """
    connected = _connected(pairings, reference)
    names = sorted(connected - {reference})
    log_odds, variances = _fit(pairings, reference, names)
    found = [_strength(pairings, reference, 0.0, None)]
    for index, name in enumerate(names):
        votes = sum(pairing.votes for pairing in pairings if name in (pairing.a, pairing.b))
        shown = _preference(log_odds[index], variances[index], votes, confidence)
        found.append(_strength(pairings, name, log_odds[index], shown))
    found.sort(key=lambda strength: -(strength.log_odds or 0.0))
    others = sorted({name for pairing in pairings for name in (pairing.a, pairing.b)} - connected - {reference})
    return (*found, *(_strength(pairings, name, None, None) for name in others))


def _strength(pairings: Sequence[Pairing], name: str, log_odds: float | None, shown: Preference | None) -> Strength:
    wins = losses = ties = 0
    for pairing in pairings:
        if name in (pairing.a, pairing.b):
            won, lost = (pairing.wins, pairing.losses) if name == pairing.a else (pairing.losses, pairing.wins)
            wins, losses, ties = wins + won, losses + lost, ties + pairing.ties
    return Strength(name, wins, losses, ties, log_odds, shown)


def _preference(log_odds: float, variance: float, votes: int, confidence: float) -> Preference:
    reach = NormalDist().inv_cdf(0.5 + confidence / 2) * math.sqrt(variance)
    return Preference(_share(log_odds), _share(log_odds - reach), _share(log_odds + reach), votes)


def _share(log_odds: float) -> float:
    return 1 / (1 + math.exp(-log_odds))


def _connected(pairings: Sequence[Pairing], reference: str) -> set[str]:
    """The models that a chain of compared pairs connects with the reference."""
    found, size = {reference}, 0
    while size != len(found):
        size = len(found)
        for pairing in pairings:
            if found & {pairing.a, pairing.b}:
                found |= {pairing.a, pairing.b}
    return found


def _fit(pairings: Sequence[Pairing], reference: str, names: Sequence[str]) -> tuple[list[float], list[float]]:
    """Log odds of each name against the reference, and their variances: Newton's method on the log-likelihood."""
    place = {name: index for index, name in enumerate(names)}
    size = len(names)
    at = [0.0] * size
    covariance: list[list[float]] = []
    for _ in range(_MAX_STEPS):
        gradient, information = [0.0] * size, [[0.0] * size for _ in names]
        for pairing in pairings:
            if not {pairing.a, pairing.b} <= {*names, reference}:
                continue
            a, b = place.get(pairing.a), place.get(pairing.b)
            total = pairing.votes + 2 * EXTRA_TIE
            chance = _share((0.0 if a is None else at[a]) - (0.0 if b is None else at[b]))
            surplus = pairing.wins + pairing.ties / 2 + EXTRA_TIE - total * chance
            weight = total * chance * (1 - chance)
            for index, sign in ((a, 1), (b, -1)):
                if index is not None:
                    gradient[index] += sign * surplus
                    information[index][index] += weight
            if a is not None and b is not None:
                information[a][b] -= weight
                information[b][a] -= weight
        covariance = _inverse(information)
        step = [sum(row[other] * gradient[other] for other in range(size)) for row in covariance]
        # A full step may overshoot where one side has nearly all votes; one unit of log odds never does.
        largest = max((abs(value) for value in step), default=0.0)
        at = [value + change / max(1.0, largest) for value, change in zip(at, step, strict=True)]
        if largest < _TOLERANCE:
            break
    return at, [covariance[index][index] for index in range(size)]


def _inverse(matrix: Sequence[Sequence[float]]) -> list[list[float]]:
    """The inverse of a positive definite matrix (Gauss and Jordan, without exchange of rows)."""
    size = len(matrix)
    rows = [[*row, *(float(index == column) for column in range(size))] for index, row in enumerate(matrix)]
    for pivot in range(size):
        rows[pivot] = [value / rows[pivot][pivot] for value in rows[pivot]]
        for index in range(size):
            if index != pivot:
                factor = rows[index][pivot]
                rows[index] = [value - factor * other for value, other in zip(rows[index], rows[pivot], strict=True)]
    return [row[size:] for row in rows]
