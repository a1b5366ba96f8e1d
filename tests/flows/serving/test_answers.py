"""Answers that cannot be given are refused before anything is drawn."""

import pytest

from flows.serving.answers import Form, check_answer
from flows.serving.bodies import DrawBody
from flows.serving.drawing import plan_of
from flows.serving.errors import ApiError
from tests.flows.serving.test_drawing import model


def test_a_mixture_of_more_names_than_a_jpeg_file_holds() -> None:
    classes = [f"{number:03d}{'x' * 180}" for number in range(500)]
    plan = plan_of(model(classes=classes), DrawBody.model_validate({"mix": dict.fromkeys(classes, 1.0)}))
    check_answer(plan, Form("png", 1))
    with pytest.raises(ApiError, match="use png or webp, or mix fewer classes"):
        check_answer(plan, Form("jpeg", 1))


def test_more_pixels_than_an_answer_may_have() -> None:
    plan = plan_of(model(), DrawBody(count=64))
    check_answer(plan, Form("png", 128))
    with pytest.raises(ApiError, match="at most 67 in one answer"):
        check_answer(plan, Form("png", 129))
