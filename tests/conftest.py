"""What all tests share: where the real test data lies."""

import os
from pathlib import Path

import pytest

from tests.test_rooms import ROOT


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real images, by GENAI_TEST_DATA or beside the project."""
    folder = Path(os.environ.get("GENAI_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real test data: neither GENAI_TEST_DATA nor {folder} is a folder")
    return folder
