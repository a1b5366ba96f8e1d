"""From a request's body to drawings, without a server."""

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from flows.serving.batches import combined
from flows.serving.bodies import DrawBody
from flows.serving.drawing import check_abilities, plan_of
from flows.serving.errors import ApiError
from flows.serving.generation import Generation
from flows.serving.provenance import provenance

LATENT = base64.b64encode(np.zeros(4, np.float32).tobytes()).decode()


def model(**changes: Any) -> Generation:
    description = {
        "classes": ["a", "b", "c"],
        "can": ["mix", "start", "mask", "walk"],
        "noise_shape": [4],
        "image_size": [8, 8],
        "sampling": {"truncation": {"value": 1.0, "kind": "number", "optional": False, "low": 0.0, "high": 1.0}},
        "sha256": "ab",
        "family": "gan",
        "dataset": "cd",
    }
    return Generation("m", "m 1", Path(), None, "ab", description={**description, **changes})


def drawings(**values: Any) -> list[dict[str, Any]]:
    return [image.values for image in plan_of(model(), DrawBody.model_validate(values)).wanted]


def test_a_mixture_becomes_weights_that_add_up_to_one() -> None:
    (drawing,) = drawings(seed=1, mix={"a": 3.0, "c": 1.0, "b": 0.0})
    assert (drawing["weights"], drawing["label"]) == ([0.75, 0.0, 0.25], None)
    with pytest.raises(ApiError, match="at least one weight above 0"):
        drawings(mix={"a": 0.0})


def test_a_walk_between_two_points_goes_from_one_to_the_other() -> None:
    steps = drawings(walk={"points": [{"seed": 1}, {"latent": LATENT}], "columns": 5})
    assert [step["walk"]["shares"] for step in steps] == [[0.0], [0.25], [0.5], [0.75], [1.0]]
    assert {step["label"] for step in steps} == {0}
    assert steps[0]["walk"]["points"] == [{"seed": 1}, {"noise": 0}]


def test_four_points_are_the_corners_of_a_grid() -> None:
    points = [{"seed": seed} for seed in range(4)]
    steps = drawings(walk={"points": points, "rows": 2, "columns": 3}, **{"class": "b"})
    shares = [step["walk"]["shares"] for step in steps]
    assert shares == [[0.0, 0.0], [0.5, 0.0], [1.0, 0.0], [0.0, 1.0], [0.5, 1.0], [1.0, 1.0]]
    assert {step["label"] for step in steps} == {1}


def test_branches_keep_their_own_seeds() -> None:
    one, two = plan_of(
        model(), DrawBody.model_validate({"seed": 5, "count": 2, "base": {"seed": 9}, "reach": 0.3})
    ).wanted
    assert (one.seed, two.seed) == (5, 6)
    assert two.values["walk"] == {"points": [{"seed": 9}, {"seed": 6}], "shares": [0.3]}
    assert provenance(plan_of(model(), DrawBody(seed=5)), one)["base"] == 9


@pytest.mark.parametrize("latent", ["aaa", base64.b64encode(b"123").decode(), "é" * 4])
def test_a_latent_of_another_size(latent: str) -> None:
    with pytest.raises(ApiError, match="latent: ") as error:
        drawings(latent=latent)
    assert error.value.status == 422


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_a_latent_that_is_not_finite(number: float) -> None:
    latent = base64.b64encode(np.array([0, 1, number, 0], "<f4").tobytes()).decode()
    for values in (
        {"latent": latent},
        {"base": {"latent": latent}},
        {"walk": {"points": [{"seed": 1}, {"latent": latent}]}},
    ):
        with pytest.raises(ApiError, match="latent: expected finite numbers"):
            drawings(**values)


WALK = {"points": [{"seed": 1}, {"seed": 2}], "columns": 3}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"count": 5, "seeds": [1]}, "count is 5, and seeds gives 1 images; leave count out"),
        ({"count": 5, "walk": WALK}, "count is 5, and walk gives 3 images; leave count out"),
        ({"seed": 1, "latent": LATENT}, "seed and latent: give one of them"),
        ({"seeds": [1, 2], "latent": LATENT}, "seeds and latent: give one of them"),
        (
            {"count": 3, "directions": [{"name": "slant", "amount": [0.0, 1.0]}]},
            "directions.0.amount: 2 amounts for 3 images; give one per image",
        ),
    ],
)
def test_fields_that_contradict_each_other(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        DrawBody.model_validate(values)


def test_a_count_may_repeat_what_seeds_and_walks_say() -> None:
    assert len(drawings(count=2, seeds=[7, 7])) == 2
    assert len(drawings(count=3, walk=WALK)) == 3
    assert len(drawings(count=2, latent=LATENT)) == 2


def test_what_a_model_cannot_do_is_refused() -> None:
    with pytest.raises(ApiError, match="mask: the model m cannot do this; it supports: mix, start"):
        check_abilities(model(can=["mix", "start"]), DrawBody(start="aaaa", mask="aaaa"))
    moves = DrawBody.model_validate({"directions": [{"name": "slant", "amount": 1.0}]})
    check_abilities(model(can=["walk"]), moves)
    with pytest.raises(ApiError, match="directions: the model m cannot do this"):
        check_abilities(model(can=["mix"]), moves)


def test_jobs_in_one_batch_name_their_own_parts() -> None:
    values = [{"latent": LATENT}, {"walk": {"points": [{"seed": 1}, {"latent": LATENT}], "columns": 2}}]
    plans = [plan_of(model(), DrawBody.model_validate(value)) for value in values]

    class Job:
        def __init__(self, plan: Any) -> None:
            self.values = {"drawings": [image.values for image in plan.wanted], "sampling": {}}
            self.blobs = plan.blobs

    together, blobs = combined([Job(plan) for plan in plans])  # type: ignore[list-item]
    assert len(blobs) == 2
    assert together["drawings"][0]["noise"] == 0
    assert [drawing["walk"]["points"][1] for drawing in together["drawings"][1:]] == [{"noise": 1}] * 2
    assert plans[1].wanted[0].values["walk"]["points"][1] == {"noise": 0}
