"""Durations of small graphs, worked out by hand."""

import pytest

from genai_core.advice.schedule import Job, makespan


def test_independent_jobs_share_the_cores() -> None:
    jobs = {name: Job(10.0) for name in "abc"}
    assert makespan(jobs, cores=1) == 30
    assert makespan(jobs, cores=2) == 20
    assert makespan(jobs, cores=3) == 10


def test_a_job_waits_for_its_upstream_and_the_least_favourable_order_is_assumed() -> None:
    jobs = {"short": Job(4.0), "other": Job(4.0), "first": Job(5.0), "then": Job(5.0, ("first",))}
    assert makespan(jobs, cores=1) == 18
    # short and other take both cores; only then first, and then the last: 4 + 10, although 10 would do.
    assert makespan(jobs, cores=2) == 14
    assert makespan(jobs, cores=3) == 10


def test_a_job_takes_its_cores_and_gpus() -> None:
    jobs = {"a": Job(1.0, cores=2), "b": Job(1.0), "c": Job(1.0, gpus=1), "d": Job(1.0, gpus=1)}
    assert makespan({"a": jobs["a"], "b": jobs["b"]}, cores=2) == 2
    assert makespan({"c": jobs["c"], "d": jobs["d"]}, cores=8, gpus=1) == 2
    assert makespan({"c": jobs["c"], "d": jobs["d"]}, cores=8, gpus=2) == 1


def test_a_job_that_needs_more_than_the_machine_has_gets_all_of_it() -> None:
    assert makespan({"a": Job(2.0, cores=8, gpus=1), "b": Job(1.0)}, cores=2) == 3


@pytest.mark.parametrize("cores", [1, 4])
def test_upstream_that_is_done_already_is_no_reason_to_wait(cores: int) -> None:
    assert makespan({"b": Job(1.0, ("a",))}, cores) == 1
    assert makespan({}, cores) == 0
