import pytest

from genai_core.advice.facts import MachineFacts, Speed
from genai_core.advice.networks import CANDIDATES, is_measured, network_for, smallest_for, speed_of
from genai_core.image_size import ImageSize

SMALL, LARGE = ImageSize.square(32), ImageSize.square(64)
DIFFUSION = CANDIDATES["diffusion"]
MEASURED = Speed("diffusion", 32, 1, SMALL, 3, images_per_s=100.0, samples_per_s=10.0)
MACHINE = MachineFacts(2, speeds=(MEASURED,))


def test_a_measured_speed_is_taken_as_it_is() -> None:
    assert speed_of(DIFFUSION[0], SMALL, 3, MACHINE) == MEASURED
    assert is_measured(DIFFUSION[0], SMALL, 3, MACHINE)
    assert not is_measured(DIFFUSION[0], LARGE, 3, MACHINE)


def test_other_sizes_are_scaled_by_their_pixels() -> None:
    larger = speed_of(DIFFUSION[0], LARGE, 3, MACHINE)
    assert larger.images_per_s == pytest.approx(25)
    assert larger.samples_per_s == pytest.approx(2.5)
    assert speed_of(DIFFUSION[1], SMALL, 3, MACHINE).images_per_s < 100


def test_the_most_similar_measured_network_is_scaled() -> None:
    other = Speed("diffusion", 32, 1, LARGE, 3, images_per_s=40.0, samples_per_s=4.0)
    machine = MachineFacts(2, speeds=(MEASURED, other))
    assert speed_of(DIFFUSION[1], LARGE, 3, machine).images_per_s == pytest.approx(40 * (32 / 48) ** 1.5)


def test_without_a_measurement_a_gpu_is_faster() -> None:
    cpu, gpu = (speed_of(DIFFUSION[0], SMALL, 3, MachineFacts(8, gpus=gpus)) for gpus in (0, 1))
    assert gpu.images_per_s > 10 * cpu.images_per_s


def test_more_time_gives_a_larger_network_and_little_time_the_smallest() -> None:
    widths = [network_for("diffusion", SMALL, 3, seconds, MACHINE).width for seconds in (1, 1_000, 10_000, 1e6)]
    assert widths == sorted(widths)
    assert widths[0] == 32
    assert widths[-1] == 96


def test_larger_images_need_wider_networks() -> None:
    assert [smallest_for("diffusion", ImageSize.square(side)).width for side in (32, 64, 128)] == [32, 48, 64]
