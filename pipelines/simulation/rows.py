"""Rows of the tables that grow, as columns of codes; `tables.py` turns codes into ids."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipelines.simulation.draws import Array

Block = dict[str, Array]

EVENT_TYPES = (
    "view", "click", "add_to_cart", "purchase", "return", "content_view", "like", "share", "comment", "impression",
    "tap", "scan", "redeem", "promotion_offered", "promotion_not_offered",
)  # fmt: skip
TYPE = {name: number for number, name in enumerate(EVENT_TYPES)}
CHANNELS = ("store", "screen", "app", "online")
CHANNEL = {name: number for number, name in enumerate(CHANNELS)}

# Column: dtype and what stands where a block says nothing (-1 and NaN: empty).
GROWING: dict[str, dict[str, tuple[str, Any]]] = {
    "interactions": {
        "shopper": ("i8", -1), "item": ("i8", -1), "type": ("i8", 0), "time": ("i8", 0), "basket": ("i8", -1),
        "session": ("i8", -1), "token": ("i8", -1), "store": ("i8", -1), "placement": ("i8", -1), "channel": ("i8", 0),
        "quantity": ("f8", np.nan), "price": ("f8", np.nan), "position": ("i8", -1), "campaign": ("i8", -1),
        "coupon": ("f8", np.nan), "discount": ("f8", np.nan), "propensity": ("f8", np.nan),
    },
    "content_views": {
        "shopper": ("i8", -1), "content": ("i8", -1), "type": ("i8", 0), "time": ("i8", 0), "dwell": ("f8", np.nan),
    },
    "searches": {
        "shopper": ("i8", -1), "category": ("i8", -1), "origin": ("i8", 0), "time": ("i8", 0), "clicked": ("i8", -1),
    },
    "reviews": {"shopper": ("i8", -1), "item": ("i8", -1), "time": ("i8", 0), "rating": ("i8", 0)},
    "complaints": {"shopper": ("i8", -1), "item": ("i8", -1), "time": ("i8", 0), "kind": ("i8", 0)},
}  # fmt: skip


class Log:
    """What happened, table by table, in blocks of columns."""

    def __init__(self) -> None:
        self._blocks: dict[str, list[Block]] = {}

    def add(self, table: str, rows: int, **columns: Array | int | float) -> None:
        """Add `rows` rows; a column given as one value holds it in every row, one that is left out is empty."""
        if rows:
            block = {
                name: np.broadcast_to(np.asarray(columns.pop(name, empty)), (rows,)).astype(kind)
                for name, (kind, empty) in GROWING[table].items()
            }
            assert not columns, columns
            self._blocks.setdefault(table, []).append(block)

    def take(self, table: str) -> Block:
        """All rows of a table in the order of their times; they are then no longer here."""
        blocks = self._blocks.pop(table, [])
        whole = {
            name: np.concatenate([np.empty(0, kind), *(block[name] for block in blocks)])
            for name, (kind, _) in GROWING[table].items()
        }
        order = np.argsort(whole["time"], kind="stable")
        return {name: column[order] for name, column in whole.items()}


def moment(day: int, second: Array) -> Array:
    """Microseconds from the first day's midnight."""
    return np.asarray((day * 86_400 + np.asarray(second)) * 1_000_000).astype(np.int64)
