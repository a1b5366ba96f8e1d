from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch

from genai_core.config import DiffusionSampling
from genai_core.models.artifact import load_for_training, load_model, read_config, save_model
from genai_core.models.diffusion import build
from genai_core.models.editing import Start
from genai_core.models.networks.diffusion.ode import few_step
from genai_core.models.networks.diffusion.pairs import draw_pairs
from genai_core.models.networks.diffusion.student import student_levels
from genai_core.models.protocol import Lesson, Part, SamplingError, to_unit
from genai_core.training.noise import WholeBatchNoise
from tests.models.overfit import UNLABELLED
from tests.models.tiny import SHAPE, diffusion_recipe, gan_recipe

TEACHER = DiffusionSampling(
    sampler="multistep",
    steps=4,
    sigma_min=0.02,
    sigma_max=10.0,
    noise_levels=None,
    guidance_scale=1.5,
    guidance_interval=None,
)
LABELS = torch.arange(24) % 3
SEEDS = torch.arange(6)


def teacher(**objective):
    """A network with random weights everywhere: what it draws depends on noise and class."""
    torch.manual_seed(1)
    model = build(diffusion_recipe(**objective), SHAPE)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.15)
    return model.eval()


def lesson(steps):
    return Lesson("f" * 64, TEACHER, 24, LABELS, steps)


def distilling(steps=2, **objective):
    done = []
    with TemporaryDirectory() as cache:
        found = teacher(**objective).distillation(
            diffusion_recipe(**objective), lesson(steps), Path(cache), done.append
        )
    assert done == [24]
    return found


def draw(model, **changes):
    return model.sample(LABELS[:6], SEEDS, model.preview_sampling.model_copy(update=changes))


def test_each_step_draws_a_whole_image_and_adds_the_same_noise_again():
    noise, seen = torch.randn(2, 1, 4, 4), []

    def denoise(images, sigma):
        seen.append((images, sigma))
        return torch.full_like(images, sigma)

    images = few_step(denoise, 3.0 * noise, noise, [3.0, 0.5, 0.0])
    torch.testing.assert_close(images, torch.full_like(noise, 0.5))
    assert [sigma for _, sigma in seen] == [3.0, 0.5]
    torch.testing.assert_close(seen[1][0], 3.0 + 0.5 * noise)


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_as_many_evaluations_as_steps(steps):
    student = distilling(4).model.student
    calls = []
    student.network.register_forward_hook(lambda *_: calls.append(1))
    draw(student, steps=steps)
    assert len(calls) == steps


def test_two_of_four_evaluations_are_the_first_and_the_third():
    student = distilling(4).model.student
    levels = student_levels(4, student.objective.sigma_data)
    assert student._levels(student.preview_sampling.model_copy(update={"steps": 2})) == [levels[0], levels[2], 0.0]


def test_the_student_learns_to_draw_what_the_teacher_draws():
    model = distilling(2).model
    noise, target = model.teacher.noise(SEEDS), to_unit(model.teacher.sample(LABELS[:6], SEEDS, TEACHER))

    def error(steps):
        with torch.no_grad():
            options = model.preview_sampling.model_copy(update={"steps": steps})
            return float((to_unit(model.sample_from(noise, LABELS[:6], options)) - target).square().mean())

    before = [error(steps) for steps in (1, 2)]
    optimizer = torch.optim.Adam(model.phase_parameters("imitation"), lr=3e-3, betas=(0.0, 0.99))
    generator, batch = torch.Generator().manual_seed(0), torch.zeros(16, 1, 8, 8)
    losses = []
    for _ in range(60):
        loss = model.loss("imitation", batch, None, generator)
        optimizer.zero_grad()
        loss.value.backward()
        optimizer.step()
        losses.append(float(loss.value.detach()))
    assert sum(losses[-8:]) < 0.8 * sum(losses[:8])
    # These seeds are not those of the pairs.
    after = [error(steps) for steps in (1, 2)]
    assert all(now < 0.9 * then for now, then in zip(after, before, strict=True)), (before, after)


@pytest.mark.parametrize("kind", ["edm", "flow"])
def test_only_the_student_learns(kind):
    model = distilling(kind=kind).model
    model.loss("imitation", torch.zeros(4, 1, 8, 8), None, torch.Generator().manual_seed(0)).value.backward()
    assert all(parameter.grad is None for parameter in model.teacher.parameters())
    assert any(parameter.grad is not None for parameter in model.student.parameters())


def test_a_stopped_teacher_goes_on(tmp_path):
    model, done = build(diffusion_recipe(label_dropout=0.0), UNLABELLED), []
    options = TEACHER.model_copy(update={"guidance_scale": 1.0})

    def draw_some(on_progress, count=260):
        return draw_pairs(model, "f" * 64, options, None, count, 0, tmp_path, on_progress)

    pairs = draw_some(done.append)
    assert done == [250, 260]
    again = draw_some(done.append)
    assert done == [250, 260]
    assert torch.equal(again.images, pairs.images)
    draw_some(done.append, 20)
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("phase", ["imitation", "discriminator", "refinement"])
def test_the_loss_of_a_batch_is_that_of_its_parts(phase):
    torch.manual_seed(0)
    model, batch = distilling().model, torch.rand(4, 1, 8, 8).repeat(2, 1, 1, 1) * 2 - 1
    labels = torch.tensor([0, 1, 2, 0]).repeat(2)
    whole = model.loss(phase, batch, labels, torch.Generator().manual_seed(3))
    parts = []
    for first in (0, 4):
        with WholeBatchNoise(first, first + 4, 8):
            generator = torch.Generator().manual_seed(3)
            parts.append(model.loss(phase, batch[:4], labels[:4], generator, Part(first, first + 4, 8)))
    for name, figure in whole.figures.items():
        mean = torch.stack([part.figures[name] for part in parts]).mean()
        torch.testing.assert_close(mean, figure, rtol=1e-4, atol=1e-6)


def test_the_discriminator_joins_late_and_trains_its_heads_alone():
    model = distilling().model
    assert [model.phases_at(share) for share in (0.0, 0.59)] == [("imitation",)] * 2
    assert model.phases_at(0.6) == ("discriminator", "refinement")
    torch.manual_seed(0)
    batch, labels = torch.rand(16, 1, 8, 8) * 2 - 1, torch.arange(16) % 3
    optimizer = torch.optim.Adam(model.phase_parameters("discriminator"), lr=3e-3, betas=(0.0, 0.99))
    margins = []
    for step in range(12):
        loss = model.loss("discriminator", batch, labels, torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        loss.value.backward()
        optimizer.step()
        margins.append(float(loss.figures["score_margin"]))
    assert margins[-1] > margins[0] + 0.05  # noise is easily told from what random weights draw
    assert all(parameter.grad is None for part in (model.teacher, model.student) for parameter in part.parameters())


def test_a_saved_few_step_model_names_its_teacher_and_draws_the_same(tmp_path):
    found = distilling()
    save_model(tmp_path, found.model.result(), found.recipe, dataset="d" * 64, training_summary={})
    recipe, loaded = read_config(tmp_path).config, load_model(tmp_path)
    assert recipe == found.recipe
    assert (recipe.few_step.teacher, recipe.few_step.teacher_sampling) == ("f" * 64, TEACHER)
    assert "few_step" in (tmp_path / "card.md").read_text()
    assert loaded.preview_sampling.sampler == "few_step"
    assert torch.equal(draw(loaded), draw(found.model))
    assert load_for_training(tmp_path).few_step == recipe.few_step


def test_an_ordinary_model_has_no_such_entry(tmp_path):
    save_model(tmp_path, teacher(), diffusion_recipe(), dataset="d" * 64, training_summary={})
    assert "few_step" not in (tmp_path / "config.json").read_text()


def test_samplers_do_not_mix():
    student = distilling().model.student
    with pytest.raises(SamplingError, match=r"sampler: got multistep; allowed: few_step, because"):
        student.sample(LABELS[:6], SEEDS, TEACHER)
    with pytest.raises(SamplingError, match=r"sampler: got few_step; allowed: heun, euler or multistep"):
        teacher().sample(LABELS[:6], SEEDS, student.preview_sampling)
    with pytest.raises(SamplingError, match=r"steps: got 4; allowed: at most 2"):
        draw(student, steps=4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 3}, "steps: got 3; allowed: 1, 2 or 4"),
        ({"guidance_scale": 2.0}, "guidance_scale: got 2.0; allowed: 1.0"),
        ({"noise_levels": [2.0, 1.0]}, "noise_levels: allowed: null"),
    ],
)
def test_options_that_a_few_step_model_has_not(changes, message):
    values = distilling().model.preview_sampling.model_dump()
    with pytest.raises(ValueError, match=message):
        DiffusionSampling(**{**values, **changes})


def test_it_cannot_be_a_teacher_itself():
    found = distilling()
    with pytest.raises(ValueError, match="draws in 2 evaluations already"):
        found.model.result().distillation(found.recipe, lesson(1), Path(), lambda _: None)


def test_other_families_have_no_few_step_models():
    from genai_core.models.gan import build as build_gan

    with pytest.raises(ValueError, match="because this is a gan model"):
        build_gan(gan_recipe(), SHAPE).distillation(gan_recipe(), lesson(1), Path(), lambda _: None)


def test_the_noise_of_an_image_is_searched():
    student = distilling().model.student
    begin = student.noise(torch.tensor([7]))
    drawn = to_unit(student.sample_from(student.noise(torch.tensor([3])), LABELS[:1], student.preview_sampling))
    found = student.encode(drawn, LABELS[:1], student.preview_sampling, begin)
    assert found.shape == begin.shape

    def error(noise):
        again = to_unit(student.sample_from(noise, LABELS[:1], student.preview_sampling))
        return float((again - drawn).square().mean())

    assert error(found) < 0.5 * error(begin)


def test_a_start_image_at_no_strength_is_what_its_noise_draws():
    student = distilling().model.student
    noise = student.noise(torch.tensor([3, 4]))
    start = Start(torch.zeros(1, 1, 8, 8), strength=1e-6, noise=noise[:1])
    drawn = student.sample_from(noise[1:], LABELS[:1], student.preview_sampling, start)
    own = student.sample_from(noise[:1], LABELS[:1], student.preview_sampling)
    assert int((drawn.int() - own.int()).abs().max()) <= 1
