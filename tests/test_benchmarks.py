"""benchmarks/libraries.py at a small size: each library is still called as it can be, and its answer equals ours."""

import pytest

from benchmarks.libraries import comparisons
from benchmarks.libraries_runs import Comparison, line
from tests.flows.conftest import DVC_WARNS

pytestmark = DVC_WARNS


def test_each_library_is_measured() -> None:
    rows = list(comparisons(images=300, objects=40, rounds=1))
    assert {row.library for row in rows} == {
        "safetensors",
        "pyarrow.compute.index_in",
        "one call of index_in",
        "tarfile",
        "DataLoader with a batch sampler",
        "httpx",
        "Apprise",
        "str.ljust",
        "Tree.digest",
        "json and hashlib alone",
        "dvc_data",
    }
    assert all(row.ours > 0 and row.theirs > 0 for row in rows), rows
    # The first folder of the remote is listed, then all of it.
    assert [row.ours for row in rows if row.unit == "requests"] == [2]


@pytest.mark.parametrize(
    ("seconds", "written"), [(12.345, "12.3 s"), (0.0123, "12.3 ms"), (4.56e-5, "45.6 µs"), (7.89e-7, "0.789 µs")]
)
def test_seconds_are_in_the_unit_that_fits(seconds: float, written: str) -> None:
    row = line(Comparison("work", seconds, "a library", 2 * seconds))
    assert row.startswith(f"| work | {written} | a library | "), row
    assert row.endswith(" | 0.5 |"), row
