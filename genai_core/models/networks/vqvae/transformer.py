"""A causal transformer over an image's tokens in row order (Vaswani et al. 2017, arXiv 1706.03762)."""

from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from genai_core.models.networks.attention import attend
from genai_core.models.networks.class_embedding import ClassEmbedding

_HEAD_DIM = 32
_EMBEDDING_STD = 0.02


class TokenPrior(nn.Module):
    """Distribution of each token given the previous ones and the class.

    A token is predicted channel by channel, each level given the token's previous levels. So the number of possible
    tokens is not limited by one row of weights per token, and tokens with a common channel share what is learned.

    levels: number of levels of each channel. length: of a sequence, in tokens. classes: their number, 0 for
    unconditional.
    """

    def __init__(self, levels: Sequence[int], length: int, classes: int, width: int, depth: int) -> None:
        super().__init__()
        self.length = length
        self.token_embedding = LevelEmbedding(levels, width)
        self.level_embedding = LevelEmbedding(levels, width)  # levels of the token being predicted
        # Embedding before the first token: one per class, or a single one.
        self.start = ClassEmbedding(max(classes, 1), width)
        self.place = nn.Parameter(torch.empty(length, width))
        for weight in (self.start.weight, self.place):
            nn.init.normal_(weight, std=_EMBEDDING_STD)
        self.layers = nn.ModuleList(Layer(width) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, count)) for count in levels
        )

    def forward(self, levels: Tensor, labels: Tensor | None) -> list[Tensor]:
        """levels (B, length, C) int64, labels (B,) int64 or None -> per channel, logits (B, length, its levels)."""
        begin = self._begin(labels, len(levels))
        before = self.token_embedding(levels[:, :-1]).sum(dim=2)
        # The class is added at every position; otherwise looking it up at the first one would have to be learned.
        x = torch.cat([torch.zeros_like(begin), before], dim=1) + self.place + begin
        for layer in self.layers:
            x = layer(x)
        x, written = self.norm(x), self.level_embedding(levels)
        logits = []
        for channel, head in enumerate(self.heads):
            logits.append(head(x))
            x = x + written[:, :, channel]
        return logits

    def draw(
        self,
        uniforms: Tensor,
        labels: Tensor | None,
        temperature: float,
        top_k: int | None,
        forced: Tensor | None = None,
        report: Callable[[int, Tensor], None] | None = None,
    ) -> Tensor:
        """Sample levels (B, length, C) int64 one by one; uniforms in [0, 1) of that shape, labels (B,) or None.

        temperature divides the logits; top_k: sample only from a channel's top_k most likely levels, None for all.
        forced (B, length, C) int64: levels to use instead of drawn ones, -1 where to draw. report: called with the
        number of tokens drawn and all levels so far, 0 for the rest. Keys and values of earlier tokens are cached, so
        that each step computes one token.
        """
        count, width = len(uniforms), self.place.shape[1]
        caches = [self.place.new_zeros((2, count, self.length, width)) for _ in self.layers]
        begin = self._begin(labels, count)
        before, drawn = torch.zeros_like(begin), []
        for place in range(self.length):
            x = before + self.place[place] + begin
            for layer, cache in zip(self.layers, caches, strict=True):
                x = cast(Layer, layer).step(x, cache, place)
            levels = self._draw_levels(self.norm(x[:, 0]), uniforms[:, place], temperature, top_k)
            if forced is not None:
                levels = torch.where(forced[:, place] < 0, levels, forced[:, place])
            drawn.append(levels)
            if report is not None:
                missing = levels.new_zeros((count, self.length - len(drawn), levels.shape[1]))
                report(len(drawn), torch.cat([torch.stack(drawn, dim=1), missing], dim=1))
            before = self.token_embedding(levels).sum(dim=1, keepdim=True)
        return torch.stack(drawn, dim=1)

    def uniforms(
        self, levels: Tensor, labels: Tensor | None, temperature: float, top_k: int | None, within: Tensor
    ) -> Tensor:
        """Return uniforms (B, length, C) float64 from which `draw` draws these levels (B, length, C) int64.

        within, of that shape, in (0, 1): where in the interval of numbers that draw a level. Levels that top_k excludes
        have no such interval; they give its neighbours' border.
        """
        columns = []
        for channel, logits in enumerate(self.forward(levels, labels)):
            shares = cumulative(logits.float().flatten(0, 1) / temperature, top_k)
            chosen = levels[:, :, channel].reshape(-1, 1)
            upper = shares.gather(1, chosen)
            lower = torch.where(chosen > 0, shares.gather(1, (chosen - 1).clamp(min=0)), 0.0)
            columns.append((lower + (upper - lower) * within[:, :, channel].reshape(-1, 1)).reshape(levels.shape[:2]))
        return torch.stack(columns, dim=2)

    def _draw_levels(self, x: Tensor, uniforms: Tensor, temperature: float, top_k: int | None) -> Tensor:
        """Sample one token's levels (B, C) from its features x (B, width) and uniforms (B, C)."""
        levels: list[Tensor] = []
        for channel, head in enumerate(self.heads):
            levels.append(pick(head(x).float() / temperature, uniforms[:, channel], top_k))
            x = x + self.level_embedding.of_channel(channel, levels[-1])
        return torch.stack(levels, dim=1)

    def _begin(self, labels: Tensor | None, count: int) -> Tensor:
        chosen = self.start.weight.expand(count, -1) if labels is None else self.start(labels)
        return chosen[:, None]


class LevelEmbedding(nn.Module):
    """A vector for each level of each channel."""

    first: Tensor

    def __init__(self, levels: Sequence[int], width: int) -> None:
        super().__init__()
        counts = torch.tensor(levels)
        self.register_buffer("first", counts.cumsum(0) - counts, persistent=False)
        self.table = nn.Embedding(sum(levels), width)
        nn.init.normal_(self.table.weight, std=_EMBEDDING_STD)

    def forward(self, levels: Tensor) -> Tensor:
        """levels (..., C) int64 -> (..., C, width)."""
        vectors: Tensor = self.table(levels + self.first)
        return vectors

    def of_channel(self, channel: int, levels: Tensor) -> Tensor:
        """levels (B,) int64 of one channel -> (B, width)."""
        vectors: Tensor = self.table(levels + self.first[channel])
        return vectors


class Layer(nn.Module):
    """Causal self-attention and two dense layers, each with pre-normalisation and a residual connection."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = max(1, width // _HEAD_DIM)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.mix = nn.Linear(width, width)
        self.dense = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """x (B, length, width) -> the same shape; no position sees a later one."""
        query, key, value = self.qkv(self.norm1(x)).chunk(3, dim=-1)
        query, key, value = self._split(query), self._split(key), self._split(value)
        attended = attend(query, key, value, is_causal=True)
        return self._finish(x, attended)

    def step(self, x: Tensor, cache: Tensor, place: int) -> Tensor:
        """x (B, 1, width): features at `place`; cache (2, B, length, width): keys and values, updated at `place`."""
        query, key, value = self.qkv(self.norm1(x)).chunk(3, dim=-1)
        cache[0, :, place], cache[1, :, place] = key[:, 0], value[:, 0]
        keys, values = self._split(cache[0, :, : place + 1]), self._split(cache[1, :, : place + 1])
        attended = attend(self._split(query), keys, values)
        return self._finish(x, attended)

    def _split(self, x: Tensor) -> Tensor:
        """(B, length, width) -> (B, heads, length, width / heads)."""
        batch, length, width = x.shape
        return x.reshape(batch, length, self.heads, width // self.heads).transpose(1, 2)

    def _finish(self, x: Tensor, attended: Tensor) -> Tensor:
        x = x + self.mix(attended.transpose(1, 2).flatten(2))
        result: Tensor = x + self.dense(self.norm2(x))
        return result


def pick(logits: Tensor, uniforms: Tensor, top_k: int | None) -> Tensor:
    """Sample indices (B,) int64 from logits (B, K) by inverting the CDF at uniforms (B,) in [0, 1)."""
    return (cumulative(logits, top_k) <= uniforms.double()[:, None]).sum(dim=1)


def cumulative(logits: Tensor, top_k: int | None) -> Tensor:
    """Return the cumulative distribution of logits (B, K), limited to the top_k largest, (B, K) float64."""
    if top_k is not None and top_k < logits.shape[1]:
        least = logits.topk(top_k, dim=1).values[:, -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    shares = logits.double().softmax(dim=1).cumsum(dim=1)
    # Divided by the last value, which makes it exactly 1, so that every number below 1 finds its index.
    return shares / shares[:, -1:]
