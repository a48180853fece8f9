"""Returns cancel purchases: the one rule, for training, features, best-sellers and attribution alike.

A return takes back what the same shopper bought of the same item: the lines of its order where it names one, else the
newest line that is left, at or before its time. It takes as many as its quantity says (none given: one), from line to
line, and never more than was bought. A return is known from its own time on: at a moment before it the purchase stands.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

KEYS = ["shopper_id", "item_id"]
COLUMNS = [*KEYS, "event_time", "quantity", "order_id"]


def cancelled(purchases: pd.DataFrame, returns: pd.DataFrame) -> pd.DataFrame:
    """Say which return takes back how much of which line.

    Args:
        purchases, returns: shopper_id, item_id, event_time, and where known quantity and order_id.

    Returns:
        One row for each return and line that it takes from: row (position in `purchases`), returned_at, quantity. What
        was known at a moment are the rows with returned_at before it; the order of the rows given does not matter.
    """
    empty = pd.DataFrame({"row": np.zeros(0, np.int64), "returned_at": returns["event_time"].iloc[:0],
                          "quantity": np.zeros(0)})  # fmt: skip
    if returns.empty or purchases.empty:
        return empty
    pairs = pd.MultiIndex.from_frame(returns[KEYS])
    touched = np.flatnonzero(pd.MultiIndex.from_frame(purchases[KEYS]).isin(pairs))
    bought = _events(purchases.iloc[touched], touched, np.zeros(len(touched), np.int64))
    back = _events(returns, np.arange(len(returns)), np.ones(len(returns), np.int64))
    events = pd.concat([bought, back], ignore_index=True)
    # Of one moment: purchases first, then by what is in the rows, so that nothing depends on the order they came in.
    events = events.sort_values([*KEYS, "event_time", "kind", "order_id", "quantity", "rest"], ignore_index=True)
    found: list[tuple[int, Any, float]] = []
    lines: dict[tuple[str, str], list[list[Any]]] = defaultdict(list)
    for shopper, item, time, quantity, order, kind, row, _ in events.itertuples(index=False, name=None):
        stack = lines[shopper, item]
        if not kind:
            stack.append([row, quantity, order])
            continue
        for line in reversed(stack):
            if quantity <= 0:
                break
            if line[1] > 0 and (not order or order == line[2]):
                taken = min(quantity, line[1])
                line[1] -= taken
                quantity -= taken
                found.append((line[0], time, taken))
    return pd.DataFrame(found, columns=["row", "returned_at", "quantity"]) if found else empty


def left(purchases: pd.DataFrame, returns: pd.DataFrame) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64]]:
    """Whether something is left of each line, and how much was taken back of it (0 where nothing was).

    A line without a quantity, or of quantity 0, is one piece.
    """
    taken = np.zeros(len(purchases))
    back = cancelled(purchases, returns)
    np.add.at(taken, back["row"].to_numpy(np.int64), back["quantity"].to_numpy(np.float64))
    return taken < _pieces(purchases) - 1e-9, taken


def _events(table: pd.DataFrame, rows: npt.NDArray[np.int64], kind: npt.NDArray[np.int64]) -> pd.DataFrame:
    order = table["order_id"].fillna("") if "order_id" in table else ""
    made = table[[*KEYS, "event_time"]].assign(quantity=_pieces(table), order_id=order, kind=kind, row=rows)
    others = table[sorted(set(table.columns) - set(COLUMNS))].astype(str)
    made["rest"] = others.agg("|".join, axis=1) if len(others.columns) and len(others) else ""
    return made


def _pieces(table: pd.DataFrame) -> npt.NDArray[np.float64]:
    """How many pieces each line is: its quantity, and one where that is missing or 0."""
    if "quantity" not in table:
        return np.ones(len(table))
    quantity: npt.NDArray[np.float64] = table["quantity"].to_numpy(np.float64, na_value=np.nan)
    return np.where(np.isfinite(quantity) & (quantity > 0), quantity, 1.0)
