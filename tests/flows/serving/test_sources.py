"""The models of the command line, as clients see them."""

from pathlib import Path

from flows.serving.sources import find_source
from tests.flows.conftest import shell
from tests.flows.serving.served import save_tiny_model


def test_a_folder_outside_of_models_has_no_name_for_commands(tmp_path: Path) -> None:
    workspace = tmp_path / "workspace"
    inside = save_tiny_model(workspace / "models/trained/mine", "gan")
    outside = save_tiny_model(tmp_path / "mine", "gan", seed=1)
    shell(workspace, "git init -q && git commit -q --allow-empty -m first")
    named, unnamed = (find_source(workspace, str(folder)) for folder in (inside, outside))
    assert (named.name, named.is_named) == ("trained/mine", True)
    assert (unnamed.name, unnamed.is_named) == ("mine", False)
