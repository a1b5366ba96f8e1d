import pytest

from genai_core.config import NEEDS_MANUAL_ACTION
from genai_core.evaluation.reference import load_reference
from tasks import extractor, reference
from tests.tasks.small_run import bytes_below, small_params, write_datasets


def test_both_splits_are_measured_reproducibly(workspace, capsys):
    small_params()
    write_datasets()
    extractor.main()
    reference.main()
    first = bytes_below("data/reference")
    description = load_reference(workspace / "data/reference").description
    assert description.counts == {"train": 240, "test": 80}
    assert description.floor_images == 20
    assert "floor fd_classifier" in capsys.readouterr().out
    reference.main()
    assert bytes_below("data/reference") == first


def test_without_an_extractor_the_error_says_what_to_run(workspace, capsys):
    small_params()
    write_datasets()
    with pytest.raises(SystemExit) as stopped:
        reference.main()
    assert stopped.value.code == NEEDS_MANUAL_ACTION
    assert "run `genai run extractor`" in capsys.readouterr().err
