import pytest
import torch

from genai_core.training.noise import WholeBatchNoise, draw_seed

WHOLE = 7


def draws(images, generator):
    """Every call that the families use to draw noise, with one row per image."""
    return [
        torch.randn(images, generator=generator),
        torch.randn((images, 3), generator=generator),
        torch.randn(torch.zeros(images, 2).shape, generator=generator),
        torch.randn(images, 1, 4, generator=generator),
        torch.rand(size=(images, 2), generator=generator),
        torch.randint(-3, 4, (images,), generator=generator),
        torch.randint(9, (images, 1), generator=generator),
        torch.randint(0, 9, size=(images,), generator=generator),
    ]


@pytest.mark.parametrize(("first", "end"), [(0, 2), (2, 6), (6, 7), (0, 7)])
def test_a_part_gets_its_rows_of_the_whole_batchs_noise(first, end):
    whole_generator, generator = (torch.Generator().manual_seed(5) for _ in range(2))
    expected = draws(WHOLE, whole_generator)
    with WholeBatchNoise(first, end, WHOLE):
        found = draws(end - first, generator)
    assert all(torch.equal(part, whole[first:end]) for part, whole in zip(found, expected, strict=True))
    # The next draw would also be the same.
    assert torch.equal(generator.get_state(), whole_generator.get_state())


def test_draws_without_one_row_per_image_are_unchanged():
    expected = torch.randn((5, 3), generator=torch.Generator().manual_seed(1))
    with WholeBatchNoise(0, 2, WHOLE):
        assert torch.equal(torch.randn((5, 3), generator=torch.Generator().manual_seed(1)), expected)
        assert torch.zeros(2, 3).shape == (2, 3)
        assert torch.randn(2).shape == (2,)  # no generator: not the step's noise


def test_every_phase_of_every_step_has_its_own_seed():
    seeds = {
        draw_seed(seed, step, phase, rollbacks)
        for seed in range(3)
        for step in range(50)
        for phase in range(2)
        for rollbacks in range(2)
    }
    assert len(seeds) == 600
    assert draw_seed(0, 3, 1, 0) == draw_seed(0, 3, 1, 0)
