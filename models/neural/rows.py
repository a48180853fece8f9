"""Embedding tables trained row by row: sparse bags of rows, their gradients, and Adagrad with one scalar a row.

A batch touches few rows of a large table. Everything here costs what the touched rows cost, never the table.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import embedding_bag


@dataclass(frozen=True)
class Bags:
    """A sparse matrix by rows (bags): which rows of a table each sums, with what weight.

    Attributes:
        columns: int32, shape (entries,); the bags' entries one after the other.
        starts: int32, shape (bags,); where each bag begins in `columns`.
        weights: float32, shape (entries,).
        width: rows of the table.
    """

    columns: torch.Tensor
    starts: torch.Tensor
    weights: torch.Tensor
    width: int

    @classmethod
    def of(cls, columns: torch.Tensor, counts: torch.Tensor, weights: torch.Tensor, width: int) -> Bags:
        """Bags of `counts` entries each."""
        starts = torch.cumsum(counts, 0) - counts
        return cls(columns.to(torch.int32), starts.to(torch.int32), weights, width)

    def sum(self, table: torch.Tensor) -> torch.Tensor:
        """Weighted sums of the table's rows; shape (bags, table's columns). An empty bag is zero."""
        if not len(self.columns):
            return table.new_zeros((len(self.starts), table.shape[1]))
        return embedding_bag(self.columns, table, self.starts, mode="sum", per_sample_weights=self.weights)

    def transposed(self) -> Bags:
        """The gradient of `sum` with respect to the table is the transposed matrix's `sum` of the gradient."""
        return gathered(self.columns, self.owners(), self.weights, self.width, len(self.starts))

    def counts(self) -> torch.Tensor:
        """Entries of each bag; shape (bags,)."""
        return torch.diff(self.starts, append=self.starts.new_tensor([len(self.columns)]))

    def owners(self) -> torch.Tensor:
        """The bag of each entry; shape (entries,)."""
        return torch.repeat_interleave(torch.arange(len(self.starts), device=self.starts.device), self.counts())


def gathered(targets: torch.Tensor, sources: torch.Tensor, weights: torch.Tensor, rows: int, width: int) -> Bags:
    """Bags that sum, for each of `rows` targets, the sources (of `width`) that point to it."""
    ordered, order = torch.sort(targets.to(torch.int32), stable=True)
    starts = torch.searchsorted(ordered, torch.arange(rows, dtype=torch.int32, device=targets.device))
    return Bags(sources[order].to(torch.int32), starts.to(torch.int32), weights[order], width)


class Touched:
    """The distinct rows of a table that a batch touches, ascending, and each id's place among them."""

    def __init__(self, ids: torch.Tensor, size: int) -> None:
        flags = torch.zeros(size, dtype=torch.bool, device=ids.device)
        flags[ids] = True
        self.rows = flags.nonzero().squeeze(1)
        self._places = torch.empty(size, dtype=torch.int32, device=ids.device)
        self._places[self.rows] = torch.arange(len(self.rows), dtype=torch.int32, device=ids.device)

    def places(self, ids: torch.Tensor) -> torch.Tensor:
        """Position of each id in `rows`; int32."""
        return self._places[ids]


class RowAdagrad:
    """A table and its optimiser state: one sum of mean squared gradients for each row.

    Adagrad (Duchi et al., 2011) keeps one such sum for each weight, which doubles a table's memory; for embeddings one
    for each row learns as well. A row that was never touched has the state 0.
    """

    def __init__(self, weights: torch.Tensor, learning_rate: float) -> None:
        self.weights = weights
        self.squares = weights.new_zeros(len(weights))
        self._learning_rate = learning_rate

    def step(self, rows: torch.Tensor, gradient: torch.Tensor) -> None:
        """Move distinct `rows` against their gradient; shape (len(rows), columns)."""
        width = self.weights.shape[1]
        squares = self.squares.index_select(0, rows) + torch.linalg.vector_norm(gradient, dim=1).square() / width
        self.squares.index_copy_(0, rows, squares)
        pace = self._learning_rate / (squares.sqrt() + 1e-10)
        moved = torch.addcmul(self.rows(rows), gradient, pace[:, None], value=-1)
        self.weights.index_copy_(0, rows, moved)

    def rows(self, rows: torch.Tensor) -> torch.Tensor:
        """A copy of these rows."""
        return self.weights.index_select(0, rows)

    def trained(self) -> torch.Tensor:
        """The table, zero where nothing was learned."""
        return self.weights * (self.squares > 0)[:, None]


def ranges(starts: torch.Tensor, ends: torch.Tensor) -> torch.Tensor:
    """The whole numbers of several intervals [start, end), one interval after the other."""
    lengths = ends - starts
    first = torch.cumsum(lengths, 0) - lengths
    total = int(lengths.sum())
    return torch.repeat_interleave(starts - first, lengths) + torch.arange(total, device=starts.device)
