"""A picture of `genai serve` says itself how it was drawn, in each form of file."""

import json
from pathlib import Path
from typing import Any

import pytest

from flows.lineage.drawn_picture import provenance_in
from flows.serving.pictures import encoded
from tests.flows.conftest import DVC_WARNS, genai
from tests.flows.lineage.history import Story

pytestmark = DVC_WARNS

SHA256 = "ab" * 32
PROVENANCE: dict[str, Any] = {
    "model": "prod",
    "version": "v0.0.1",
    "model_sha256": SHA256,
    "family": "gan",
    "dataset": "cd" * 32,
    "class": "große Katze",
    "seed": 7,
    "sampling": {"truncation": 0.7},
    "genai": "1",
}


def picture(form: str, provenance: dict[str, Any] | None) -> bytes:
    return encoded(bytes(range(64)), (1, 8, 8), form, 1, provenance)


@pytest.mark.parametrize("form", ["png", "jpeg", "webp"])
def test_each_form_of_file_keeps_it(form: str) -> None:
    assert provenance_in(picture(form, PROVENANCE)) == PROVENANCE
    assert provenance_in(picture(form, None)) is None


def test_anything_else_says_nothing() -> None:
    for content in (b"", b"no image", picture("png", {"model_sha256": "x"}), picture("png", {})):
        assert provenance_in(content) is None


@pytest.mark.parametrize("form", ["png", "webp"])
@pytest.mark.parametrize("depth", [10, 500, 100_000])
def test_a_text_that_is_nested_too_deep_is_not_ours(form: str, depth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    text = f'{{"model_sha256": "{SHA256}", "walk": {"[" * depth}{"]" * depth}}}'
    monkeypatch.setattr("flows.serving.pictures.json.dumps", lambda _: text)
    assert provenance_in(picture(form, {})) is None


def test_its_model_is_traced_by_the_weights(story: Story, tmp_path: Path) -> None:
    config = json.loads((story.home / "models/candidate/config.json").read_text())
    weights = config["sha256"]["model.safetensors"]
    path = tmp_path / "prod-7.png"
    path.write_bytes(picture("png", {**PROVENANCE, "model_sha256": weights}))
    shown = genai(story.home, "lineage", str(path)).stdout
    assert "as the file itself says" in shown
    assert "version=v0.0.1" in shown
    assert "sampling.truncation=0.7" in shown
    assert f"weights {weights[:12]}, trained on" in shown
    path.write_bytes(picture("png", PROVENANCE))
    unknown = story.lineage(str(path))["made_of"]
    assert (unknown["kind"], unknown["links"], unknown["says"]) == ("image", [], PROVENANCE)
