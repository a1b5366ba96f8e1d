"""Several U-Nets, each of which draws a group of classes.

What one of them learns leaves the others' images as they are: new classes are added without forgetting the old ones, as
in progressive networks (Rusu et al. 2016, arXiv 1606.04671). The class says which network draws an image.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import Parameter

from genai_core.models.networks.diffusion.unet import UNet
from genai_core.models.networks.precision import full_precision


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
        self.learner: int | None = None  # the network that learns, in a training of its classes alone; None: all do

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
        if self.training and self.learner is not None:
            return self._by(self.learner, images, noise, labels, augmentation, hidden)
        if images.is_meta:  # to count operations: each image needs one network, whichever that is
            return self._by(0, images, noise, labels, augmentation, hidden)
        shares = self._shares(labels)
        if self.training and images.is_cuda:
            return self._all_by_each(images, noise, labels, augmentation, hidden, shares)
        return self._each_by_its_own(images, noise, labels, augmentation, hidden, shares)

    def _by(self, number: int, *inputs: Tensor | None) -> Tensor:
        estimate: Tensor = self.networks[number](*inputs)
        return estimate

    def _shares(self, labels: Tensor) -> Tensor:
        """Return the share (B, networks) that each network has in an image."""
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
        numbers = range(len(self.networks))
        estimates = [self._by(number, images, noise, labels, augmentation, hidden).float() for number in numbers]
        return (_column(shares.T) * torch.stack(estimates)).sum(dim=0)

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
                estimate = self._by(
                    number,
                    images[rows].contiguous(memory_format=torch.channels_last),
                    noise[rows],
                    _within(labels[rows], members, share[rows]),
                    None if augmentation is None else augmentation[rows],
                    None if hidden is None else hidden[rows],
                )
                drawn = drawn.index_add(0, rows, _column(share[rows]) * estimate.float())
            elif self.training:
                # Gradients of zero: processes that train together add up the gradients of the same weights.
                weights = self.networks[number].parameters()
                drawn = drawn + 0.0 * torch.stack([each.sum() for each in weights]).sum()
        return drawn

    def learned(self) -> Iterator[Parameter]:
        """The weights that are trained."""
        return (self if self.learner is None else self.networks[self.learner]).parameters()

    def features(self, images: Tensor, noise: Tensor, labels: Tensor | None) -> list[Tensor]:
        """Return what the first network's way down knows of images: features of several could not be compared."""
        first = self.networks[0]
        assert isinstance(first, UNet)
        return first.features(images, noise, labels)


def _column(shares: Tensor) -> Tensor:
    """Shares (..., B) as factors of images (..., B, C, H, W)."""
    return shares[..., None, None, None]


def _within(labels: Tensor, members: Tensor, share: Tensor) -> Tensor:
    """Return labels, or weights (B, classes) among the members alone, so that they add up to 1 again."""
    return labels * members / share[:, None] if labels.is_floating_point() else labels
