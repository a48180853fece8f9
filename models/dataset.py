"""What a recommender is trained on: tables that hold only what was known before a stated moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

from configs.errors import FacingsError
from models.content.links import content_links

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Dataset:
    """Interactions, items and shoppers as they were known before `as_of`.

    Attributes:
        interactions: one row a positive signal: shopper_id, item_id, event_time (UTC), and where known quantity,
            price, store_id, basket_id. Every event_time lies before `as_of`.
        items: one row an item: item_id and content columns; items never sold are in it too, and every item of the
            interactions is (content may be missing).
        shoppers: one row a shopper: shopper_id and attribute columns; every shopper of the interactions is in it.
        as_of: the moment up to which (exclusively) things are known.
        recommendable: for each row of `items`, whether it may be recommended at all.
        item_content: columns of `items` that describe it to a content-aware model.
        shopper_attributes: columns of `shoppers` that describe them.
        dated_attributes: those of `shopper_attributes` that are computed at `as_of` (features of a store); what is put
            back to an earlier moment must leave them out.
        promotions: store_id, item_id, starts, ends (UTC), display, mailer: advertising, past and, where the recipe lets
            the model know the plan, future; None: nothing is known of it.
        watched: shopper_id, content_id, event_type, event_time, engagement (above 0, see `features.engagement`): what
            shoppers did with contents before `as_of`; every shopper of it is in `shoppers`. None: nothing is known.
        contents: content_id and where known title, tags, item_ids (lists parted by `|`): those of `watched`.
    """

    interactions: pd.DataFrame
    items: pd.DataFrame
    shoppers: pd.DataFrame
    as_of: pd.Timestamp
    recommendable: BoolArray
    item_content: tuple[str, ...] = ()
    shopper_attributes: tuple[str, ...] = ()
    dated_attributes: tuple[str, ...] = ()
    promotions: pd.DataFrame | None = None
    watched: pd.DataFrame | None = None
    contents: pd.DataFrame | None = None

    @classmethod
    def build(
        cls,
        interactions: pd.DataFrame,
        *,
        items: pd.DataFrame | None = None,
        shoppers: pd.DataFrame | None = None,
        as_of: pd.Timestamp,
        item_content: Sequence[str] = (),
        shopper_attributes: Sequence[str] = (),
        dated_attributes: Sequence[str] = (),
        never_recommend: Sequence[str] = (),
        blocked: Sequence[str] = (),
        promotions: pd.DataFrame | None = None,
        watched: pd.DataFrame | None = None,
        contents: pd.DataFrame | None = None,
    ) -> Dataset:
        """Check and complete the tables.

        Args:
            interactions: shopper_id, item_id, event_time and optional columns.
            items: item_id, optional `category` (path with `/`) and content; None: nothing but the ids is known.
            shoppers: shopper_id and attributes; None: nothing but the ids is known.
            as_of: exclusive upper bound of what is known; UTC.
            item_content: content columns to use.
            shopper_attributes: attribute columns to use.
            dated_attributes: those of them that are computed at `as_of`.
            never_recommend: roots of category paths (compared without case) whose items are never recommended.
            blocked: items that are never recommended either; one that is not in the catalogue is ignored.
            promotions: see the attribute; which future ones may be known is the caller's to decide.
            watched, contents: see the attributes.

        Raises:
            FacingsError: nothing to learn from, a row from the future, a repeated id or an unknown column.
        """
        if interactions.empty:
            raise FacingsError(
                f"There is no interaction before {as_of:%Y-%m-%d}; ingest data or choose a later moment."
            )
        late = interactions["event_time"] >= as_of
        if late.any():
            raise FacingsError(f"{int(late.sum())} interactions are not before {as_of}; a model must not see them.")
        if watched is not None and (watched["event_time"] >= as_of).any():
            raise FacingsError(f"A content was watched at {as_of} or later; a model must not see it.")
        items = _complete(items, interactions["item_id"], "item_id", item_content)
        seen = [interactions["shopper_id"], *([] if watched is None else [watched["shopper_id"]])]
        shoppers = _complete(shoppers, pd.concat(seen), "shopper_id", shopper_attributes)
        return cls(
            interactions=interactions.reset_index(drop=True),
            items=items,
            shoppers=shoppers,
            as_of=as_of,
            recommendable=_recommendable(items, never_recommend) & ~items["item_id"].isin(list(blocked)).to_numpy(bool),
            item_content=tuple(item_content),
            shopper_attributes=tuple(shopper_attributes),
            dated_attributes=tuple(dated_attributes),
            promotions=promotions,
            watched=watched,
            contents=contents,
        )

    @property
    def lasting_attributes(self) -> tuple[str, ...]:
        """Attributes that say the same at an earlier moment as at `as_of`."""
        return tuple(name for name in self.shopper_attributes if name not in self.dated_attributes)

    @cached_property
    def item_ids(self) -> pd.Index[Any]:
        """Ids of all items, in the order of every item array."""
        ids: pd.Index[Any] = pd.Index(self.items["item_id"])
        return ids

    @cached_property
    def shopper_ids(self) -> pd.Index[Any]:
        """Ids of all shoppers, in the order of every shopper array."""
        ids: pd.Index[Any] = pd.Index(self.shoppers["shopper_id"])
        return ids

    @cached_property
    def item_rows(self) -> IntArray:
        """Row in `items` for each interaction; shape (interactions,)."""
        return _rows(self.item_ids, self.interactions["item_id"])

    @cached_property
    def shopper_rows(self) -> IntArray:
        """Row in `shoppers` for each interaction; shape (interactions,)."""
        return _rows(self.shopper_ids, self.interactions["shopper_id"])

    @property
    def knows_contents(self) -> bool:
        """Whether anybody watched any content that is described."""
        tables = (self.watched, self.contents)
        return all(table is not None and not table.empty for table in tables)

    @cached_property
    def content_links(self) -> pd.DataFrame:
        """Which items each content is about; see `models.content.links`."""
        empty = pd.DataFrame({"content_id": pd.Series([], dtype=object)})
        return content_links(empty if self.contents is None else self.contents, self.items)

    @cached_property
    def age_days(self) -> FloatArray:
        """Days from each interaction to `as_of`; shape (interactions,), positive."""
        age: FloatArray = (self.as_of - self.interactions["event_time"]).dt.total_seconds().to_numpy(
            np.float64
        ) / 86_400
        return age

    def matrix(self, weights: FloatArray | None = None) -> sparse.csr_matrix:
        """Sum `weights` (default: one a row) for each shopper and item; float64, shape (shoppers, items)."""
        values = np.ones(len(self.interactions)) if weights is None else weights
        shape = (len(self.shoppers), len(self.items))
        return sparse.coo_matrix((values, (self.shopper_rows, self.item_rows)), shape=shape).tocsr()


def _complete(table: pd.DataFrame | None, seen: pd.Series, key: str, columns: Sequence[str]) -> pd.DataFrame:
    """Return `table` with a row for every id of `seen`, ids as plain strings, ordered by id."""
    table = pd.DataFrame({key: pd.Series([], dtype=object)}) if table is None else table
    unknown = [column for column in columns if column not in table.columns]
    if unknown:
        raise FacingsError(
            f"The recipe names {', '.join(unknown)}, which the {key.removesuffix('_id')} table does not hold; "
            f"it holds {', '.join(map(str, table.columns))}."
        )
    if table[key].duplicated().any():
        raise FacingsError(
            f"{key} {table[key][table[key].duplicated()].iloc[0]!r} appears more than once in its table."
        )
    missing = pd.Index(seen.unique()).difference(pd.Index(table[key]))
    extra = pd.DataFrame({key: missing.astype(object)})
    whole = pd.concat([table.astype({key: object}), extra], ignore_index=True) if len(extra) else table
    return whole.astype({key: object}).sort_values(key, kind="stable", ignore_index=True)


def _recommendable(items: pd.DataFrame, never_recommend: Sequence[str]) -> BoolArray:
    if "category" not in items.columns or not never_recommend:
        return np.ones(len(items), dtype=bool)
    roots = items["category"].astype("string").str.split("/").str[0].str.strip().str.casefold()
    banned = roots.isin([root.casefold() for root in never_recommend]).fillna(False)
    return ~banned.to_numpy(dtype=bool)


def _rows(index: pd.Index[Any], ids: pd.Series) -> IntArray:
    """Look ids up once per distinct id; every id is in the index by construction."""
    codes, distinct = pd.factorize(ids)
    rows: IntArray = index.get_indexer(pd.Index(distinct).astype(object))[codes].astype(np.int64)
    return rows
