"""Evidence: why an item is shown to a shopper, from the data alone, whatever recommender chose it.

The first that is true is told (`Rules` says when):

1. due_again: the shopper bought it, and by their own interval, or else the item's, needs it again
2. bought_before: the shopper bought it
3. watched: it is linked to a content that the shopper watched of late; about the content
4. goes_with: it is often in one basket with an item that the shopper bought of late; about that item, the one of the
   highest lift
5. maker_you_like: its maker's goods are bought often by the shopper, more than by all others; about the maker
6. new_in_category: it is new in the shop, and the shopper buys in its category; about the category
7. popular_in_store: it is among the best sold of late in the store where the shopper buys on most days; about the store

and otherwise the reason that the recommender gives. A reason is never guessed: where the data do not hold what it needs
(a maker, a basket, a store), it is not given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

from configs.errors import FacingsError
from models.artifact import Arrays
from models.dataset import BoolArray, Dataset, IntArray
from models.explanation import evidence
from models.explanation.evidence import Rules
from models.purchases.history import kept_entries
from models.reasons import Reason

Objects = npt.NDArray[np.object_]
_DUE, _RECENT = 1, 2
_NAMES = ("makers", "categories", "stores", "contents")


@dataclass(frozen=True)
class _Shown:
    """The items of one list: their places in it, and their columns; shape (items shown,)."""

    place: IntArray
    column: IntArray


class Evidence:
    """What is known of shoppers and items for telling reasons. Rows of shoppers are those of the recommender."""

    def __init__(self) -> None:
        # Bits of each entry of the history: due again, bought of late.
        self._flags: npt.NDArray[np.uint8] = np.zeros(0, np.uint8)
        self._partners = sparse.csr_matrix((0, 0), dtype=np.float64)  # lift between items
        self._maker_of: npt.NDArray[np.int32] = np.zeros(0, np.int32)
        self._category_of: npt.NDArray[np.int32] = np.zeros(0, np.int32)
        self._new: BoolArray = np.zeros(0, dtype=bool)
        self._liked = sparse.csr_matrix((0, 0), dtype=bool)  # shoppers × makers
        self._bought = sparse.csr_matrix((0, 0), dtype=bool)  # shoppers × categories
        self._store_of: npt.NDArray[np.int32] = np.zeros(0, np.int32)  # of each shopper
        self._best = sparse.csr_matrix((0, 0), dtype=bool)  # stores × items
        self._watched = sparse.csr_matrix((0, 0), dtype=np.int32)  # shoppers × contents: 1 for the first watched, …
        self._linked = sparse.csr_matrix((0, 0), dtype=np.float32)  # contents × items: weight of the link
        self._names: dict[str, list[str]] = {name: [] for name in _NAMES}

    @classmethod
    def learn(cls, dataset: Dataset, history: sparse.csr_matrix, rules: Rules | None = None) -> Self:
        """Find all evidence in what was known at `dataset.as_of`.

        Args:
            dataset: what the recommender was trained on.
            history: the recommender's; shape (shoppers, items).
            rules: when a reason counts as true.
        """
        found, rules = cls(), rules or Rules()
        entry = evidence.entries(dataset, history)
        age = evidence.last_age(dataset, entry, history.nnz)
        due = evidence.due(dataset, history, entry, age, rules)
        found._flags = (_DUE * due + _RECENT * (age <= rules.recent_days)).astype(np.uint8)
        found._partners = evidence.partners(dataset, history, rules)
        found._maker_of, makers = evidence.codes(dataset.items.get("maker_id"), len(dataset.items))
        found._category_of, categories = evidence.codes(dataset.items.get("category"), len(dataset.items))
        of_makers = evidence.purchases_by(dataset, found._maker_of, len(makers))
        of_categories = evidence.purchases_by(dataset, found._category_of, len(categories))
        found._liked = evidence.liked_makers(dataset, of_makers, rules)
        found._bought = evidence.often(of_categories, rules.category_purchases)
        found._new = evidence.new_items(dataset, rules)
        found._store_of, found._best, stores = evidence.stores(dataset, rules)
        found._watched, found._linked, contents = evidence.watched(dataset, rules)
        found._names = dict(zip(_NAMES, (makers, categories, stores, contents), strict=True))
        return found

    def reasons(
        self,
        history: sparse.csr_matrix,
        item_ids: pd.Index,
        shopper_rows: IntArray,
        columns: IntArray,
        otherwise: Objects,
    ) -> tuple[Objects, Objects]:
        """Tell why items are shown to known shoppers.

        Args:
            history: the recommender's; shape (shoppers, items).
            item_ids: ids of all items.
            shopper_rows: whom the lists are for; shape (n,).
            columns: the items shown, -1: none; shape (n, k).
            otherwise: the recommender's own reasons; shape (n, k). What it says of repeats is replaced.

        Returns:
            reason codes, and the id that each is about ("": nothing to name); both of shape (n, k).
        """
        codes, about = otherwise.copy(), np.full(columns.shape, "", dtype=object)
        recent = np.zeros(len(item_ids), dtype=bool)
        for line, row in enumerate(shopper_rows):
            shown = np.flatnonzero(columns[line] >= 0)
            own = slice(history.indptr[row], history.indptr[row + 1])
            bought, flags = history.indices[own], self._flags[own]
            lately = bought[(flags & _RECENT) > 0]
            recent[lately] = True
            self._tell(_Shown(shown, columns[line, shown]), int(row), recent, item_ids, codes[line], about[line])
            known = self._watched, self._linked, self._names["contents"]
            tell_watched(*known, int(row), columns[line], codes[line], about[line])
            recent[lately] = False
            found, where = _lookup(bought, columns[line, shown])
            codes[line, shown[found]] = str(Reason.BOUGHT_BEFORE)
            due = found & ((flags[where] & _DUE) > 0) if len(flags) else found
            codes[line, shown[due]] = str(Reason.DUE_AGAIN)
            about[line, shown[found]] = ""
        return codes, about

    def _tell(
        self, shown: _Shown, row: int, recent: BoolArray, item_ids: pd.Index, codes: Objects, about: Objects
    ) -> None:
        """Write the reasons of items that are no repeats; the last written is the one that is preferred."""
        store = self._store_of[row]
        if store >= 0:
            best, _ = _lookup(_indices(self._best, store), shown.column)
            _write(codes, about, shown.place[best], Reason.POPULAR_IN_STORE, self._names["stores"][store])
        category = self._category_of[shown.column]
        new = self._new[shown.column] & np.isin(category, _indices(self._bought, row))
        _write(codes, about, shown.place[new], Reason.NEW_IN_CATEGORY, _named(self._names["categories"], category[new]))
        maker = self._maker_of[shown.column]
        liked = np.isin(maker, _indices(self._liked, row))
        _write(codes, about, shown.place[liked], Reason.MAKER_YOU_LIKE, _named(self._names["makers"], maker[liked]))
        line, partner = self._strongest(shown.column, recent)
        _write(codes, about, shown.place[line], Reason.GOES_WITH, item_ids[partner].to_numpy(dtype=object))

    def _strongest(self, columns: IntArray, recent: BoolArray) -> tuple[IntArray, IntArray]:
        """Which items have a partner bought of late, and the partner of the highest lift; of equals the first."""
        starts, ends = self._partners.indptr[columns], self._partners.indptr[columns + 1]
        sizes = (ends - starts).astype(np.int64)
        line = np.repeat(np.arange(len(columns)), sizes)
        flat = np.repeat(starts - (np.cumsum(sizes) - sizes), sizes) + np.arange(sizes.sum())
        partner, lift = self._partners.indices[flat], self._partners.data[flat]
        held = recent[partner]
        line, partner, lift = line[held], partner[held].astype(np.int64), lift[held]
        order = np.lexsort((partner, -lift, line))
        first = order[np.unique(line[order], return_index=True)[1]]
        return line[first], partner[first]

    # ------------------------------------------------------------------ keeping

    def keep_shoppers(self, rows: IntArray, history: sparse.csr_matrix) -> None:
        """Keep only these rows of what is kept by shopper; `history` still has all of them.

        What was counted over everybody (which items go together, what sells best in a store) stays until a refit.
        """
        self._flags = self._flags[kept_entries(history, rows)]
        self._liked, self._bought, self._watched = self._liked[rows], self._bought[rows], self._watched[rows]
        self._store_of = self._store_of[rows]

    def state(self, prefix: str = "evidence_") -> Arrays:
        """Everything as plain arrays, for `restore`; their names begin with `prefix`."""
        arrays: Arrays = {
            "flags": self._flags,
            "maker_of": self._maker_of,
            "category_of": self._category_of,
            "new": self._new,
            "store_of": self._store_of,
        }
        for name in ("partners", "liked", "bought", "best", "watched", "linked"):
            matrix = getattr(self, f"_{name}")
            arrays[f"{name}_indptr"] = matrix.indptr.astype(np.int64)
            arrays[f"{name}_indices"] = matrix.indices.astype(np.int32)
        arrays["partners_lift"] = self._partners.data
        arrays["watched_order"], arrays["linked_weight"] = self._watched.data, self._linked.data
        for name in _NAMES:
            arrays[name] = np.asarray(self._names[name], dtype=np.str_) if self._names[name] else np.zeros(0, np.str_)
        return {f"{prefix}{name}": array for name, array in arrays.items()}

    @classmethod
    def restore(cls, arrays: Arrays, prefix: str = "evidence_") -> Self:
        """Take back what `state` gave.

        Raises:
            FacingsError: the model is of a version that kept other evidence or none.
        """
        found = cls()
        if f"{prefix}flags" not in arrays or f"{prefix}linked_indptr" not in arrays:
            raise FacingsError(
                "The model was trained by a version that kept other evidence; train again with `facings retrain`."
            )
        arrays = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
        for name in ("flags", "maker_of", "category_of", "new", "store_of"):
            setattr(found, f"_{name}", np.asarray(arrays[name]))
        found._names = {name: [str(value) for value in arrays[name]] for name in _NAMES}
        items = len(found._maker_of)
        width = {"partners": items, "liked": len(found._names["makers"]), "best": items, "linked": items}
        width |= {"bought": len(found._names["categories"]), "watched": len(found._names["contents"])}
        values = {"partners": "partners_lift", "watched": "watched_order", "linked": "linked_weight"}
        for name, columns in width.items():
            indptr, indices = np.asarray(arrays[f"{name}_indptr"]), np.asarray(arrays[f"{name}_indices"])
            data = np.asarray(arrays[values[name]]) if name in values else np.ones(len(indices), dtype=bool)
            setattr(found, f"_{name}", sparse.csr_matrix((data, indices, indptr), shape=(len(indptr) - 1, columns)))
        return found


def tell_watched(
    watched: sparse.csr_matrix,
    linked: sparse.csr_matrix,
    names: Sequence[str],
    row: int,
    columns: IntArray,
    codes: Objects,
    about: Objects,
) -> None:
    """Write where a shown item is linked to a content that this shopper watched; about the one watched last.

    Args:
        watched, linked, names: as `evidence.watched` gives them.
        row: the shopper.
        columns: the items shown, -1: none; shape (k,).
        codes, about: of the items shown; they are written to; shape (k,).
    """
    places = np.flatnonzero(columns >= 0)
    contents = _indices(watched, row)
    for content in contents[np.argsort(watched.data[watched.indptr[row] : watched.indptr[row + 1]])]:
        told, _ = _lookup(_indices(linked, content), columns[places])
        _write(codes, about, places[told], Reason.WATCHED, names[content])


def _indices(matrix: sparse.csr_matrix, row: int) -> IntArray:
    return np.asarray(matrix.indices[matrix.indptr[row] : matrix.indptr[row + 1]])


def _lookup(known: IntArray, asked: IntArray) -> tuple[BoolArray, IntArray]:
    """Which of `asked` are in `known` (sorted), and where; 0 where they are not."""
    where = np.searchsorted(known, asked)
    where[where == len(known)] = 0
    found: BoolArray = known[where] == asked if len(known) else np.zeros(len(asked), dtype=bool)
    return found, np.where(found, where, 0)


def _named(names: Sequence[str], numbers: npt.NDArray[Any]) -> Objects:
    return np.array([names[number] for number in numbers], dtype=object)


def _write(codes: Objects, about: Objects, places: IntArray, reason: Reason, what: str | Objects) -> None:
    codes[places] = str(reason)
    about[places] = what
