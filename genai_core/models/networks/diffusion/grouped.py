"""Several U-Nets, each of which draws a group of classes.

What one of them learns leaves the others' images as they are: new classes are added without forgetting the old ones, as
in progressive networks (Rusu et al. 2016, arXiv 1606.04671). The class says which network draws, so an image costs as
much as with one.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import Parameter

from genai_core.config import ClassGroups, DiffusionRecipe, GroupedRecipe
from genai_core.models.networks.diffusion.unet import UNet


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
        """As UNet.forward. An image of a mixture is the mean of its networks' estimates, by their classes' weights."""
        if self.training and self.learner is not None:
            result: Tensor = self.networks[self.learner](images, noise, labels, augmentation, hidden)
            return result
        shares = labels @ self.members.T if labels.is_floating_point() else self.members.T[labels]  # (B, networks)
        if self.training and images.is_cuda:
            return self._all_by_each(images, noise, labels, augmentation, hidden, shares)
        return self._each_by_its_own(images, noise, labels, augmentation, hidden, shares)

    def _all_by_each(
        self,
        images: Tensor,
        noise: Tensor,
        labels: Tensor,
        augmentation: Tensor | None,
        hidden: Tensor | None,
        shares: Tensor,
    ) -> Tensor:
        """For a step that is recorded, which must not ask the GPU which images a network is to take."""
        estimates = [network(images, noise, labels, augmentation, hidden) for network in self.networks]
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
        for share, members, network in zip(shares.T, self.members, self.networks, strict=True):
            rows = share.nonzero()[:, 0]
            if len(rows):
                estimate = network(
                    images[rows].contiguous(memory_format=torch.channels_last),
                    noise[rows],
                    _within(labels[rows], members, share[rows]),
                    None if augmentation is None else augmentation[rows],
                    None if hidden is None else hidden[rows],
                )
                drawn = drawn.index_add(0, rows, _column(share[rows]) * estimate.float())
            elif self.training:
                # Gradients of zero: processes that train together add up the gradients of the same weights.
                drawn = drawn + 0.0 * torch.stack([weights.sum() for weights in network.parameters()]).sum()
        return drawn

    def learned(self) -> Iterator[Parameter]:
        """The weights that are trained."""
        return (self if self.learner is None else self.networks[self.learner]).parameters()

    def features(self, images: Tensor, noise: Tensor, labels: Tensor | None) -> list[Tensor]:
        """As UNet.features, of the first network: features of different networks could not be compared."""
        first = self.networks[0]
        assert isinstance(first, UNet)
        return first.features(images, noise, labels)


def _column(shares: Tensor) -> Tensor:
    """Shares (..., B) as factors of images (..., B, C, H, W)."""
    return shares[..., None, None, None]


def _within(labels: Tensor, members: Tensor, share: Tensor) -> Tensor:
    """Return labels, or weights (B, classes) among the members alone, so that they add up to 1 again."""
    return labels * members / share[:, None] if labels.is_floating_point() else labels


def with_another_network(recipe: DiffusionRecipe, classes: Sequence[str], new_classes: Sequence[str]) -> GroupedRecipe:
    """Return the recipe of a model of these classes with one more network, which draws the new ones."""
    groups = recipe.class_groups.networks if isinstance(recipe, GroupedRecipe) else (classes,)
    old = [tuple(name for name in group if name not in new_classes) for group in groups]
    own = {name: getattr(recipe, name) for name in DiffusionRecipe.model_fields}
    return GroupedRecipe(**own, class_groups=ClassGroups(networks=(*old, tuple(new_classes))))
