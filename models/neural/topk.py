"""Exact top-k of dot products for many shoppers at once, where selecting costs more than multiplying.

A first pass, in bfloat16 where the hardware multiplies it, finds the highest score in each group of neighbouring items.
At least k items reach the k-th highest of these; so the results are among the items that come as near to it as twice
the error of the first pass, and these few are scored again in float32.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from models.dataset import FloatArray, IntArray
from models.ranking import top_k
from models.torch_training import bfloat16_products

Float32Array = npt.NDArray[np.float32]
_Pairs = tuple[torch.Tensor, torch.Tensor]  # rows and columns
_GROUP = 64  # items of a group
_ROWS = 128  # shoppers of a block, fewer where the products of a block would be more than _CELLS
_CELLS = 2**25
_TILE = 4096  # items of one product
# With fewer groups than so many for each result, most groups hold one, and all scores are looked at instead.
_GROUPS_A_RESULT = 2


@dataclass(frozen=True)
class _Coarse:
    """Items for the first pass, filled up with zeros to whole tiles."""

    tiles: torch.Tensor  # shape (tiles, _TILE, components)
    norm: float  # of the longest item
    error: float  # of the item that rounding moved furthest
    count: int  # items


class ProductIndex:
    """Item vectors made ready for `top`."""

    def __init__(self, items: Float32Array, *, bfloat16: bool | None = None) -> None:
        """Prepare the items.

        Args:
            items: shape (items, components).
            bfloat16: numbers of the first pass; None: bfloat16 where the hardware has its products.
        """
        self._items = torch.from_numpy(np.ascontiguousarray(items, np.float32))
        half = bfloat16_products(torch.device("cpu")) if bfloat16 is None else bfloat16
        self._kind, self._bits = (torch.bfloat16, torch.int16) if half else (torch.float32, torch.int32)
        coarse = self._items.to(self._kind)
        short = -len(items) % _TILE
        whole = torch.cat([coarse, coarse.new_zeros(short, items.shape[1])]) if short else coarse
        self._coarse = _Coarse(
            tiles=whole.view(-1, _TILE, items.shape[1]),
            norm=float(coarse.float().norm(dim=1).max()) if len(items) else 0.0,
            error=float((self._items - coarse.float()).norm(dim=1).max()) if len(items) else 0.0,
            count=len(items),
        )

    def top(
        self, vectors: Float32Array, k: int, left_out: tuple[IntArray, IntArray] | None = None
    ) -> tuple[IntArray, FloatArray]:
        """The k items of highest product for each row of `vectors`.

        Args:
            vectors: shape (rows, components).
            k: length of the lists, at least 1.
            left_out: rows and columns of products that count as minus infinity.

        Returns:
            As `models.ranking.top_k`: columns and scores, best first, equals by column, -1 where there is no item left.
        """
        k = min(k, self._coarse.count)
        columns, scores = np.full((len(vectors), k), -1, np.int64), np.full((len(vectors), k), -np.inf)
        lines, gone = left_out if left_out is not None else (np.zeros(0, np.int64),) * 2
        order = np.argsort(lines, kind="stable")
        lines, gone = lines[order], gone[order]
        rows = max(1, min(_ROWS, _CELLS // max(1, len(self._coarse.tiles) * _TILE)))
        # Room for the products of one block, used again and again: fresh memory costs as much as the products.
        space = torch.empty(len(self._coarse.tiles) * rows * _TILE, dtype=self._kind)
        for start in range(0, len(vectors), rows):
            block = torch.from_numpy(np.ascontiguousarray(vectors[start : start + rows], np.float32))
            own = slice(*np.searchsorted(lines, [start, start + rows]))
            out = torch.from_numpy(lines[own] - start), torch.from_numpy(gone[own])
            part = slice(start, start + len(block))
            if k and self._coarse.count < k * _GROUPS_A_RESULT * _GROUP:
                columns[part], scores[part] = self._all_scores(block, k, out)
            elif k:
                columns[part], scores[part] = self._few_scores(block, k, out, space)
        return columns, scores

    def _all_scores(self, vectors: torch.Tensor, k: int, left_out: _Pairs) -> tuple[IntArray, FloatArray]:
        # Always as many rows: then a row's scores do not depend on the others.
        padded = torch.cat([vectors, vectors.new_zeros(_ROWS - len(vectors), vectors.shape[1])])
        scores = (padded @ self._items.T)[: len(vectors)]
        scores[left_out] = -torch.inf
        return top_k(scores.numpy(), k)

    def _few_scores(
        self, vectors: torch.Tensor, k: int, left_out: _Pairs, space: torch.Tensor
    ) -> tuple[IntArray, FloatArray]:
        rows, columns = self._candidates(vectors, k, left_out, space)
        scores = (vectors.index_select(0, rows) * self._items.index_select(0, columns)).sum(dim=1)
        counts = torch.bincount(rows, minlength=len(vectors))
        place = torch.arange(len(rows)) - torch.repeat_interleave(torch.cumsum(counts, 0) - counts, counts)
        width = max(k, int(counts.max()))
        table = torch.full((len(vectors), width), -torch.inf)
        found = torch.full((len(vectors), width), -1)
        table[rows, place], found[rows, place] = scores, columns
        best, order = torch.sort(table, dim=1, descending=True, stable=True)
        return found.gather(1, order[:, :k]).numpy(), best[:, :k].numpy().astype(np.float64)

    def _candidates(
        self, vectors: torch.Tensor, k: int, left_out: _Pairs, space: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Rows and columns of all products that may be among the k highest, ascending."""
        coarse = vectors.to(self._kind)
        tiles, highest = self._first_pass(coarse, left_out, space, bits=True)
        floor = self._floor(vectors, coarse, highest, k)
        if not bool((floor > 0).all()):
            tiles, highest = self._first_pass(coarse, left_out, space, bits=False)
            floor = self._floor(vectors, coarse, highest, k)
        rows, groups = (highest.float() >= floor[:, None]).nonzero().unbind(1)
        tile, within = groups // (_TILE // _GROUP), groups % (_TILE // _GROUP)
        place_of = (tile * len(vectors) + rows) * (_TILE // _GROUP) + within
        values = tiles.view(-1, _GROUP).index_select(0, place_of)
        enough = (values.float() >= floor[rows, None]) & (values > -torch.inf)
        line, place = enough.nonzero().unbind(1)
        columns = groups[line] * _GROUP + place
        inside = columns < self._coarse.count
        return rows[line][inside], columns[inside]

    def _first_pass(
        self, vectors: torch.Tensor, left_out: _Pairs, space: torch.Tensor, *, bits: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """All products, shape (tiles, rows, _TILE), and the highest of each group, shape (rows, groups).

        With `bits` numbers are compared as if they were integers, which is faster and right for the highest of a group
        that holds a positive number; of another group it gives some number that is not positive.
        """
        tiles = self._coarse.tiles
        rows, groups = len(vectors), _TILE // _GROUP
        products = space[: len(tiles) * rows * _TILE].view(len(tiles), rows, _TILE)
        highest = torch.empty((rows, len(tiles) * groups), dtype=self._kind)
        lines, gone = left_out
        last = self._coarse.count - (len(tiles) - 1) * _TILE
        for number, tile in enumerate(tiles):
            torch.mm(vectors, tile.T, out=products[number])
            if number == len(tiles) - 1:
                products[number, :, last:] = -torch.inf
            own = products[number].view(rows, groups, _GROUP)
            into = highest[:, number * groups : (number + 1) * groups]
            into.copy_(own.view(self._bits).amax(dim=2).view(self._kind) if bits else own.amax(dim=2))
        if len(lines):
            products[gone // _TILE, lines, gone % _TILE] = -torch.inf
            values = products.view(len(tiles), rows, groups, _GROUP)[gone // _TILE, lines, gone % _TILE // _GROUP]
            highest[lines, gone // _GROUP] = values.amax(dim=1)
        return products, highest

    def _floor(self, vectors: torch.Tensor, coarse: torch.Tensor, highest: torch.Tensor, k: int) -> torch.Tensor:
        """What the first pass gives at least to each of the k highest products; shape (rows,)."""
        groups = highest.shape[1]
        reached = torch.from_numpy(np.partition(highest.float().numpy(), groups - k, axis=1)[:, groups - k].copy())
        moved = (vectors - coarse.float()).norm(dim=1) * (self._coarse.norm + self._coarse.error)
        norms = coarse.float().norm(dim=1)
        summed = 1e-5 * norms * self._coarse.norm  # float32 sums, generously
        rounded = torch.finfo(self._kind).eps * reached.abs()
        floor: torch.Tensor = reached - 2 * (moved + norms * self._coarse.error + summed) - rounded
        return floor
