"""What is known at a moment of shoppers who watch contents, as one array of shoppers × items for each signal.

- **popularity**: log of how many shoppers bought the item of late; purchases before that count a little.
- **near**: log of how much more often it is bought in the shopper's neighbourhood (by those of the same home store)
  than in the chain.
- **id**, **tags**, **text**: the shopper's decayed engagement × the links of the contents (`models.content.links`), as
  a mean over what they watched, above what the mean watcher gets; `_PRIOR_VIEWS` whole views shrink it to that.
- **sales**: log of how much more often those who watched the same contents buy the item than others do.

A ratio of counts is (seen + k) / (expected + k), the mean of a gamma distribution with the mean 1 after what was seen.
Nothing here says what a signal is worth: that is learned from sales.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from models.content.links import KINDS, Link, links
from models.dataset import BoolArray, Dataset, FloatArray, IntArray

SIGNALS = ("popularity", "near", *KINDS, "sales")
_PRIOR_VIEWS = 1.0  # of a shopper's engagement
_PRIOR_NEAR = 5.0  # purchases of an item in a neighbourhood
_PRIOR_SALES = 5.0  # purchases of an item by those who watched the same
_LASTING = 0.05  # of a purchase that lies back, in popularity
_UNSOLD = 0.5  # shoppers whom an item has that nobody bought
_FEWEST_NEAR = 5  # a neighbourhood of fewer shoppers who buy tells nothing of its own
_BLOCK = 128  # contents whose watchers' purchases are counted at a time
_MOST_SALES = 1000  # items kept of those that a content's watchers bought


@dataclass(frozen=True)
class Watching:
    """The parts of a dataset that say who watched what, lined up with its shoppers and items.

    Attributes:
        shopper, content: rows of each event's shopper and content.
        engagement: of each event, undecayed.
        age: days from each event to `as_of`.
        links: of each kind, contents × items.
        contents: how many there are.
    """

    shopper: IntArray
    content: IntArray
    engagement: FloatArray
    age: FloatArray
    links: Mapping[str, Link]
    contents: int

    @classmethod
    def read(cls, dataset: Dataset) -> Watching | None:
        """Take it from a dataset; None: it knows of no contents."""
        if not dataset.knows_contents:
            return None
        table: Any = dataset.watched
        described: Any = dataset.contents
        ids = pd.Index(described["content_id"].to_numpy(object))
        content = ids.get_indexer(pd.Index(table["content_id"].astype(str), dtype=object)).astype(np.int64)
        known = content >= 0
        shopper = dataset.shopper_ids.get_indexer(pd.Index(table["shopper_id"].astype(str), dtype=object))
        age = (dataset.as_of - table["event_time"]).dt.total_seconds().to_numpy(np.float64) / 86_400
        return cls(
            shopper=shopper[known].astype(np.int64),
            content=content[known],
            engagement=table["engagement"].to_numpy(np.float64)[known],
            age=age[known],
            links=links(described, dataset.items),
            contents=len(ids),
        )

    def engaged(self, shoppers: int, days: float, half_life: float) -> sparse.csr_matrix:
        """Decayed engagement as it was so many days earlier; shape (shoppers, contents)."""
        keep = self.age > days
        value = self.engagement[keep] * 0.5 ** ((self.age[keep] - days) / half_life)
        cells = (value, (self.shopper[keep], self.content[keep]))
        return sparse.coo_matrix(cells, shape=(shoppers, self.contents)).tocsr()


class Signals:
    """Every signal at one moment; what is kept for each shopper is their engagement and their neighbourhood."""

    def __init__(self) -> None:
        self.popularity: FloatArray = np.zeros(0)  # shoppers of each item of late
        self.lasting: FloatArray = np.zeros(0)  # shoppers of each item, weight falling slowly
        self.homes: list[str] = []
        self.home: IntArray = np.zeros(0, np.int64)  # of each shopper, -1: not known
        self.near = sparse.csr_matrix((0, 0))  # purchases, homes × items
        self.engaged = sparse.csr_matrix((0, 0))  # shoppers × contents
        self.links: dict[str, Link] = {}
        self.means: dict[str, FloatArray] = {}  # of each kind, what the mean watcher gets; shape (items,)
        self.sales = sparse.csr_matrix((0, 0))  # purchases by those who watched, contents × items
        self.sold: FloatArray = np.zeros(0)  # all purchases by those who watched each content

    @classmethod
    def at(
        cls,
        dataset: Dataset,
        watching: Watching | None,
        *,
        days: float,
        half_life: float,
        popular_days: float,
        lasting_days: float,
        hidden: BoolArray | None = None,
    ) -> Signals:
        """What was known so many days before `dataset.as_of`.

        Args:
            dataset: its interactions, shoppers and items.
            watching: who watched what; None: nobody anything.
            days: how much earlier.
            half_life: days in which what was watched loses half of its weight.
            popular_days: how long a purchase counts wholly in popularity.
            lasting_days: days in which a purchase's weight falls to 1 / e in what is counted of few: a neighbourhood,
                a content's watchers, and, a little, popularity.
            hidden: shoppers whose purchases are left out, as if they had never bought; None: nobody.
        """
        found = cls()
        age = dataset.age_days - days
        past = age > 0
        if hidden is not None:
            past &= ~hidden[dataset.shopper_rows]

        def buyers(weights: FloatArray) -> sparse.csr_matrix:
            table = dataset.matrix(np.where(past, weights, 0.0))
            table.eliminate_zeros()
            table.data = np.minimum(table.data, 1.0)  # one shopper is one, however often they buy
            return table

        bought = buyers(np.exp(-np.maximum(age, 0) / lasting_days))
        found.lasting = np.asarray(bought.sum(axis=0)).ravel()
        recent = np.asarray(buyers((age <= popular_days).astype(np.float64)).sum(axis=0)).ravel()
        found.popularity = recent + _LASTING * found.lasting
        found.home, found.homes = _homes(dataset, past)
        found.near = _near(bought, found.home, len(found.homes))
        shape = (len(dataset.shoppers), len(dataset.items))
        if watching is None:
            found.engaged = sparse.csr_matrix((shape[0], 0))
            return found
        found.engaged = watching.engaged(shape[0], days, half_life)
        found.links = dict(watching.links)
        total = np.asarray(found.engaged.sum(axis=1)).ravel()
        watchers = max(1, int((total > 0).sum()))
        usual = np.asarray((sparse.diags(1 / np.where(total > 0, total, 1.0)) @ found.engaged).sum(axis=0)) / watchers
        for kind, link in found.links.items():
            found.means[kind] = np.asarray(link.items @ (link.contents.T @ usual.ravel())).ravel()
        seen = found.engaged.copy()
        seen.data = np.minimum(seen.data, 1.0)
        had = bought.sign()
        by_content = seen.T.tocsr()
        blocks = [
            _largest((by_content[start : start + _BLOCK] @ had).tocsr(), _MOST_SALES)
            for start in range(0, watching.contents, _BLOCK)
        ]
        found.sales = sparse.vstack(blocks, format="csr")
        found.sold = np.asarray(seen.T @ np.asarray(had.sum(axis=1)).ravel()).ravel()
        return found

    @property
    def weight(self) -> FloatArray:
        """Decayed engagement of each shopper in all; shape (shoppers,)."""
        return np.asarray(self.engaged.sum(axis=1)).ravel()

    def of(self, rows: IntArray) -> FloatArray:
        """All signals for these shoppers; shape (signals, rows, items)."""
        return self._signals(self.home[rows], self.engaged[rows])

    def of_strangers(self, homes: IntArray) -> FloatArray:
        """The same for shoppers of whom nothing but the neighbourhood (-1: nothing) is known."""
        return self._signals(homes, sparse.csr_matrix((len(homes), self.engaged.shape[1])))

    def _signals(self, home: IntArray, engaged: sparse.csr_matrix) -> FloatArray:
        table = np.zeros((len(SIGNALS), len(home), len(self.lasting)))
        table[0] = np.log(self.popularity + _UNSOLD)
        share = (self.lasting + 1e-9) / (self.lasting.sum() + 1e-9)
        for place in np.unique(home[home >= 0]):
            seen = self.near[place].toarray().ravel()
            expected = share * seen.sum()
            table[1, home == place] = np.log((seen + _PRIOR_NEAR) / (expected + _PRIOR_NEAR))
        total = np.asarray(engaged.sum(axis=1)).ravel()
        watched = np.flatnonzero(total > 0)
        if len(watched):
            own = (sparse.diags(1 / total[watched]) @ engaged[watched]).tocsr()
            trust = (total[watched] / (total[watched] + _PRIOR_VIEWS))[:, None]
            for number, kind in enumerate(KINDS, start=2):
                link = self.links[kind]
                mean = ((own @ link.contents) @ link.items.T).toarray()
                table[number, watched] = trust * (mean - self.means[kind])
            table[-1, watched] = trust * self._like_others(own, share)
        return table

    def _like_others(self, own: sparse.csr_matrix, share: FloatArray) -> FloatArray:
        """Log ratio of what those who watched the same bought to what everybody buys."""
        inverse = np.where(self.sold > 0, 1 / np.where(self.sold > 0, self.sold, 1.0), 0.0)
        part = ((own @ sparse.diags(inverse)) @ self.sales).toarray()
        told = np.asarray(own @ (self.sold > 0)).ravel()  # what was watched and says anything
        spread = np.asarray(own.power(2) @ inverse).ravel()
        # As many purchases as would tell the mean as surely.
        number = np.where(spread > 0, told**2 / np.where(spread > 0, spread, 1.0), 0.0)[:, None]
        part = part / np.where(told > 0, told, 1.0)[:, None]
        ratio: FloatArray = np.log((part * number + _PRIOR_SALES) / (share * number + _PRIOR_SALES))
        return ratio

    def keep_shoppers(self, rows: IntArray) -> None:
        """Keep only these rows of what is kept by shopper."""
        self.engaged, self.home = self.engaged[rows], self.home[rows]


def best_near(near: sparse.csr_matrix, most: int, least: float) -> sparse.csr_matrix:
    """The best sold items of each neighbourhood, bought by `least` shoppers or more; bool, homes × items."""
    best = near.copy()
    best.data = np.where(best.data >= least, best.data, 0.0)
    best.eliminate_zeros()
    return _largest(best, most).astype(bool)


def _homes(dataset: Dataset, past: BoolArray) -> tuple[IntArray, list[str]]:
    """Each shopper's neighbourhood: the stated home store, else the store with most of their purchases."""
    home = pd.Series(pd.NA, index=range(len(dataset.shoppers)), dtype="string")
    if "home_store_id" in dataset.shoppers.columns:
        home = dataset.shoppers["home_store_id"].astype("string").reset_index(drop=True)
    told = past & home.isna().to_numpy()[dataset.shopper_rows]
    if "store_id" in dataset.interactions.columns and told.any():
        rows = pd.DataFrame({"shopper": dataset.shopper_rows[told], "store": dataset.interactions["store_id"][told]})
        counts = rows.dropna().groupby(["shopper", "store"], as_index=False, observed=True).size()
        counts = counts.sort_values(["shopper", "size", "store"], ascending=[True, False, True])
        usual = counts.drop_duplicates("shopper").set_index("shopper")["store"].astype("string")
        home = home.fillna(usual.reindex(home.index))
    codes, names = pd.factorize(home, sort=True)
    return codes.astype(np.int64), [str(name) for name in names]


def _near(bought: sparse.csr_matrix, home: IntArray, homes: int) -> sparse.csr_matrix:
    """Shoppers of each neighbourhood who bought each item; those of a small one are left out."""
    known = np.flatnonzero((home >= 0) & (np.diff(bought.indptr) > 0))
    number = np.bincount(home[known], minlength=homes)
    known = known[number[home[known]] >= _FEWEST_NEAR]
    belongs = sparse.coo_matrix((np.ones(len(known)), (home[known], known)), shape=(homes, bought.shape[0])).tocsr()
    return (belongs @ bought).tocsr()


def _largest(table: sparse.csr_matrix, most: int) -> sparse.csr_matrix:
    """The largest cells of each row; of equals those of the first columns."""
    row = np.repeat(np.arange(table.shape[0]), np.diff(table.indptr))
    order = np.lexsort((table.indices, -table.data, row))
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order)) - table.indptr[row[order]]
    keep = place < most
    return sparse.coo_matrix((table.data[keep], (row[keep], table.indices[keep])), shape=table.shape).tocsr()
