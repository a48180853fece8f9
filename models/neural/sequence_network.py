"""The network of `sequential`: a causal transformer over packed sequences of items, and its loss.

In the line of eSASRec (Tikhonovich et al., RecSys 2025, arXiv:2508.06450): SASRec's task, to foresee at every place the
next item (Kang and McAuley, ICDM 2018, arXiv:1808.09781), with LiGR blocks (pre-norm, gated residuals; Borisyuk et al.,
2025, arXiv:2502.03417) and a softmax over sampled items. An item is the same vector where it is read and where it is
foreseen: its own embedding plus the mean embedding of its content features, so that an item nobody bought stands among
its like.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

Tensor = torch.Tensor


class Block(nn.Module):
    """One LiGR layer: attention, then a gated feed-forward part, each behind a norm and a learned gate."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.before_attention = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.mix = nn.Linear(width, width, bias=False)
        self.attention_gate = nn.Linear(width, width)
        self.before_forward = nn.LayerNorm(width)
        self.widen = nn.Linear(width, 2 * hidden, bias=False)
        self.narrow = nn.Linear(hidden, width, bias=False)
        self.forward_gate = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, states: Tensor, visible: Tensor | None) -> Tensor:
        """Shapes (rows, length, width) and (rows, 1, length, length); `visible` None: a place sees all before it."""
        rows, length, width = states.shape
        mixed = self.query_key_value(self.before_attention(states)).view(rows, length, 3, self.heads, -1)
        query, key, value = mixed.permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(query, key, value, visible, is_causal=visible is None)
        seen = self.mix(seen.transpose(1, 2).reshape(rows, length, width))
        states = states + self.dropout(seen) * torch.sigmoid(self.attention_gate(states))
        gate, wide = self.widen(self.before_forward(states)).chunk(2, dim=-1)
        thought = self.dropout(self.narrow(functional.silu(gate) * wide))
        out: Tensor = states + thought * torch.sigmoid(self.forward_gate(states))
        return out


class SequenceNetwork(nn.Module):
    """From sequences of items to the vector whose products with item vectors are the scores of what comes next."""

    features: Tensor
    own: Tensor

    def __init__(
        self,
        features: Tensor,
        n_features: int,
        *,
        own: Tensor,
        width: int,
        blocks: int,
        heads: int,
        hidden: int,
        dropout: float,
        item_dropout: float,
        length: int,
        gaps: int,
        temperature: float | None,
    ) -> None:
        """Args: features: content features of each item, int64 (items, most), padded with `n_features`; own: whether an
        item has an embedding of its own, bool (items,); gaps: buckets of time; temperature: of cosines, None: products.
        """
        super().__init__()
        self.register_buffer("features", features, persistent=False)
        self.register_buffer("own", own.float().unsqueeze(1), persistent=False)
        self.identity = nn.Embedding(len(features), width)
        self.content = nn.EmbeddingBag(n_features + 1, width, mode="mean", padding_idx=n_features)
        self.position = nn.Embedding(length, width)
        self.gap = nn.Embedding(gaps, width)
        self.blocks = nn.ModuleList(Block(width, heads, hidden, dropout) for _ in range(blocks))
        self.last = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        self.item_dropout = item_dropout
        self.temperature = temperature
        for table in (self.identity, self.content, self.position, self.gap):
            nn.init.normal_(table.weight, std=0.02)
        with torch.no_grad():
            self.content.weight[n_features] = 0

    def items(self, rows: Tensor) -> Tensor:
        """Vectors of items; shape (*rows.shape, width)."""
        flat = rows.reshape(-1)
        vectors: Tensor = self.identity(flat) * self.own[flat]
        if self.features.shape[1]:
            vectors = vectors + self.content(self.features[flat])
        return vectors.view(*rows.shape, -1)

    def forward(self, items: Tensor, positions: Tensor, gaps: Tensor, visible: Tensor | None = None) -> Tensor:
        """States after each place; all int64 (rows, length); `gaps`: buckets of the time to what comes next."""
        states = self.items(items)
        if self.training and self.item_dropout:
            states = states * (torch.rand(items.shape, device=items.device) >= self.item_dropout).unsqueeze(-1)
        states = self.dropout(states + self.position(positions) + self.gap(gaps))
        for block in self.blocks:
            states = block(states, visible)
        return self._scaled(self.last(states), self.temperature)

    def targets(self, rows: Tensor) -> Tensor:
        """Item vectors as they stand in the product with a state."""
        return self._scaled(self.items(rows), 1.0)

    def _scaled(self, vectors: Tensor, temperature: float | None) -> Tensor:
        if self.temperature is None or temperature is None:
            return vectors
        return functional.normalize(vectors.float(), dim=-1) / temperature


def visible_places(segments: Tensor) -> Tensor:
    """Which places each place may look at: its own and those before it in the same sequence; bool (rows, 1, n, n)."""
    same = segments.unsqueeze(1) == segments.unsqueeze(2)
    return same.tril().unsqueeze(1)


def sampled_softmax(
    states: Tensor, vectors: Callable[[Tensor], Tensor], targets: Tensor, drawn: Tensor, correction: Tensor
) -> Tensor:
    """Summed cross-entropy of each place's next item among itself and the negatives, which all places share.

    Args:
        states: (places, width).
        vectors: from items to their vectors.
        targets: each place's next item, (places,).
        drawn: the negatives, (negatives,).
        correction: what to add to their logits: -log of how often each is expected in the sample (logQ; Bengio and
            Senécal, IEEE Transactions on Neural Networks 2008), (negatives,).
    """
    positive = (states.float() * vectors(targets).float()).sum(dim=1, keepdim=True)
    negative = (states @ vectors(drawn).T).float() + correction
    negative = negative.masked_fill(targets.unsqueeze(1) == drawn, -torch.inf)
    return (torch.logsumexp(torch.cat([positive, negative], dim=1), dim=1) - positive.squeeze(1)).sum()
