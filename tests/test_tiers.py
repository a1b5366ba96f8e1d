"""The list of slow files names files that exist."""

from pathlib import Path

import pytest

from tests.tiers import SLOW


@pytest.mark.parametrize("name", SLOW)
def test_slow_files_exist(name: str) -> None:
    assert (Path(__file__).parent / name).exists()
