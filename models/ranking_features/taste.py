"""Scores of what goes with a shopper's purchases, for every shopper at once: EASE solved in the space of the shoppers.

Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019 (arXiv:1905.03375). With X the shoppers' weights,
P = (X'X + r I)^-1 and K = (XX' + r I)^-1 X, the identity X P = K gives the scores X - K / diag(P), where diag(P) =
(1 - sum over shoppers of X × K) / r. So the inverse is of shoppers × shoppers, however many items there are; more than
`MOST_SHOPPERS` are represented by a sample, and the others' scores follow from the sample's regression.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import linalg

from models.dataset import IntArray
from models.ranking_features.past import Past

Float32Array = npt.NDArray[np.float32]
MOST_SHOPPERS = 6000
_BLOCK = 1024


class Taste:
    """EASE over the items with the most shoppers lately; `scores` gives them for blocks of shoppers."""

    def __init__(self, past: Past, columns: IntArray, *, decay: float, regularisation: float, seed: int = 0) -> None:
        """Learn.

        Args:
            past: what is known.
            columns: the items that take part, rising.
            decay: days over which a purchase's weight falls to 1 / e; weights are log(1 + sum).
            regularisation: L2 penalty on the weights between items, per shopper of the sample.
            seed: of the sample.
        """
        weights = past.weights(decay)
        weights.data = np.log1p(weights.data)
        self.columns = columns
        self._weights = weights[:, columns].tocsr().astype(np.float32)
        chosen = np.arange(past.shoppers)
        if len(chosen) > MOST_SHOPPERS:
            chosen = np.sort(np.random.default_rng(seed).choice(chosen, MOST_SHOPPERS, replace=False))
        self._sample = self._weights[chosen]
        self._line = np.full(past.shoppers, -1)
        self._line[chosen] = np.arange(len(chosen))
        gram = (self._sample @ self._sample.T).toarray()
        gram[np.diag_indices(len(chosen))] += np.float32(regularisation)
        factor = linalg.cho_factor(gram, overwrite_a=True, check_finite=False)
        solved = np.empty((len(chosen), len(columns)), np.float32)
        for start in range(0, len(columns), _BLOCK):
            part = self._sample[:, start : start + _BLOCK].toarray()
            solved[:, start : start + _BLOCK] = linalg.cho_solve(factor, part, check_finite=False)
        explained = np.asarray(self._sample.multiply(solved).sum(axis=0)).ravel()
        self._solved = solved
        self._inverse_diagonal = np.maximum((1 - explained) / regularisation, 1e-12).astype(np.float32)
        self._regularisation = np.float32(regularisation)

    def scores(self, shoppers: IntArray) -> Float32Array:
        """Scores of `columns`; shape (len(shoppers), len(columns))."""
        own = self._weights[shoppers]
        dense = own.toarray()
        lines = self._line[shoppers]
        # x P = (x - x X' K) / r for any shopper x; for one of the sample it is their row of K.
        if (lines >= 0).all():
            projected = self._solved[lines]
        else:
            projected = (dense - (own @ self._sample.T) @ self._solved) / self._regularisation
        found: Float32Array = dense - projected / self._inverse_diagonal
        return found
