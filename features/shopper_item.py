"""Features of a shopper with an item: when a repeat is due, how much of it, at what price, under promotion or not."""

from __future__ import annotations

import pandas as pd

from features.history import History, Rows
from features.tables import SHOPPER_ITEM

WITHIN_DAYS = 90
MOST_ITEMS = 30

_QUERY = """
WITH pairs AS (
    SELECT shopper_id, item_id,
        min(age) AS recency_days,
        count(DISTINCT visit) AS visits_365d,
        coalesce(sum(amount), 0) / 1e6 AS spend_365d,
        median(unit) AS own_unit,
        count(*) FILTER (WHERE promoted) / count(*) AS promoted_share
    FROM past WHERE age <= 365 GROUP BY shopper_id, item_id
    HAVING min(age) <= $within_days
    QUALIFY row_number() OVER (PARTITION BY shopper_id ORDER BY count(DISTINCT visit) DESC, min(age), item_id)
        <= $most_items
), gaps AS (
    SELECT shopper_id, item_id, (max(age) - min(age)) / (count(*) - 1) AS gap_days
    FROM (SELECT shopper_id, item_id, visit, max(age) AS age FROM past SEMI JOIN pairs USING (shopper_id, item_id)
          WHERE age <= 365 GROUP BY ALL)
    GROUP BY shopper_id, item_id HAVING count(*) > 1
), visits AS (
    SELECT shopper_id, count(DISTINCT visit) AS all_visits FROM past WHERE age <= 365 GROUP BY shopper_id
), units AS (
    SELECT item_id, median(unit) AS unit FROM past WHERE age <= 365 GROUP BY item_id
)
SELECT shopper_id, item_id, recency_days, visits_365d, spend_365d,
    visits_365d / all_visits AS visit_share,
    gap_days,
    recency_days / nullif(gap_days, 0) AS due_ratio,
    own_unit / unit AS price_level,
    CASE WHEN (SELECT known FROM promotion_facts) THEN promoted_share END AS promotion_share
FROM pairs JOIN visits USING (shopper_id) LEFT JOIN units USING (item_id) LEFT JOIN gaps USING (shopper_id, item_id)
"""


def compute(
    history: History, as_of: pd.Timestamp, *, within_days: int = WITHIN_DAYS, most_items: int = MOST_ITEMS
) -> pd.DataFrame:
    """Return the view `shopper_item` at `as_of`: one row a pair that still matters.

    The rule that keeps the table in bounds: pairs bought within the last `within_days` days (at most 365), and of
    these the `most_items` of each shopper with the most visits, then the latest purchase, then the first id.
    """
    return history.features(SHOPPER_ITEM, _QUERY, as_of, within_days=within_days, most_items=most_items)


def shopper_item_features(
    interactions: pd.DataFrame,
    items: pd.DataFrame | None,
    as_of: pd.Timestamp,
    *,
    within_days: int = WITHIN_DAYS,
    most_items: int = MOST_ITEMS,
    promotions: Rows | None = None,
    currency: str = "USD",
) -> pd.DataFrame:
    """Return `compute` for plain tables; the arguments are those of `History` and of `compute`."""
    with History(interactions, items, promotions=promotions, currency=currency) as history:
        return compute(history, as_of, within_days=within_days, most_items=most_items)
