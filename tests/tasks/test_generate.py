import pytest

from genai_core.config import NEEDS_MANUAL_ACTION
from genai_core.sampling.batch import read_images, read_manifest
from tasks import generate
from tests.tasks.small_run import bytes_below, change_params, read_json, small_params, write_model, write_selection


@pytest.fixture
def candidate(workspace):
    small_params()
    write_model("models/trained/small")
    write_selection("models/candidate", "models/trained/small", "small")
    return workspace


@pytest.mark.parametrize("form", ["png", "tar"])
def test_a_batch_has_images_manifest_provenance_and_a_grid(candidate, form):
    change_params(generate={"format": form})
    generate.main()
    folder = candidate / "samples/batch"
    manifest, provenance = read_manifest(folder), read_json(folder / "provenance.json")
    assert read_images(folder, manifest).shape == (6, 1, 12, 12)
    assert manifest["label"].tolist() == [0, 1, 0, 1, 0, 1]
    assert manifest["seed"].tolist() == list(range(20_000, 20_006))
    assert provenance["sampling"] == {"truncation": 1.0}
    assert provenance["model"]["sha256"] == read_json("models/candidate/config.json")["sha256"]["model.safetensors"]
    assert (folder / "grid.png").is_file()


def test_the_batch_does_not_depend_on_the_batch_size(candidate):
    generate.main()
    first = bytes_below("samples/batch")
    change_params(generate={"batch_images": 6})
    generate.main()
    assert bytes_below("samples/batch") == first


def test_without_a_candidate_nothing_is_written(workspace, capsys):
    small_params()
    with pytest.raises(SystemExit) as stopped:
        generate.main()
    assert stopped.value.code == NEEDS_MANUAL_ACTION
    assert "models/candidate: no model found" in capsys.readouterr().err
    assert not (workspace / "samples").exists()


def test_a_candidate_without_sampling_options_is_refused(candidate, capsys):
    """The library would generate with options other than the measured ones."""
    (candidate / "models/candidate/selection.json").unlink()
    with pytest.raises(SystemExit) as stopped:
        generate.main()
    assert stopped.value.code == NEEDS_MANUAL_ACTION
    assert "selection.json with the sampling options is missing" in capsys.readouterr().err
    assert not (candidate / "samples").exists()
