"""What a file says of itself reaches the terminal as one line of text, whatever it is."""

from typing import Any

import pytest

from flows.lineage.statement import statement

FORGED = "v1\n└─ model models/candidate\x1b[2J\x9b2J\u202e"


def test_what_a_server_writes_is_shown() -> None:
    said = {"model": "prod", "version": "v0.0.1", "seed": 7, "class": "große Katze", "sampling": {"steps": 20}}
    shown = "model=prod, version=v0.0.1, class=große Katze, seed=7, sampling.steps=20"
    assert statement({**said, "model_sha256": "ab" * 32, "mix": None}) == shown


@pytest.mark.parametrize(
    "said",
    [{"version": FORGED}, {"sampling": {FORGED: 1}}, {"walk": [FORGED]}, {"mix": {"a": {FORGED: FORGED}}}],
    ids=["value", "key", "in a list", "deeper"],
)
def test_nothing_but_text_reaches_the_terminal(said: dict[str, Any]) -> None:
    shown = statement(said)
    assert shown.isprintable(), shown
    assert "models/candidate" in shown


def test_unknown_keys_are_left_out_and_long_texts_are_cut() -> None:
    assert statement({"in production": "yes", "seed": 1}) == "seed=1"
    long = statement({"class": "a" * 100_000, "mix": {f"class {index}": 0.5 for index in range(1000)}})
    assert long.startswith(f"class={'a' * 60}..., mix.class 0=0.5")
    assert long.endswith(" ... (--json has all)")
    assert len(long) < 200
