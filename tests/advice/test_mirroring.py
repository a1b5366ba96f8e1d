import pytest

from genai_core.advice.facts import DataFacts
from genai_core.advice.mirroring import is_writing, mirroring


@pytest.mark.parametrize(
    ("classes", "writing"),
    [
        ("0123456789", True),
        (("zero", "one", "two"), True),
        (("letter_a", "letter_b"), True),
        (("arrow left", "arrow right"), True),
        (("Letters", "shapes"), True),
        (("cat", "dog"), False),
        (("sword", "texture", "charger"), False),  # only parts of these words are symbols
        (("t-shirt", "hat"), False),
        ((), False),
    ],
)
def test_writing_is_known_by_the_names_of_the_classes(classes: tuple[str, ...], writing: bool) -> None:
    assert is_writing(tuple(classes)) == writing


@pytest.mark.parametrize(
    ("accuracy", "classes", "mirrored", "why"),
    [
        (0.52, ("cat", "dog"), True, "52%"),
        (0.9, ("cat", "dog"), False, "90%"),
        (None, (), False, "too few images"),
        (0.5, tuple("0123456789"), False, "names"),
    ],
)
def test_images_are_mirrored_only_without_doubt(
    accuracy: float | None, classes: tuple[str, ...], mirrored: bool, why: str
) -> None:
    found, reason = mirroring(DataFacts(500, classes=dict.fromkeys(classes, 50), mirrored_accuracy=accuracy))
    assert found == mirrored
    assert why in reason
