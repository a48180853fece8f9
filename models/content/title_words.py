"""Text as features of a model: words and their pieces, hashed, so that a new title has features from the first day."""

from __future__ import annotations

import re
from collections.abc import Iterator
from zlib import crc32

import numpy as np
import pandas as pd
from scipy import sparse

_WORD = re.compile(r"\w+")
# Pieces of this many letters tell that "yoghurt" and "yoghurts" are nearly the same word.
_PIECE = 4


def hashed_words(texts: pd.Series, buckets: int) -> sparse.csr_matrix:
    """Words and their pieces of four letters, each in the bucket of its CRC-32 (Weinberger et al., 2009).

    Args:
        texts: one a row; missing: no words.
        buckets: number of features; different words may share one.

    Returns:
        float32, shape (len(texts), buckets); each row has the length 1, or 0 where there is no word.
    """
    codes, distinct = pd.factorize(texts)
    rows = [np.unique([crc32(piece.encode()) % buckets for piece in _pieces(str(text))]) for text in distinct]
    starts = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    columns = np.concatenate([*rows, np.zeros(0)]).astype(np.int64)
    values = np.concatenate([*(np.full(len(row), len(row) ** -0.5) for row in rows if len(row)), np.zeros(0)])
    table = sparse.csr_matrix((values.astype(np.float32), columns, starts), shape=(len(rows), buckets))
    empty = sparse.csr_matrix((1, buckets), dtype=np.float32)  # the row of code -1
    return sparse.vstack([table, empty], format="csr", dtype=np.float32)[codes]


def _pieces(text: str) -> Iterator[str]:
    """Words in lower case, and the pieces of each with its ends marked."""
    for word in _WORD.findall(text.casefold()):
        yield word
        marked = f"<{word}>"
        yield from (marked[start : start + _PIECE] for start in range(len(marked) - _PIECE + 1))
