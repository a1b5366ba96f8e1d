import pytest
import torch

from genai_core.training import loop, step
from genai_core.training.loop import TrainingStoppedError
from genai_core.training.step import DoesNotFitError, Stepper
from tests.training.small_run import after, close_weights, model_of, run, same_weights

# Effect of another summation order, over 8 steps of Adam.
ROUNDING = 1e-4
# Figures that compare the images of a part with each other, so they are not means over images.
WITHIN_A_PART = ("pair_distance", "pair_distance_real", "codebook_use", "codebook_perplexity")


def too_large(monkeypatch, model, max_images):
    """Simulate a device with memory for at most `max_images` images; return the sizes of the passes."""
    own, sizes = model.loss, []

    def loss(phase, images, labels, generator, part):
        sizes.append(len(images))
        if len(images) > max_images:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return own(phase, images, labels, generator, part)

    monkeypatch.setattr(model, "loss", loss)
    return sizes


@pytest.mark.parametrize("micro", [1, 3])
@pytest.mark.parametrize(
    ("family", "objective"),
    [
        ("diffusion", {}),
        ("gan", {"penalty_share": 0.4, "ada_target": 0.0, "ada_images": 64}),
        ("vqvae", {}),
    ],
)
def test_training_in_micro_batches_gives_the_same_result(family, objective, micro, tmp_path):
    """Noise and losses are the whole batch's, penalties use the same images, and ADA's probability is the same."""
    models = [model_of(family, **objective), model_of(family, **objective)]
    whole, parts = (
        run(model, tmp_path, micro_batch_images=size) for model, size in zip(models, (None, micro), strict=True)
    )
    assert close_weights(*models, share=ROUNDING)
    for one, other in zip(whole.curves, parts.curves, strict=True):
        for row in (one, other):
            for name in WITHIN_A_PART:
                row.pop(name, None)
        assert other == pytest.approx(one, rel=2e-3, abs=1e-5)


@pytest.mark.parametrize("micro", [None, 3])
def test_kl_warm_up_counts_the_images_of_the_whole_batch(micro, tmp_path):
    model = model_of("vae", kl_warmup_images=128)
    run(model, tmp_path, micro_batch_images=micro)
    assert int(model.images_seen) == 64


def test_out_of_memory_halves_the_micro_batch(tmp_path, monkeypatch, capsys):
    model, expected = model_of(), model_of()
    sizes = too_large(monkeypatch, model, max_images=3)
    result = run(model, tmp_path, total_images=16)
    assert sizes == [8, 4, 2, 2, 2, 2, 2, 2, 2, 2]
    assert result.micro_batch_images == 2
    assert (
        "8 images per pass do not fit into the device's memory; continuing with 4 per pass" in capsys.readouterr().out
    )
    run(expected, tmp_path / "enough", total_images=16)
    assert close_weights(model, expected, share=ROUNDING)


def test_a_resumed_run_keeps_the_micro_batch_that_fits(tmp_path, monkeypatch):
    straight, first, second = model_of(), model_of(), model_of()
    too_large(monkeypatch, straight, 3)
    run(straight, tmp_path / "straight")
    too_large(monkeypatch, first, 3)
    with pytest.raises(TrainingStoppedError):
        run(first, tmp_path, stop_requested=after(2))
    sizes = too_large(monkeypatch, second, 3)
    run(second, tmp_path)
    assert set(sizes) == {2}
    assert same_weights(straight, second)


def test_the_error_says_what_to_do_when_not_even_one_image_fits(tmp_path, monkeypatch):
    model = model_of()
    too_large(monkeypatch, model, 0)
    with pytest.raises(DoesNotFitError, match=r"not even a single image .*Tried to allocate 2\.00 GiB.*reduce"):
        run(model, tmp_path)


def test_several_processes_that_need_the_mean_of_a_batch_are_told_both_keys(tmp_path, monkeypatch):
    model = model_of()
    too_large(monkeypatch, model, 3)
    monkeypatch.setattr(Stepper, "_takes_means", lambda *_: True)
    said = r"8 images do not fit .*training\.micro_batch_images to 4, or in a fine-tuning finetune\.batch_images to 4"
    with pytest.raises(DoesNotFitError, match=said):
        run(model, tmp_path)


class EagerRecording:
    """Stand-in for a CUDA graph on a CPU: runs the work a few times first, then runs it again for each replay."""

    def __init__(self, work, inputs, parameters, generator, others):
        self.work, self.parameters, self.inputs = work, parameters, [tensor.clone() for tensor in inputs]
        self.others = list(others)
        for _ in range(2):
            work(*self.inputs)
            for parameter in parameters:
                parameter.grad = None
        generator.manual_seed(99)

    def replay(self, *inputs):
        for kept, tensor in zip(self.inputs, inputs, strict=True):
            kept.copy_(tensor)
        return self.work(*self.inputs)


@pytest.fixture
def recorded(monkeypatch):
    """List of the recordings that training makes; training records as on a GPU."""
    made = []

    class Recorder(Stepper):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            self.records = True

    monkeypatch.setattr(
        step, "Recording", lambda *given, **options: made.append(EagerRecording(*given, **options)) or made[-1]
    )
    monkeypatch.setattr(loop, "Stepper", Recorder)
    return made


@pytest.mark.parametrize(
    ("family", "objective", "recordings"),
    [
        ("diffusion", {"augment_share": 0.5}, 1),
        ("gan", {"ada_target": 0.0, "ada_images": 64}, 2),
        ("vae", {"kl_warmup_images": 48}, 1),
        ("vqvae", {}, 2),
    ],
)
def test_each_phase_is_recorded_once_without_changing_the_result(
    family, objective, recordings, tmp_path, monkeypatch, recorded
):
    model, plain = model_of(family, **objective), model_of(family, **objective)
    result = run(model, tmp_path / "recorded")
    assert len(recorded) == recordings
    assert [len(recording.others) for recording in recorded] == list(range(recordings))
    monkeypatch.undo()
    expected = run(plain, tmp_path / "plain")
    assert same_weights(model, plain)
    assert result.curves == expected.curves


def test_micro_batches_run_without_recordings_when_memory_is_short(tmp_path, monkeypatch, recorded, capsys):
    model, expected = model_of(), model_of()
    sizes = too_large(monkeypatch, model, max_images=5)
    run(model, tmp_path, total_images=16)
    assert sizes == [8, 4, 4, 4, 4]
    assert recorded == []
    assert "continuing with 4 per pass" in capsys.readouterr().out
    monkeypatch.undo()
    run(expected, tmp_path / "enough", total_images=16)
    assert close_weights(model, expected, share=ROUNDING)


def test_training_continues_without_a_recording_that_fails(tmp_path, monkeypatch, recorded, capsys):
    def refused(*_given, **_options):
        raise RuntimeError("operation not permitted when stream is capturing")

    model, expected = model_of(), model_of()
    monkeypatch.setattr(step, "Recording", refused)
    run(model, tmp_path)
    assert capsys.readouterr().out.count("cannot record a step on this GPU (operation not permitted") == 1
    monkeypatch.undo()
    run(expected, tmp_path / "plain")
    assert same_weights(model, expected)
