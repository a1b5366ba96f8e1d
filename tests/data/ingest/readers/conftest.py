import pytest


@pytest.fixture
def flat(tmp_path, save_images):
    """Forty flat images 00-000.png ..., for a table of labels."""
    save_images(tmp_path / "flat", 40)
    return tmp_path / "flat"
