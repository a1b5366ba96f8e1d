"""Showing a run elsewhere while it goes on: TensorBoard, Weights & Biases, DVCLive; imported only where used."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

Pictures = npt.NDArray[np.uint8]

# Followers cost a little each time, and nobody looks closer.
_SCALARS_EVERY_S = 5.0


class Follower(Protocol):
    """Something that shows numbers and pictures of a run; `images` is the number of images seen."""

    def scalars(self, images: int, values: Mapping[str, float]) -> None: ...

    def pictures(self, images: int, pictures: Pictures) -> None:
        """pictures: (N, C, H, W) uint8."""

    def close(self) -> None: ...


@dataclass(frozen=True)
class FollowedRun:
    """What followers are told of a run. The same name in a resumed run, which goes on in the same place."""

    name: str  # such as train@gan-0123456789abcdef
    folder: Path  # for what followers write, in a folder each
    config: Mapping[str, Any]  # JSON values


class Followers:
    """Any number of followers as one, at a bounded rate. One that fails is left out: it is no reason to stop a run."""

    def __init__(self, followers: Sequence[Follower] = ()) -> None:
        self._followers = list(followers)
        self._shown = -float("inf")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._tell(lambda follower: follower.close())

    def scalars(self, images: int, values: Mapping[str, float], *, last: bool = False) -> None:
        """Show values, unless others were shown a moment ago and these are not the `last` ones of a stretch."""
        now = time.monotonic()
        if self._followers and (last or now - self._shown >= _SCALARS_EVERY_S):
            self._shown = now
            self._tell(lambda follower: follower.scalars(images, values))

    def pictures(self, images: int, pictures: Pictures) -> None:
        """Show pictures (N, C, H, W) uint8."""
        self._tell(lambda follower: follower.pictures(images, pictures))

    def _tell(self, message: Callable[[Follower], None]) -> None:
        for follower in list(self._followers):
            try:
                message(follower)
            except Exception as error:  # whatever their libraries raise
                self._followers.remove(follower)
                print(f"{type(follower).__name__} failed and is left out from here on: {error}", flush=True)


class TensorBoard:
    """Event files, shown by `tensorboard --logdir FOLDER`."""

    def __init__(self, run: FollowedRun) -> None:
        module = _imported("tensorboard", "torch.utils.tensorboard")
        self._writer = module.SummaryWriter(str(run.folder / "tensorboard" / run.name))

    def scalars(self, images: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, images)

    def pictures(self, images: int, pictures: Pictures) -> None:
        self._writer.add_images("samples", pictures, images)

    def close(self) -> None:
        self._writer.close()


class WeightsAndBiases:
    """A run of Weights & Biases, which reads WANDB_MODE (offline needs no account), WANDB_PROJECT and WANDB_API_KEY."""

    def __init__(self, run: FollowedRun) -> None:
        self._wandb = _imported("wandb", "wandb")
        folder = run.folder / "wandb"
        folder.mkdir(parents=True, exist_ok=True)
        self._run = self._wandb.init(
            dir=str(folder), name=run.name, id=_slug(run.name), resume="allow", config=dict(run.config)
        )

    def scalars(self, images: int, values: Mapping[str, float]) -> None:
        self._run.log({"images": images, **values})

    def pictures(self, images: int, pictures: Pictures) -> None:
        self._run.log({"images": images, "samples": [self._wandb.Image(_as_rows(image)) for image in pictures]})

    def close(self) -> None:
        self._run.finish()


class DvcLive:
    """Metrics and plots in DVCLive's form. It makes no commits and no experiments: DVC versions what stages make."""

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

    def pictures(self, images: int, pictures: Pictures) -> None:
        self._live.step = images
        # One picture of all, side by side.
        self._live.log_image("samples.png", np.concatenate([_as_rows(image) for image in pictures], axis=1))

    def close(self) -> None:
        self._live.end()


_KINDS: dict[str, Callable[[FollowedRun], Follower]] = {
    "tensorboard": TensorBoard,
    "wandb": WeightsAndBiases,
    "dvclive": DvcLive,
}


def open_followers(names: Sequence[str], run: FollowedRun) -> Followers:
    """The followers of those names. Raises ValueError that names the package that is missing."""
    return Followers([_KINDS[name](run) for name in names])


def _imported(extra: str, module: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise ValueError(
            f"compute.follow names {extra}, which cannot be imported ({error}); install it with "
            f"`pip install genai-pipeline[{extra}]`, or leave it out"
        ) from None


def _as_rows(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """(C, H, W) as (H, W, 3), which every viewer shows."""
    rows = image.transpose(1, 2, 0)
    return np.repeat(rows, 3, axis=2) if rows.shape[2] == 1 else rows


def _slug(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in name)
