"""Report a run live to TensorBoard, Weights & Biases or DVCLive, which are imported only when used."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

Images = npt.NDArray[np.uint8]

# Each report takes time, and a chart needs no more points.
_SCALARS_EVERY_S = 5.0


class Follower(Protocol):
    """A receiver of a run's numbers and images; `images` is the number of images seen."""

    def scalars(self, images: int, values: Mapping[str, float]) -> None: ...

    def previews(self, images: int, previews: Images) -> None:
        """previews: (N, C, H, W) uint8."""

    def close(self) -> None: ...


@dataclass(frozen=True)
class FollowedRun:
    """Description of a run for followers. A resumed run has the same name and continues the same record."""

    name: str  # such as train@gan-0123456789abcdef
    folder: Path  # followers write here, each in its own folder
    config: Mapping[str, Any]  # JSON values


class Followers:
    """Several followers as one, at a limited rate. A failing one is dropped, because it must not stop the run."""

    def __init__(self, followers: Sequence[Follower] = ()) -> None:
        self._followers = list(followers)
        self._reported = -float("inf")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._call_all(lambda follower: follower.close())

    def scalars(self, images: int, values: Mapping[str, float], *, last: bool = False) -> None:
        """Report values at a limited rate; the `last` ones of a section are always reported."""
        now = time.monotonic()
        if self._followers and (last or now - self._reported >= _SCALARS_EVERY_S):
            self._reported = now
            self._call_all(lambda follower: follower.scalars(images, values))

    def previews(self, images: int, previews: Images) -> None:
        """Report images (N, C, H, W) uint8."""
        self._call_all(lambda follower: follower.previews(images, previews))

    def _call_all(self, call: Callable[[Follower], None]) -> None:
        for follower in list(self._followers):
            try:
                call(follower)
            except Exception as error:  # their libraries can raise anything
                self._followers.remove(follower)
                print(f"{type(follower).__name__} failed and is disabled from here on: {error}", flush=True)


class TensorBoard:
    """Event files, shown by `tensorboard --logdir FOLDER`."""

    def __init__(self, run: FollowedRun) -> None:
        module = _imported("tensorboard", "torch.utils.tensorboard")
        self._writer = module.SummaryWriter(str(run.folder / "tensorboard" / run.name))

    def scalars(self, images: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, images)

    def previews(self, images: int, previews: Images) -> None:
        self._writer.add_images("samples", previews, images)

    def close(self) -> None:
        self._writer.close()


class WeightsAndBiases:
    """A Weights & Biases run; reads WANDB_MODE (offline needs no account), WANDB_PROJECT and WANDB_API_KEY."""

    def __init__(self, run: FollowedRun) -> None:
        self._wandb = _imported("wandb", "wandb")
        folder = run.folder / "wandb"
        folder.mkdir(parents=True, exist_ok=True)
        self._run = self._wandb.init(
            dir=str(folder), name=run.name, id=_slug(run.name), resume="allow", config=dict(run.config)
        )

    def scalars(self, images: int, values: Mapping[str, float]) -> None:
        self._run.log({"images": images, **values})

    def previews(self, images: int, previews: Images) -> None:
        self._run.log({"images": images, "samples": [self._wandb.Image(_as_rows(image)) for image in previews]})

    def close(self) -> None:
        self._run.finish()


class DvcLive:
    """Metrics and plots in DVCLive's format, without its commits and experiments: DVC versions the stages' outputs."""

    def __init__(self, run: FollowedRun) -> None:
        module = _imported("dvclive", "dvclive")
        folder = run.folder / "dvclive" / run.name
        self._live = module.Live(
            str(folder), resume=folder.exists(), save_dvc_exp=False, dvcyaml=None, monitor_system=False
        )

    def scalars(self, images: int, values: Mapping[str, float]) -> None:
        self._live.step = images
        for name, value in values.items():
            self._live.log_metric(name, value)
        self._live.make_summary()

    def previews(self, images: int, previews: Images) -> None:
        self._live.step = images
        # All images in one, side by side.
        self._live.log_image("samples.png", np.concatenate([_as_rows(image) for image in previews], axis=1))

    def close(self) -> None:
        self._live.end()


_KINDS: dict[str, Callable[[FollowedRun], Follower]] = {
    "tensorboard": TensorBoard,
    "wandb": WeightsAndBiases,
    "dvclive": DvcLive,
}


def open_followers(names: Sequence[str], run: FollowedRun) -> Followers:
    """Open the followers with these names. Raises ValueError naming a missing package."""
    return Followers([_KINDS[name](run) for name in names])


def _imported(extra: str, module: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise ValueError(
            f"compute.follow contains {extra}, which cannot be imported ({error}); install it with "
            f"`pip install genai-pipeline[{extra}]`, or remove it from compute.follow"
        ) from None


def _as_rows(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Convert (C, H, W) to (H, W, 3), which every viewer supports."""
    rows = image.transpose(1, 2, 0)
    return np.repeat(rows, 3, axis=2) if rows.shape[2] == 1 else rows


def _slug(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in name)
