import pytest
import torch

from genai_core.training import step
from genai_core.training.loop import TrainingStoppedError
from genai_core.training.recording import Recording
from tests.training.small_run import after, model_of, run, same_weights

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a GPU")

# Values that change from step to step: ADA's probability, the KL weight, and the phase.
CASES = [
    ("diffusion", {"augment_share": 0.5}),
    ("gan", {"ada_target": 0.0, "ada_images": 64, "augment_policy": ("translation", "colour", "cutout")}),
    ("vae", {"kl_warmup_images": 48}),
    ("vqvae", {}),
]


def gpu():
    return torch.device("cuda")


def not_recorded(*_arguments, **_options):
    raise RuntimeError("operation not permitted when stream is capturing")


@pytest.mark.parametrize("precision", ["fp32", "auto"])
@pytest.mark.parametrize(("family", "objective"), CASES)
def test_recorded_training_is_bitwise_equal(family, objective, precision, tmp_path, monkeypatch, capsys):
    recorded, replayed = model_of(family, **objective), []
    own = Recording.replay
    monkeypatch.setattr(Recording, "replay", lambda *arguments: replayed.append(1) or own(*arguments))
    fast = run(recorded, tmp_path / "recorded", device=gpu(), precision=precision)
    assert len(replayed) == 8 * (2 if family == "gan" else 1)
    plain = model_of(family, **objective)
    monkeypatch.setattr(step, "Recording", not_recorded)
    slow = run(plain, tmp_path / "plain", device=gpu(), precision=precision)
    assert "cannot record a step on this GPU (operation not permitted" in capsys.readouterr().out
    assert same_weights(recorded, plain)
    assert fast.curves == slow.curves


@pytest.mark.parametrize(("family", "objective"), CASES)
def test_resumed_training_is_bitwise_equal(family, objective, tmp_path):
    straight, first, second = (model_of(family, **objective) for _ in range(3))
    run(straight, tmp_path / "straight", device=gpu())
    with pytest.raises(TrainingStoppedError):
        run(first, tmp_path / "stopped", device=gpu(), stop_requested=after(3))
    run(second, tmp_path / "stopped", device=gpu())
    assert same_weights(straight, second)


def test_micro_batches_are_not_recorded(tmp_path, monkeypatch):
    monkeypatch.setattr(step, "Recording", not_recorded)
    run(model_of(), tmp_path, device=gpu(), micro_batch_images=3)


def test_a_replay_uses_new_inputs_and_the_generators_state():
    weight = torch.nn.Parameter(torch.ones(3, device=gpu()))
    generator = torch.Generator(gpu())

    def work(inputs, _labels):
        value = (weight * inputs * torch.rand(3, generator=generator, device=gpu())).sum()
        value.backward()
        return value.detach()

    recording = Recording(work, (torch.zeros(3, device=gpu()), None), [weight], generator)
    assert weight.grad is None
    for seed in (1, 2, 1):
        inputs = torch.full((3,), float(seed), device=gpu())
        drawn = torch.rand(3, generator=generator.manual_seed(seed), device=gpu())
        generator.manual_seed(seed)
        assert torch.equal(recording.replay(inputs, None), (inputs * drawn).sum())
        assert torch.equal(weight.grad, inputs * drawn)
