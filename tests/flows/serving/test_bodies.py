"""The bodies of requests that draw: a body of a few megabytes must not give as many errors as it has items."""

from typing import Any

import pytest
from pydantic import ValidationError

from flows.serving.bodies import DrawBody

MANY = 100_000


@pytest.mark.parametrize(
    ("values", "place", "message"),
    [
        ({"directions": [{"name": "slant", "amount": [99] * MANY}]}, ("directions", 0, "amount"), "64 amounts"),
        ({"directions": [{}] * MANY}, ("directions",), "at most 16 items"),
        ({"mix": {f"class {index}": -1.0 for index in range(MANY)}}, ("mix",), "1000 classes"),
        ({"seeds": [-1] * MANY}, ("seeds",), "64 "),
        ({"walk": {"points": [{}] * MANY}}, ("walk", "points"), "at most 4 items"),
        ({f"field {index}": 1 for index in range(MANY)}, (), "100 fields"),
    ],
    ids=["amounts", "directions", "mix", "seeds", "points", "fields"],
)
def test_what_is_too_long_is_one_error(values: dict[str, Any], place: tuple[str | int, ...], message: str) -> None:
    with pytest.raises(ValidationError) as raised:
        DrawBody.model_validate(values)
    (error,) = raised.value.errors(include_input=False)
    assert error["loc"] == place
    assert message in error["msg"]


def test_lists_of_the_longest_length_are_taken() -> None:
    amounts = [float(index % 20) for index in range(64)]
    body = DrawBody.model_validate({"count": 64, "directions": [{"name": "slant", "amount": amounts}]})
    assert body.directions[0].amounts == amounts
