"""Where a job should go: the machine with most bytes of its inputs, among those that can take it."""

from collections.abc import Sequence

import pytest

from flows.data.outputs import StoredOutput
from flows.executors.locality import Locality, Near, covers, nearest, ranked, suitable
from flows.executors.machine import Machine, machine_of
from flows.executors.shares import Offer, Share
from flows.executors.software import machine_facts

RAW = StoredOutput("data/raw", "a.dir", 5_000_000)
PREPARED = StoredOutput("data/prepared", "b.dir", 3_000_000)
MODEL = StoredOutput("models/gan", "c", 40_000)
ALPHA, BETA, GAMMA = (Machine(name, "/cache") for name in ("alpha", "beta", "gamma"))
WORKERS = [Offer(name, 4, 16.0, 0) for name in ("a", "b", "c")]
SMALL = Share(1, 1.0, 0, None)


def size(output: StoredOutput) -> int:
    return output.size_bytes or 0


@pytest.fixture
def locality() -> Locality:
    """Three machines. Alpha has prepared the raw data; beta has fetched what that made, and trained."""
    found = Locality(size)
    for worker, machine in zip("abc", (ALPHA, BETA, GAMMA), strict=True):
        found.works_on(worker, machine)
    found.add(ALPHA, [RAW])
    found.add(ALPHA, [PREPARED])
    found.add(BETA, [PREPARED, MODEL])
    return found


def workers(near: Sequence[Near]) -> list[tuple[str, int]]:
    return [(one.worker, one.size_bytes) for one in near]


def test_the_machine_with_most_bytes_comes_first(locality: Locality) -> None:
    assert workers(locality.near([PREPARED, MODEL], SMALL, WORKERS)) == [("b", 3_040_000), ("a", 3_000_000)]
    assert workers(locality.near([RAW, MODEL], SMALL, WORKERS)) == [("a", 5_000_000), ("b", 40_000)]
    assert workers(locality.near([PREPARED], SMALL, WORKERS)) == [("a", 3_000_000), ("b", 3_000_000)]


def test_without_a_difference_the_engine_chooses(locality: Locality) -> None:
    assert locality.near([], SMALL, WORKERS) == ()
    assert locality.near([StoredOutput("x", "unknown", 9)], SMALL, WORKERS) == ()
    assert locality.near([PREPARED], SMALL, WORKERS[:2]) == ()  # both have it, and there is no other one
    assert Locality(size).near([RAW], SMALL, WORKERS) == ()


def test_only_workers_that_have_what_the_stage_needs(locality: Locality) -> None:
    offers = [Offer("a", 1, 16.0, 0), Offer("b", 4, 16.0, 0), Offer("c", 4, 16.0, 0)]
    assert workers(locality.near([RAW, PREPARED], Share(2, 1.0, 0, None), offers)) == [("b", 3_000_000)]
    offers = [*WORKERS[:2], Offer("c", 4, 16.0, 0, frozenset(["cellar"]))]
    assert locality.near([RAW], Share(1, 1.0, 0, "cellar"), offers) == ()
    assert workers(locality.near([RAW], SMALL, offers[1:])) == []  # alpha's worker is gone


def test_a_worker_with_gpus_is_left_to_those_who_need_one() -> None:
    plain, fast = Offer("plain", 4, 16.0, 0), Offer("fast", 4, 16.0, 2)
    assert suitable(SMALL, [plain, fast]) == [plain]
    assert suitable(SMALL, [fast]) == [fast]
    assert suitable(Share(1, 1.0, 1, None), [plain, fast]) == [fast]


def test_several_workers_of_one_machine_share_what_it_has(locality: Locality) -> None:
    locality.works_on("a2", Machine("alpha", "/cache"))
    offers = [*WORKERS, Offer("a2", 4, 16.0, 0)]
    assert workers(locality.near([RAW], SMALL, offers)) == [("a", 5_000_000), ("a2", 5_000_000)]
    locality.works_on("a3", Machine("alpha", "/another"))  # of another user
    assert "a3" not in dict(workers(locality.near([RAW], SMALL, [*offers, Offer("a3", 4, 16.0, 0)])))


def test_the_best_of_those_that_are_free() -> None:
    near = ranked([Near("c", 7, ""), Near("b", 7, ""), Near("a", 2, ""), Near("d", 0, "")], count=4)
    assert workers(near) == [("b", 7), ("c", 7), ("a", 2)]
    assert nearest(near, lambda _: True) == ("b", "c")
    assert nearest(near, lambda one: one.worker != "b") == ("c",)
    assert nearest(near, lambda one: one.worker == "a") == ("a",)
    assert nearest(near, lambda _: False) == ()
    assert nearest((), lambda _: True) == ()


@pytest.mark.parametrize(
    ("there", "read", "expected"),
    [
        (None, None, True),
        (None, ("a",), True),
        (("a",), None, False),
        (("a", "b"), ("a/x", "b"), True),
        (("a",), ("a", "b"), False),
    ],
)
def test_a_part_of_a_folder(there: tuple[str, ...] | None, read: tuple[str, ...] | None, expected: bool) -> None:
    outputs = [StoredOutput("data", "a.dir", 9, parts) for parts in (there, read)]
    assert covers(*outputs) is expected


def test_it_says_where_a_job_is_and_why(locality: Locality) -> None:
    reads = [PREPARED, MODEL]
    near = locality.near(reads, SMALL, WORKERS)
    assert locality.described(reads, BETA, near) == "placed on beta, which has 3.0 MB of 3.0 MB to read"
    assert locality.described(reads, GAMMA, near) == (
        "placed on gamma, which has 0.0 kB of 3.0 MB to read; beta has 3.0 MB, but no room"
    )
    locality.add(BETA, [large := StoredOutput("large", "d.dir", 1_234_000_000)])
    assert locality.described([large], BETA, ()) == "placed on beta, which has 1.2 GB of 1.2 GB to read"
    assert locality.described([MODEL], BETA, ()) == "placed on beta, which has 40.0 kB of 40.0 kB to read"
    assert locality.described([MODEL], GAMMA, ()) is None
    assert locality.described([], BETA, ()) is None


def test_a_result_names_the_machine_and_its_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENAI_WORKER_HOME", "/srv/worker")
    facts = machine_facts()
    assert machine_of(facts) == Machine(facts["host"], "/srv/worker")
    assert machine_of({"host": "alpha"}) == Machine("alpha", "")  # of another version of this code
