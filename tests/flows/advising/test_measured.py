from flows.advising.measured import merged
from genai_core.advice.facts import Speed
from genai_core.image_size import ImageSize

SIZE = ImageSize.square(16)


def test_speeds_of_processes_side_by_side_are_averaged_by_network() -> None:
    one, other = Speed("gan", 8, 1, SIZE, 1, 100.0, 10.0), Speed("gan", 8, 1, SIZE, 1, 300.0, 30.0)
    alone = Speed("vae", 8, 1, SIZE, 1, 5.0, 5.0)
    found = merged([(one, alone), (other,)])
    assert found == (Speed("gan", 8, 1, SIZE, 1, 150.0, 15.0), alone)  # the mean of the times per image
