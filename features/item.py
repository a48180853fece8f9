"""Features of items: how recently, how often and to how many they sell, at what price, repeated or on promotion."""

from __future__ import annotations

import pandas as pd

from features.history import History, Rows
from features.tables import ITEM

_QUERY = """
WITH base AS (
    SELECT item_id,
        min(age) AS recency_days,
        max(age) AS age_days,
        count(*) FILTER (WHERE age <= 7) AS sales_7d,
        count(*) FILTER (WHERE age <= 30) AS sales_30d,
        count(*) FILTER (WHERE age <= 90) AS sales_90d,
        count(DISTINCT shopper_id) FILTER (WHERE age <= 90) AS shoppers_90d,
        coalesce(sum(amount) FILTER (WHERE age <= 90), 0) / 1e6 AS spend_90d,
        median(unit) FILTER (WHERE age <= 365) / 1e6 AS unit_price,
        median(level) FILTER (WHERE age <= 365) AS price_level,
        count(*) FILTER (WHERE age <= 90 AND promoted) / nullif(count(*) FILTER (WHERE age <= 90), 0) AS promoted_share,
        count(*) FILTER (WHERE age <= 90 AND discounted)
            / nullif(count(discounted) FILTER (WHERE age <= 90), 0) AS discount_share_90d
    FROM past GROUP BY item_id
), repeats AS (
    SELECT item_id, count(*) FILTER (WHERE visits > 1) / count(*) AS repeat_share
    FROM (SELECT item_id, shopper_id, count(DISTINCT visit) AS visits FROM past WHERE age <= 365 GROUP BY ALL)
    GROUP BY item_id
)
SELECT base.* EXCLUDE (promoted_share),
    repeat_share,
    CASE WHEN (SELECT known FROM promotion_facts) THEN promoted_share END AS promotion_share_90d
FROM base LEFT JOIN repeats USING (item_id)
"""


def compute(history: History, as_of: pd.Timestamp) -> pd.DataFrame:
    """Return the view `item` at `as_of`: one row an item sold before it."""
    return history.features(ITEM, _QUERY, as_of)


def item_features(
    interactions: pd.DataFrame,
    items: pd.DataFrame | None,
    as_of: pd.Timestamp,
    *,
    promotions: Rows | None = None,
    currency: str = "USD",
) -> pd.DataFrame:
    """Return `compute` for plain tables; the arguments are those of `History`."""
    with History(interactions, items, promotions=promotions, currency=currency) as history:
        return compute(history, as_of)
