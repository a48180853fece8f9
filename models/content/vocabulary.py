"""Content and attribute columns as features of a model: which values are known, and a table as a sparse matrix of them.

A vocabulary is learned once, saved as JSON with the model, and maps a new row the same way ever after.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict
from scipy import sparse

from models.dataset import IntArray

# The one column whose values are paths ("GROCERY/CHEESE/SHREDDED"): each prefix is a feature of its own.
PATH_COLUMN = "category"
# What parts the entries of a list ("vegan|new"), in tags and in any attribute: each entry is a feature of its own.
LIST_SIGN = "|"


class Column(BaseModel):
    """The known values of one column (text), or the inner bounds of its buckets (numbers)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    kind: Literal["text", "number"]
    values: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()

    @property
    def width(self) -> int:
        """Number of features the column gives."""
        return len(self.values) if self.kind == "text" else len(self.bounds) + 1


class Vocabulary(BaseModel):
    """Features of several columns, numbered in the order of `columns`; frozen, saved by `model_dump(mode="json")`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    columns: tuple[Column, ...] = ()

    @classmethod
    def learn(cls, table: pd.DataFrame, names: Sequence[str], *, minimum: int = 1, buckets: int = 8) -> Self:
        """Find the features of `table`.

        Args:
            table: the rows that a model is trained on.
            names: its columns to use; numbers are cut at their quantiles, everything else is text.
            minimum: a text value (or path prefix) on fewer rows is left out: nothing can be learned about it.
            buckets: at most so many buckets of a number column.
        """
        return cls(columns=tuple(_learn(table[name], minimum, buckets) for name in names))

    @property
    def width(self) -> int:
        """Number of features."""
        return sum(column.width for column in self.columns)

    def encode(self, table: pd.DataFrame) -> sparse.csr_matrix:
        """One row for each row of `table`, 1 for each feature it has; float32, shape (rows, width).

        A missing value (an infinite number is one), an unknown one and a column that `table` lacks give no feature.
        """
        parts = [_encode(column, table) for column in self.columns]
        if not parts:
            return sparse.csr_matrix((len(table), 0), dtype=np.float32)
        return sparse.hstack(parts, format="csr", dtype=np.float32)


def _learn(values: pd.Series, minimum: int, buckets: int) -> Column:
    name = str(values.name)
    if pd.api.types.is_numeric_dtype(values.dtype) and not pd.api.types.is_bool_dtype(values.dtype):
        known = values.dropna().to_numpy(np.float64)
        known = known[np.isfinite(known)]
        inner = np.quantile(known, np.linspace(0, 1, buckets + 1)[1:-1]) if len(known) else np.zeros(0)
        return Column(name=name, kind="number", bounds=tuple(float(bound) for bound in np.unique(inner)))
    _, words = _words(values)
    counts = words.value_counts()
    return Column(name=name, kind="text", values=tuple(sorted(counts.index[counts >= minimum])))


def _encode(column: Column, table: pd.DataFrame) -> sparse.csr_matrix:
    if column.name not in table.columns:
        return sparse.csr_matrix((len(table), column.width), dtype=np.float32)
    values = table[column.name]
    if column.kind == "number":
        numbers = pd.to_numeric(values, errors="coerce").to_numpy(np.float64)
        rows: IntArray = np.flatnonzero(np.isfinite(numbers))
        features = np.searchsorted(np.asarray(column.bounds), numbers[rows], side="right")
    else:
        rows, words = _words(values)
        features = pd.Index(column.values, dtype=object).get_indexer(pd.Index(words, dtype=object))
        rows, features = rows[features >= 0], features[features >= 0]
    ones = np.ones(len(rows), dtype=np.float32)
    return sparse.coo_matrix((ones, (rows, features)), shape=(len(table), column.width)).tocsr()


def _words(values: pd.Series) -> tuple[IntArray, pd.Series[Any]]:
    """Row and text of every feature value: the value itself, each prefix of a path, or else each entry of a list."""
    rows: IntArray = np.flatnonzero(values.notna())
    texts = values.iloc[rows].astype(str).reset_index(drop=True)
    parts = _prefixes if values.name == PATH_COLUMN else _entries
    distinct = {text: parts(text) for text in texts.unique()}
    several = texts.map(distinct).explode().dropna()
    return rows[several.index.to_numpy(np.int64)], several.reset_index(drop=True)


def _prefixes(path: str) -> list[str]:
    steps = path.split("/")
    return ["/".join(steps[: depth + 1]) for depth in range(len(steps))]


def _entries(text: str) -> list[str]:
    return sorted({entry.strip() for entry in text.split(LIST_SIGN)} - {""})
