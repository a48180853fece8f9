"""Who watched contents and never bought, inside a recommender that learns from purchases: another one serves them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import sparse

from models.base import Recommender
from models.dataset import BoolArray, Dataset, FloatArray, IntArray
from models.parts import Part
from models.ranking import top_k
from models.registry import create, load

FOLDER = "watched"
_ROWS = 256  # shoppers whose scores of every item are kept at a time


class WatchOnly:
    """The other recommender and its shoppers; in a shop without contents there is none, and nothing is done."""

    def __init__(self) -> None:
        self._model: Recommender | None = None
        self._served: BoolArray = np.zeros(0, dtype=bool)  # one for each shopper

    def fit(self, part: Part | None, dataset: Dataset, history: sparse.csr_matrix, seed: int) -> None:
        """Train the other recommender where somebody watched and never bought; None: nobody is served by another."""
        self._model, self._served = None, np.zeros(len(dataset.shoppers), dtype=bool)
        if part is None or dataset.watched is None or not dataset.knows_contents:
            return
        watched: BoolArray = dataset.shopper_ids.isin(dataset.watched["shopper_id"])
        self._served = watched & (np.diff(history.indptr) == 0)
        if self._served.any():
            self._model = create(part.recommender, part.config).fit(dataset, seed=seed)

    def set_scores(self, scores: FloatArray, shopper_rows: IntArray) -> None:
        """Write the scores of those whom it serves over what is there; row -1 is an unknown shopper."""
        lines = self._lines(shopper_rows)
        if self._model is not None and len(lines):
            scores[lines] = self._model._score(shopper_rows[lines])

    def put_best(self, slates: sparse.csr_matrix, most: int) -> sparse.csr_matrix:
        """The same slates (shoppers × items), but of those whom it serves their best items instead.

        The value of an item is its share of the shopper's next purchases by a logit over all that may be recommended.
        """
        lines = np.flatnonzero(self._served)
        if self._model is None or not len(lines) or not self._model.recommendable.any():
            return slates
        others = slates.tocoo()
        kept = ~self._served[others.row]
        cells = [(others.row[kept], others.col[kept], others.data[kept])]
        for start in range(0, len(lines), _ROWS):
            rows = lines[start : start + _ROWS]
            scores = np.where(self._model.recommendable, self._model._score(rows), -np.inf)
            shares = np.exp(scores - scores.max(axis=1, keepdims=True))
            columns, values = top_k(shares / shares.sum(axis=1, keepdims=True), most)
            cells.append((np.repeat(rows, columns.shape[1]), columns.ravel(), values.ravel()))
        row, column, value = (np.concatenate(part) for part in zip(*cells, strict=True))
        shown = (column >= 0) & (value > 0)
        return sparse.coo_matrix((value[shown], (row[shown], column[shown])), shape=slates.shape).tocsr()

    def set_reasons(
        self,
        codes: npt.NDArray[np.object_],
        about: npt.NDArray[np.object_],
        shopper_rows: IntArray,
        columns: IntArray,
    ) -> None:
        """Write the reasons of those whom it serves, and what each is about, over what is there."""
        lines = self._lines(shopper_rows)
        if self._model is not None and len(lines):
            codes[lines], about[lines] = self._model._explain(shopper_rows[lines], columns[lines])

    def _lines(self, shopper_rows: IntArray) -> IntArray:
        if self._model is None:
            return np.zeros(0, np.int64)
        return np.flatnonzero((shopper_rows >= 0) & self._served[shopper_rows])

    def save(self, folder: Path) -> None:
        """Write the other recommender into a folder of its own below `folder`."""
        if self._model is not None:
            self._model.save(folder / FOLDER)

    def load(self, folder: Path) -> None:
        """Take back what `save` wrote."""
        self._model = load(folder / FOLDER) if (folder / FOLDER).is_dir() else None

    @property
    def served(self) -> BoolArray:
        """Whom it serves; shape (shoppers,)."""
        return self._served

    @served.setter
    def served(self, served: BoolArray) -> None:
        self._served = served

    def keep_shoppers(self, rows: IntArray, gone: list[str]) -> None:
        """Keep only these rows; `gone` are the ids of all others."""
        if self._model is not None:
            self._model.forget(gone)
        self._served = self._served[rows]
