"""Which items a content is about: by the ids it names, by tags that it shares with them, and by the words of titles.

- **id**: the content names the item; weight 1.
- **tags**: of the content's tags that any item bears, the part that this item bears, each tag weighed by its inverse
  document frequency over items. An item bears its tags, its brand, its origin and every step of its category path.
- **text**: cosine of the titles' words and word pieces, weighed by their inverse document frequency over items.

Weights lie between 0 and 1. Frequencies are counted over items alone, so that a content published later changes no link
of an earlier one. Everything is sparse and made in blocks of contents: cost grows with contents × the items that share
a word with one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

from models.content.title_words import hashed_words

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

KINDS = ("id", "tags", "text")
COLUMNS = ["content_id", "item_id", "weight", "by"]
# Below, a shared tag or word is chance: a link must stand for half of the tags, or a quarter of the words.
LEAST = {"id": 0.0, "tags": 0.5, "text": 0.25}
MOST = 100  # links of one content and kind that are kept: those of the highest weight
_BUCKETS = 1 << 18
_BLOCK = 512


@dataclass(frozen=True)
class Link:
    """Weights of one kind as a product that is never made as a whole: contents @ items.T.

    Attributes:
        contents: sparse, shape (contents, words).
        items: sparse, shape (items, words).
    """

    contents: sparse.csr_matrix
    items: sparse.csr_matrix


def links(contents: pd.DataFrame, items: pd.DataFrame) -> dict[str, Link]:
    """The weights of every kind, as factors.

    Args:
        contents: content_id, and where known title, tags and item_ids (lists as text parted by `|`).
        items: item_id, and where known title, tags, brand, origin and category (path with `/`).
    """
    return {"id": _by_id(contents, items), "tags": _by_tags(contents, items), "text": _by_text(contents, items)}


def content_links(contents: pd.DataFrame, items: pd.DataFrame, most: int = MOST) -> pd.DataFrame:
    """The links as one table: those above `LEAST`, for each content and kind the `most` of the highest weight.

    Returns:
        content_id, item_id, weight (0 to 1], by (id, tags or text); ordered by content, kind, falling weight, item.
    """
    frames = []
    content_ids, item_ids = contents["content_id"].to_numpy(object), items["item_id"].to_numpy(object)
    for number, (kind, link) in enumerate(links(contents, items).items()):
        across = link.items.T.tocsc()
        for start in range(0, len(contents), _BLOCK):
            found = (link.contents[start : start + _BLOCK] @ across).tocoo()
            strong = found.data >= max(LEAST[kind], 1e-9)
            row, column, weight = found.row[strong], found.col[strong], np.minimum(found.data[strong], 1.0)
            order = np.lexsort((column, -weight, row))
            row, column, weight = row[order], column[order], weight[order]
            kept = np.arange(len(row)) - np.searchsorted(row, row) < most
            names = content_ids[start + row[kept]], item_ids[column[kept]]
            part = pd.DataFrame({"content_id": names[0], "item_id": names[1], "weight": weight[kept], "by": kind})
            frames.append(part.assign(content=start + row[kept], kind=number))
    if not frames:
        types = {"weight": "float64"}
        return pd.DataFrame({name: pd.Series([], dtype=types.get(name, "object")) for name in COLUMNS})
    whole = pd.concat(frames, ignore_index=True)
    return whole.sort_values(["content", "kind"], kind="stable", ignore_index=True)[COLUMNS]


def _by_id(contents: pd.DataFrame, items: pd.DataFrame) -> Link:
    rows, names = _words([_lists(contents, "item_ids")])
    columns = pd.Index(items["item_id"].to_numpy(object)).get_indexer(pd.Index(names, dtype=object))
    known = columns >= 0
    cells = (np.ones(int(known.sum())), (rows[known], columns[known]))
    named = sparse.coo_matrix(cells, shape=(len(contents), len(items))).tocsr()
    return Link(named, sparse.identity(len(items), format="csr"))


def _by_tags(contents: pd.DataFrame, items: pd.DataFrame) -> Link:
    of_items = [_lists(items, "tags"), _lists(items, "category", "/"), _whole(items, "brand"), _whole(items, "origin")]
    item, item_words = _words(words.str.casefold() for words in of_items)
    codes, vocabulary = pd.factorize(np.asarray(item_words, dtype=object))
    borne = _binary(item, codes, (len(items), len(vocabulary)))
    rarity = _rarity(borne)
    content, words = _words([_lists(contents, "tags").str.casefold()])
    places = pd.Index(vocabulary, dtype=object).get_indexer(pd.Index(words, dtype=object))
    told = _binary(content[places >= 0], places[places >= 0], (len(contents), len(vocabulary)))
    return Link(_scaled(told @ sparse.diags(rarity), 1), borne)


def _by_text(contents: pd.DataFrame, items: pd.DataFrame) -> Link:
    words = [
        hashed_words(table["title"].astype("string") if "title" in table else pd.Series(pd.NA, table.index), _BUCKETS)
        for table in (contents, items)
    ]
    rarity = sparse.diags(_rarity(words[1]))
    of_contents, of_items = (_scaled(table.sign() @ rarity, 2) for table in words)
    return Link(of_contents, of_items)


def _rarity(table: sparse.csr_matrix) -> FloatArray:
    """Inverse document frequency of each word, log((1 + rows) / (1 + rows with it)); 0 where no row has it."""
    frequency = np.bincount(table.indices, minlength=table.shape[1])
    found: FloatArray = np.where(frequency > 0, np.log((1 + table.shape[0]) / (1 + frequency)), 0.0)
    return found


def _scaled(table: sparse.csr_matrix, power: int) -> sparse.csr_matrix:
    """Each row over its sum (power 1) or its length (power 2); a row of nothing stays so."""
    sums = np.asarray(table.power(power).sum(axis=1)).ravel() ** (1 / power)
    return (sparse.diags(1 / np.where(sums > 0, sums, 1.0)) @ table).tocsr()


def _binary(rows: IntArray, columns: IntArray, shape: tuple[int, int]) -> sparse.csr_matrix:
    table = sparse.coo_matrix((np.ones(len(rows)), (rows, columns)), shape=shape).tocsr()
    table.data[:] = 1.0
    return table


def _lists(table: pd.DataFrame, column: str, sign: str = "|") -> pd.Series:
    """The parts of each text, one a row, under the row's number."""
    return _whole(table, column).str.split(sign).explode()


def _whole(table: pd.DataFrame, column: str) -> pd.Series:
    values = table[column] if column in table else pd.Series(pd.NA, table.index)
    return values.astype("string").reset_index(drop=True).dropna()


def _words(columns: Iterable[pd.Series]) -> tuple[IntArray, list[str]]:
    """Row and word of every entry, each once a row, without blanks at their ends."""
    words = pd.concat([column.dropna() for column in columns]).str.strip()
    table = pd.DataFrame({"row": words.index.to_numpy(np.int64), "word": words.to_numpy(object)})
    table = table[table["word"].astype(bool)].drop_duplicates()
    return table["row"].to_numpy(np.int64), table["word"].tolist()
