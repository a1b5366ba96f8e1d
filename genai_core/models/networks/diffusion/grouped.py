"""Several U-Nets, each of which draws a group of classes.

What one of them learns leaves the others' images as they are: new classes are added without forgetting the old ones, as
in progressive networks (Rusu et al. 2016, arXiv 1606.04671). The class says which network draws an image.
"""

from collections.abc import Iterator, Sequence
from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn import Parameter

from genai_core.models.networks.diffusion.unet import UNet
from genai_core.models.networks.precision import full_precision

_SAME_PIXELS = 16


class GroupedUNet(nn.Module):
    """A U-Net for each group of classes.

    networks: each has a row for every class, and draws those of its group. groups: for each class, the number of its
    network.
    """

    members: Tensor  # (networks, classes): 1 where the network draws the class, else 0

    def __init__(self, networks: Sequence[UNet], groups: Sequence[int]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        members = torch.arange(len(networks))[:, None] == torch.tensor(groups)
        self.register_buffer("members", members.float(), persistent=False)
        self._largest = max(range(len(networks)), key=groups.count)
        self._active = tuple(range(len(networks)))  # those that a training changes

    def forward(
        self,
        images: Tensor,
        noise: Tensor,
        labels: Tensor,
        augmentation: Tensor | None = None,
        hidden: Tensor | None = None,
    ) -> Tensor:
        """Estimate as UNet.forward does, each image by the network of its class.

        The estimate of a mixture is the mean of its networks' estimates, weighted by their classes' weights.
        """
        if self.training and len(self._active) == 1:
            return self._by(self._active[0], images, noise, labels, augmentation, hidden)
        if images.is_meta:  # to count operations: an image needs one network, whichever that is
            return self._by(0, images, noise, labels, augmentation, hidden)
        if labels.is_floating_point():  # they may differ from 1 by a rounding, which would make the image darker
            labels = labels / labels.sum(dim=1, keepdim=True)
        shares = self._shares(labels)
        if self.training and images.is_cuda:
            return self._all_by_each(images, noise, labels, augmentation, hidden, shares)
        return self._each_by_its_own(images, noise, labels, augmentation, hidden, shares)

    def _by(self, number: int, *inputs: Tensor | None) -> Tensor:
        estimate: Tensor = self.networks[number](*inputs)
        return estimate

    def _shares(self, labels: Tensor) -> Tensor:
        """Return the share (B, networks) that each network has in an image of labels (B,) or weights (B, classes)."""
        if not labels.is_floating_point():
            return self.members.T[labels]
        with full_precision(labels.device):  # shares that do not add up to 1 would make images brighter or darker
            return labels @ self.members.T

    def _all_by_each(
        self,
        images: Tensor,
        noise: Tensor,
        labels: Tensor,
        augmentation: Tensor | None,
        hidden: Tensor | None,
        shares: Tensor,
    ) -> Tensor:
        """For training on a GPU, where a step is recorded: that must not ask which images a network is to take."""
        drawn = torch.zeros_like(images)
        for number in self._active:
            estimate = self._by(number, images, noise, labels, augmentation, hidden)
            drawn = drawn + _column(shares[:, number]) * estimate.float()
        return drawn

    def _each_by_its_own(
        self,
        images: Tensor,
        noise: Tensor,
        labels: Tensor,
        augmentation: Tensor | None,
        hidden: Tensor | None,
        shares: Tensor,
    ) -> Tensor:
        drawn = torch.zeros_like(images)
        for number, (share, members) in enumerate(zip(shares.T, self.members, strict=True)):
            rows = share.nonzero()[:, 0]
            if len(rows):
                taken = rows if self.training else _padded(rows, len(images))
                estimate = self._by(
                    number,
                    images[taken].contiguous(memory_format=torch.channels_last),
                    noise[taken],
                    _within(labels[taken], members, share[taken]),
                    None if augmentation is None else augmentation[taken],
                    None if hidden is None else hidden[taken],
                )[: len(rows)]
                drawn = drawn.index_add(0, rows, _column(share[rows]) * estimate.float())
            elif self.training and number in self._active:
                # Gradients of zero: processes that train together add up the gradients of the same weights.
                weights = self.networks[number].parameters()
                drawn = drawn + 0.0 * torch.stack([each.sum() for each in weights]).sum()
        return drawn

    def learn_only(self, classes: Sequence[int]) -> None:
        """Let training change only the networks that draw these classes. It must then have images of these alone."""
        self._active = tuple(self.members[:, list(classes)].any(dim=1).nonzero()[:, 0].tolist())

    def active_parameters(self) -> Iterator[Parameter]:
        """The weights that a training changes."""
        return chain.from_iterable(self.networks[number].parameters() for number in self._active)

    def first_classes(self) -> list[int]:
        """Return a class of each network."""
        classes: list[int] = self.members.argmax(dim=1).tolist()
        return classes

    def features(self, images: Tensor, noise: Tensor, labels: Tensor | None) -> list[Tensor]:
        """Return UNet.features of the network that draws the most classes: only those of one can be compared."""
        largest = self.networks[self._largest]
        assert isinstance(largest, UNet)
        return largest.features(images, noise, labels)


def _padded(rows: Tensor, batch: int) -> Tensor:
    """Return the rows and copies of the first one, up to a number of images that the batch's kernels would take.

    In batches of multiples of 16, an image has the same pixels whatever else is drawn (genai_core/drawing/batches.py).
    """
    missing = -len(rows) % _SAME_PIXELS if batch % _SAME_PIXELS == 0 else 0
    return torch.cat([rows, rows[:1].expand(missing)])


def _column(shares: Tensor) -> Tensor:
    """Shares (..., B) as factors of images (..., B, C, H, W)."""
    return shares[..., None, None, None]


def _within(labels: Tensor, members: Tensor, share: Tensor) -> Tensor:
    """Return labels, or weights (B, classes) among the members alone, so that they add up to 1 again."""
    return labels * members / share[:, None] if labels.is_floating_point() else labels
