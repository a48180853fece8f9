"""What a decision reads: the shop's snapshot, and a model's slates in terms of the shop's items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from configs.home import Home
from pipelines import snapshot
from pipelines.offers.fold import FoldIn
from pipelines.packed import NOBODY, ODDS, Ranked
from pipelines.shop_offers import ShopOffers
from pipelines.shop_snapshot import CHAIN, Shop
from pipelines.slates_snapshot import MODEL, Slates

NO_MODEL = "none"
_MOST_PLACES = 20_000


class ShopReads(Protocol):
    """All that a decision reads of a shop, items by their position: what is not read here cannot change a slate."""

    @property
    def flags(self) -> npt.NDArray[np.uint8]:
        """NEVER, AGE_RESTRICTED and SENSITIVE of every item."""
        ...

    @property
    def prices(self) -> npt.NDArray[np.int64]:
        """Usual prices in minor units; UNKNOWN_PRICE where there is none."""
        ...

    @property
    def costs(self) -> npt.NDArray[np.int64]:
        """Costs in minor units; UNKNOWN_PRICE where there is none."""
        ...

    @property
    def makers(self) -> npt.NDArray[np.int32]:
        """Code of every item's maker; -1: none is known."""
        ...

    @property
    def brands(self) -> npt.NDArray[np.int32]:
        """Code of every item's brand; -1: none is known."""
        ...

    @property
    def categories(self) -> npt.NDArray[np.int32]:
        """Code of every item's category, its whole path; -1: none is known."""
        ...

    @property
    def names(self) -> Mapping[str, Sequence[str]]:
        """What the codes of `makers`, `brands` and `categories` stand for."""
        ...

    @property
    def size(self) -> int:
        """How many items there are."""
        ...

    def positions(self, item_ids: list[str]) -> npt.NDArray[np.int32]:
        """Positions of items; -1 for an unknown one."""
        ...

    def cards(self, positions: list[int]) -> list[dict[str, Any]]:
        """At least the `item_id` of each."""
        ...

    @property
    def joined(self) -> npt.NDArray[np.int64]:
        """When each maker, by its code, joined: microseconds since 1970 (UTC); -1: nobody says."""
        ...

    @property
    def offers(self) -> ShopOffers:
        """All offers, whether they run or not."""
        ...

    def in_stock(self, store_id: str | None) -> npt.NDArray[np.int32] | None:
        """Sorted positions of what is in stock; None: the rule is off."""
        ...

    def stocked(self, store_id: str | None) -> npt.NDArray[np.bool_] | None:
        """Of every item whether it is in stock; None: the rule is off."""
        ...

    def excluded(self, store_id: str | None) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]] | None:
        """Sorted codes of the brands and of the categories that a store does not want shown; None: it has none."""
        ...


class Reads(Protocol):
    """All that a decision reads: the served view, or what a decision's record kept of it."""

    @property
    def shop(self) -> ShopReads:
        """The shop."""
        ...

    @property
    def model_version(self) -> str:
        """Registry version of the champion; NO_MODEL before the first."""
        ...

    def candidates(self, shopper_id: str) -> Ranked:
        """A shopper's candidates as positions in the shop, best first, whatever made them."""
        ...

    def popular(self, level: str, store_id: str | None) -> Ranked:
        """Best-sellers of `home` (the neighbourhood), `store` or `chain`."""
        ...


@dataclass(frozen=True)
class View:
    """One moment's readers.

    Attributes:
        shop: the shop's snapshot.
        slates: the champion's slates; None before the first champion.
        to_shop: for each item of the slates its position in the shop, -1 where the shop does not know it.
        model_version: registry version of the champion; `none` before the first.
        shop_id, slates_id: the snapshots; None: there are no slates.
        fold_in: makes candidates of a shopper's newest events; None where the champion cannot.
    """

    shop: Shop
    slates: Slates | None
    to_shop: npt.NDArray[np.int32]
    model_version: str
    shop_id: str
    slates_id: str | None = None
    fold_in: FoldIn | None = None
    _places: dict[str, Ranked] = field(default_factory=dict, repr=False)

    def candidates(self, shopper_id: str) -> Ranked:
        """A shopper's candidates as positions in the shop."""
        if self.slates is None:
            return NOBODY
        own = self.slates.candidates(shopper_id)
        places = self.to_shop[own.items]
        found = Ranked(places, own.scores, own.reasons, own.odds)
        return found if self._knows_all else found.take(places >= 0)

    @cached_property
    def _knows_all(self) -> bool:
        """Whether the shop knows every item of the slates."""
        return bool((self.to_shop >= 0).all())

    def popular(self, level: str, store_id: str | None) -> Ranked:
        """Best-sellers of a level, with the odds of an average shopper there where the value model tells them.

        What it tells of besides comes after them.
        """
        if self.slates is None:
            return self.shop.popular(level, store_id)
        key = level if level == CHAIN else f"{level}:{store_id}"
        found = self._places.get(key)
        if found is None:
            found = _with_odds(self.shop.popular(level, store_id), self.slates.place(key), self.to_shop)
            if len(self._places) >= _MOST_PLACES:  # where no stores were ingested, callers may name any
                self._places.clear()
            self._places[key] = found
        return found

    def weighed(self, shopper_id: str, live: Ranked) -> Ranked:
        """Candidates made of a shopper's newest events, with the odds that the shopper's kept candidates have.

        Kept candidates that are not among them come after them.
        """
        own = self.candidates(shopper_id)
        return live if own.odds is None else _with_odds(live, own, None)

    def close(self) -> None:
        """Let the files go."""
        self.shop.close()
        if self.slates is not None:
            self.slates.close()


def _with_odds(first: Ranked, told: Ranked, to_shop: npt.NDArray[np.int32] | None) -> Ranked:
    """`first` with the odds that `told` has of its items, then the rest of `told`, scored below."""
    if told.odds is None:
        return first
    items = told.items if to_shop is None else to_shop[told.items]
    known = items >= 0
    items, odds = items[known], told.odds[known]
    where = {item: row for row, item in enumerate(items.tolist())}
    at = np.array([where.get(item, -1) for item in first.items.tolist()], dtype=np.int64)
    own = np.full((len(first), ODDS), np.nan, np.float16)
    own[at >= 0] = odds[at[at >= 0]]
    rest = ~np.isin(items, first.items)
    last = float(first.scores.min()) if len(first) else 0.0
    reasons = told.reasons[known][rest]
    if to_shop is not None and len(first):
        reasons = np.full(int(rest.sum()), first.reasons[0], np.uint8)  # of the level
    return Ranked(
        np.concatenate([first.items, items[rest]]).astype(np.int32),
        np.concatenate([first.scores, np.full(int(rest.sum()), last - 1.0)]).astype(np.float32),
        np.concatenate([first.reasons, reasons]).astype(np.uint8),
        np.concatenate([own, odds[rest]]),
    )


def open_view(home: Home, *, slates: bool = True) -> View | None:
    """Open the current snapshots, each verified; None before a shop snapshot was switched to.

    With `slates` false, the shop alone, as before the first champion.

    Raises:
        FacingsError: a snapshot is damaged.
    """
    shop_id, slates_id = snapshot.current(home, "shop"), snapshot.current(home, "slates") if slates else None
    if shop_id is None:
        return None
    meta = snapshot.check(home, "shop", shop_id)
    slates_meta = snapshot.check(home, "slates", slates_id) if slates_id else {}
    shop = Shop(home.snapshots / "shop" / shop_id, meta)
    if slates_id is None:
        return View(shop, None, np.zeros(0, np.int32), NO_MODEL, shop_id)
    try:
        folder = home.snapshots / "slates" / slates_id
        own = Slates(folder)
    except BaseException:
        shop.close()
        raise
    to_shop = shop.positions([str(item) for item in own.item_ids])
    copied = (folder / MODEL).is_dir()
    fold_in = FoldIn(folder / MODEL, shop, to_shop, int(slates_meta["candidates"])) if copied else None
    return View(shop, own, to_shop, str(slates_meta["model_version"]), shop_id, slates_id, fold_in)
