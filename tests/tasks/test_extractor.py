import pytest

from genai_core.config import NEEDS_MANUAL_ACTION, load_config
from genai_core.evaluation.extractor import load_extractor
from tasks import extractor
from tests.tasks.small_run import PARAMS, bytes_below, change_params, small_params, write_datasets


def test_training_the_extractor_is_reproducible(workspace, capsys):
    small_params()
    write_datasets()
    extractor.main()
    first = bytes_below("models/extractor")
    _, description = load_extractor(workspace / "models/extractor", load_config(PARAMS).extractor)
    assert f"test accuracy {description.test_accuracy:.4f}" in capsys.readouterr().out
    assert description.classes == ("across", "down")
    extractor.main()
    assert bytes_below("models/extractor") == first
    assert (workspace / "metrics/cost/extractor.json").is_file()


def test_unlabelled_images_need_auto_or_self_supervised(workspace, capsys):
    small_params()
    write_datasets(labelled=False)
    with pytest.raises(SystemExit) as stopped:
        extractor.main()
    assert stopped.value.code == NEEDS_MANUAL_ACTION
    assert "set extractor.kind to auto" in capsys.readouterr().err
    assert not (workspace / "models/extractor").exists()
    change_params(extractor={"kind": "auto"}, selection={"metric": "fd_auto"})
    extractor.main()
    assert load_extractor(workspace / "models/extractor", load_config(PARAMS).extractor)[1].kind == "self_supervised"
