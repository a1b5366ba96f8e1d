"""A model with a network for each group of classes: what one learns leaves the images of the others as they are."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch

from genai_core.config import DiffusionSampling
from genai_core.models.adapting.adapt import adapted, class_rows
from genai_core.models.artifact import load_for_training, load_model, read_config, save_model
from genai_core.models.diffusion import Diffusion, build
from genai_core.models.networks.class_embedding import hide
from genai_core.models.protocol import ImageShape, Lesson
from genai_core.training.cost import count_cost
from genai_core.training.rates import FrozenError, learning_rates
from tests.models.tiny import SHAPE, diffusion_recipe

NEW = ("c",)  # of the classes a, b, c
SAMPLING = DiffusionSampling(
    sampler="multistep",
    steps=4,
    sigma_min=0.02,
    sigma_max=10.0,
    noise_levels=None,
    guidance_scale=1.5,
    guidance_interval=None,
)
LABELS = torch.tensor([0, 2, 1, 2, 0, 1])
OLD = LABELS != 2


def plain(**objective):
    """A network with random weights everywhere: what it draws depends on noise and class."""
    torch.manual_seed(1)
    model = build(diffusion_recipe(**objective), SHAPE)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.15)
    return model.eval()


def grouped(model=None, **objective):
    return (model or plain(**objective)).with_own_network(diffusion_recipe(**objective), NEW)


def disturbed(model):
    """The model, its last network with other weights."""
    torch.manual_seed(2)
    for parameter in model.network.networks[-1].parameters():
        torch.nn.init.normal_(parameter, std=0.15)
    return model.eval()


def draw(model, labels=LABELS, **changes):
    seeds = torch.arange(len(labels))
    return model.sample(labels, seeds, SAMPLING.model_copy(update=changes))


@pytest.mark.parametrize("guidance_scale", [1.0, 2.0])
def test_each_class_is_drawn_by_its_own_network(guidance_scale):
    before, model = plain(), grouped().model.eval()
    expected = draw(before, guidance_scale=guidance_scale)
    assert (draw(model, guidance_scale=guidance_scale).int() - expected.int()).abs().max() <= 1  # a copy, at first
    other = draw(disturbed(model), guidance_scale=guidance_scale)
    assert (other[OLD].int() - expected[OLD].int()).abs().max() <= 1
    assert (other[~OLD].int() - expected[~OLD].int()).abs().max() > 20
    own = draw(disturbed(grouped().model), LABELS[~OLD], guidance_scale=guidance_scale)
    again = plain()
    again.network.load_state_dict(model.network.networks[-1].state_dict())
    assert torch.equal(own, draw(again, LABELS[~OLD], guidance_scale=guidance_scale))


def test_a_mixture_is_the_mean_of_its_networks_estimates():
    model = disturbed(grouped().model)
    images, sigma = torch.randn(3, 1, 8, 8), torch.tensor([0.3, 1.0, 4.0])

    def estimate(weights):
        return model.denoise(images, sigma, torch.tensor([weights]).expand(3, -1))

    with torch.no_grad():
        both = 0.75 * estimate([0.2 / 0.75, 0.55 / 0.75, 0.0]) + 0.25 * estimate([0.0, 0.0, 1.0])
        torch.testing.assert_close(estimate([0.2, 0.55, 0.25]), both)
        by_label = model.denoise(images, sigma, torch.full((3,), 2))
        torch.testing.assert_close(estimate([0.0, 0.0, 1.0]), by_label)
        hidden = torch.ones(3, dtype=torch.bool)
        of_mixture = model.denoise(images, sigma, torch.tensor([[0.2, 0.55, 0.25]]).expand(3, -1), hidden=hidden)
        of_each = [model.denoise(images, sigma, torch.full((3,), label), hidden=hidden) for label in (0, 2)]
        torch.testing.assert_close(of_mixture, 0.75 * of_each[0] + 0.25 * of_each[1])


def test_an_image_is_the_same_whatever_else_is_in_the_batch():
    """As for other networks in batches of multiples of 16, if each kernel runs on one thread."""
    torch.set_num_threads(1)
    model = disturbed(grouped().model)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(48, 1, 8, 8, generator=generator)
    labels = torch.randint(3, (48,), generator=generator)
    together = estimates(model, noise, labels)
    for row in range(48):
        copies = torch.full((16,), row)
        alone = estimates(model, noise[copies], labels[copies])
        assert torch.equal(together[row], alone[row % 16]), row


@torch.no_grad()
def estimates(model, noise, labels):
    return model.denoise(noise, torch.full((len(noise),), 0.7), labels)


def test_hidden_labels_and_weights():
    hidden = torch.tensor([True, False])
    assert hide(torch.tensor([0, 1]), hidden, no_label=3).tolist() == [3, 1]
    weights = hide(torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.25, 0.75]]), hidden, no_label=3)
    assert weights.tolist() == [[0.0, 0.0, 0.0, 1.0], [0.0, 0.25, 0.75, 0.0]]


def test_the_way_of_a_recorded_step_gives_the_same_images_and_gradients():
    objective = {"augment_share": 0.5}
    network = disturbed(grouped(**objective).model).network
    network.learn_only((0, 1, 2))
    inputs = (torch.randn(6, 1, 8, 8), torch.linspace(-1, 1, 6), LABELS, torch.rand(6, 4), LABELS == 1)
    found, gradients = [], []
    for way in (network._all_by_each, network._each_by_its_own):
        network.zero_grad()
        found.append(way(*inputs, network._shares(LABELS)))
        found[-1].square().mean().backward()
        gradients.append([parameter.grad.clone() for parameter in network.parameters()])
    torch.testing.assert_close(*found)
    torch.testing.assert_close(*gradients)


def test_shares_add_up_to_one_in_bf16():
    network = grouped().model.network
    with torch.autocast("cpu", torch.bfloat16):
        shares = network._shares(torch.tensor([[0.3, 0.3, 0.4]]))
    assert shares.dtype == torch.float32
    torch.testing.assert_close(shares, torch.tensor([[0.6, 0.4]]))


def test_operations_are_those_of_one_network_counted_without_values():
    one, several = (count_cost(model, 8) for model in (plain(), grouped().model))
    assert several.training_flops == one.training_flops
    assert several.sampling_flops == one.sampling_flops
    assert several.parameters == 2 * one.parameters


def test_only_the_new_network_learns():
    model = grouped().model.train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    optimizer = torch.optim.Adam(model.phase_parameters("denoiser"), lr=1e-2)
    images, generator = torch.rand(8, 1, 8, 8) * 2 - 1, torch.Generator().manual_seed(0)
    model.loss("denoiser", images, torch.full((8,), 2), generator).value.backward()
    optimizer.step()
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed
    assert all(name.startswith("network.networks.1.") for name in changed)


def test_loaded_again_all_networks_learn_and_each_has_a_gradient(tmp_path: Path):
    found = grouped()
    save_model(tmp_path, found.model, found.recipe, dataset="d" * 64, training_summary={})
    model = load_for_training(tmp_path).train()
    images, labels = torch.rand(4, 1, 8, 8), torch.tensor([0, 1, 0, 1])  # none of the new class
    model.loss("denoiser", images, labels, torch.Generator().manual_seed(0)).value.backward()
    assert all(parameter.grad is not None for parameter in model.network.parameters())
    assert all(not parameter.grad.any() for parameter in model.network.networks[1].parameters())
    assert any(parameter.grad.any() for parameter in model.network.networks[0].parameters())
    rates = learning_rates(model, 0.1, ())
    alone = learning_rates(plain(), 0.1, ())
    for number in (0, 1):
        own = {name: factor for name, factor in rates.items() if name.startswith(f"network.networks.{number}.")}
        assert {name.replace(f"networks.{number}.", ""): factor for name, factor in own.items()} == alone


def test_frozen_patterns_of_a_plain_model_fit_each_network():
    model = grouped().model
    rates = learning_rates(model, 1.0, ("network.stem.*",))
    assert "network.networks.1.head.weight" in rates
    assert "network.networks.1.stem.weight" not in rates
    with pytest.raises(FrozenError, match=r"fits no weights of this model; its parts are network\.class_embedding"):
        learning_rates(model, 1.0, ("nothing.*",))


def test_a_pattern_means_the_same_in_each_network():
    model = grouped().model
    model.learn_only((0, 1, 2))
    rates = learning_rates(model, 1.0, ("*.0.*",))  # not the whole of networks.0
    for number in (0, 1):
        assert f"network.networks.{number}.stem.weight" in rates
        assert f"network.networks.{number}.down.0.0.conv1.weight" not in rates
    one = learning_rates(model, 1.0, ("network.networks.0.*",))
    assert one.keys() == {name for name in rates_of_all(model) if name.startswith("network.networks.1.")}


def rates_of_all(model):
    return learning_rates(model, 1.0, ())


def test_many_classes_need_no_image_each(monkeypatch):
    """Layers are found by a step on a few images, however many classes there are."""
    shape = ImageShape(SHAPE.image_size, 1, tuple(map(str, range(500))))
    found = build(diffusion_recipe(), shape).with_own_network(diffusion_recipe(), ("499",))
    found.model.learn_only(range(500))
    counts, own = [], Diffusion.loss
    monkeypatch.setattr(Diffusion, "loss", lambda *given: (counts.append(len(given[2])), own(*given))[1])
    rates = learning_rates(found.model, 0.1, ())
    assert counts == [2]
    for number in (0, 1):
        assert rates[f"network.networks.{number}.stem.weight"] < rates[f"network.networks.{number}.output.weight"]


def test_a_few_step_model_gets_no_other_network(tmp_path: Path):
    lesson = Lesson("f" * 64, SAMPLING, 12, torch.arange(12) % 3, 2)
    with TemporaryDirectory() as cache:
        found = plain().distillation(diffusion_recipe(), lesson, Path(cache), lambda _: None)
    with pytest.raises(ValueError, match="a few-step model learns no new classes: fine-tune its teacher"):
        found.model.result().with_own_network(found.recipe, NEW)


def test_a_new_class_starts_as_the_mean_of_those_that_its_network_draws(tmp_path: Path):
    saved(tmp_path)
    after = adapted(tmp_path, classes_now("a", "b", "c", "d"))  # d joins a and b
    rows = after.model.network.networks[0].class_embedding.weight
    torch.testing.assert_close(rows[3], rows[:2].mean(dim=0))


def test_a_saved_model_says_which_network_draws_what(tmp_path: Path):
    found = grouped()
    disturbed(found.model)
    save_model(tmp_path, found.model, found.recipe, dataset="d" * 64, training_summary={})
    description = read_config(tmp_path)
    assert description.config == found.recipe
    assert description.config.class_groups.networks == (("a", "b"), ("c",))
    assert "class_groups" in (tmp_path / "card.md").read_text()
    assert torch.equal(draw(load_model(tmp_path)), draw(found.model))


@pytest.mark.parametrize(
    ("networks", "message"),
    [
        ([["a", "b"], ["b"]], "class_groups: got a, b, b; allowed: each of the classes once: a, b, c"),
        ([["a", "b", "c"], []], "class_groups.networks.1: .* not a model of this version"),
        ([], "class_groups.networks: .* not a model of this version"),
    ],
)
def test_groups_that_are_none_are_named_with_their_file(tmp_path: Path, networks, message):
    found = grouped()
    save_model(tmp_path, found.model, found.recipe, dataset="d" * 64, training_summary={})
    values = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**values, "class_groups": {"networks": networks}}))
    with pytest.raises(ValueError, match=f"config.json: .*{message}"):
        load_model(tmp_path)


def saved(folder: Path):
    found = grouped()
    disturbed(found.model)
    save_model(folder, found.model, found.recipe, dataset="d" * 64, training_summary={})
    return found.model


def classes_now(*names):
    return ImageShape(SHAPE.image_size, 1, names)


def test_with_other_classes_each_keeps_its_network(tmp_path: Path):
    """A class is gone, one has another name, and two are new."""
    before = saved(tmp_path)
    rows = {f"network.networks.{number}.class_embedding.weight" for number in (0, 1)}
    assert class_rows(grouped().recipe, SHAPE) == rows
    after = adapted(tmp_path, classes_now("C", "a", "d", "e"), {"C": "c"})
    assert after.recipe.class_groups.networks == (("a", "d", "e"), ("C",))
    assert torch.equal(draw(before, torch.tensor([2, 0])), draw(after.model.eval(), torch.tensor([0, 1])))

    third = after.model.with_own_network(after.recipe, after.new_classes)
    assert third.recipe.class_groups.networks == (("a",), ("C",), ("d", "e"))
    assert torch.equal(draw(before, torch.tensor([2, 0])), draw(third.model.eval(), torch.tensor([0, 1])))
    begin, copied = after.model.network.networks[0].state_dict(), third.model.network.networks[2].state_dict()
    assert all(torch.equal(tensor, copied[name]) for name, tensor in begin.items())


def test_a_network_without_classes_goes(tmp_path: Path):
    before = saved(tmp_path)
    after = adapted(tmp_path, classes_now("c", "d"))
    assert after.recipe.class_groups.networks == (("c", "d"),)
    assert torch.equal(draw(before, torch.tensor([2])), draw(after.model.eval(), torch.tensor([0])))
    # The weights have other names now, so that no state of an optimizer is taken for theirs.
    assert after.changed_weights == {name for name, _ in after.model.named_parameters()}
    assert adapted(tmp_path, classes_now("x", "y")).recipe.class_groups.networks == (("x", "y"),)


def test_a_few_step_model_of_it_has_its_networks_too(tmp_path: Path):
    teacher = grouped()
    disturbed(teacher.model)
    with TemporaryDirectory() as cache:
        found = teacher.model.distillation(
            teacher.recipe, Lesson("f" * 64, SAMPLING, 12, torch.arange(12) % 3, 2), Path(cache), lambda _: None
        )
    assert found.recipe.class_groups == teacher.recipe.class_groups
    for phase in found.model.phases:
        loss = found.model.loss(phase, torch.rand(6, 1, 8, 8), LABELS, torch.Generator().manual_seed(0))
        loss.value.backward()
    student = found.model.result()
    assert all(parameter.grad is not None for parameter in student.network.networks[1].parameters())
    save_model(tmp_path, student, found.recipe, dataset="d" * 64, training_summary={})
    assert read_config(tmp_path).config == found.recipe
    seeds = torch.arange(6)
    drawn = [each.sample(LABELS, seeds, student.preview_sampling) for each in (student.eval(), load_model(tmp_path))]
    assert torch.equal(*drawn)
