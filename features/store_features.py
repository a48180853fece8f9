"""Features of stores: visits, shoppers, takings, what sells most, at what price level, how much under promotion."""

from __future__ import annotations

import pandas as pd

from features.history import History, Rows
from features.tables import STORE

_QUERY = """
WITH here AS (SELECT * FROM past WHERE store_id IS NOT NULL),
base AS (
    SELECT store_id,
        min(age) AS recency_days,
        count(DISTINCT visit) FILTER (WHERE age <= 30) AS visits_30d,
        count(DISTINCT shopper_id) FILTER (WHERE age <= 90) AS shoppers_90d,
        count(DISTINCT item_id) FILTER (WHERE age <= 90) AS items_90d,
        coalesce(sum(amount) FILTER (WHERE age <= 30), 0) / 1e6 AS spend_30d,
        median(level) FILTER (WHERE age <= 90) AS price_level,
        count(*) FILTER (WHERE age <= 90 AND promoted) / nullif(count(*) FILTER (WHERE age <= 90), 0) AS promoted_share
    FROM here GROUP BY store_id
), counts AS (
    SELECT store_id, category, count(*) AS n FROM here
    WHERE age <= 90 AND category IS NOT NULL GROUP BY store_id, category
), tops AS (
    SELECT store_id, category AS top_category, n / sum(n) OVER mine AS top_category_share
    FROM counts WINDOW mine AS (PARTITION BY store_id)
    QUALIFY row_number() OVER (PARTITION BY store_id ORDER BY n DESC, category) = 1
)
SELECT base.* EXCLUDE (promoted_share),
    spend_30d / nullif(visits_30d, 0) AS basket_value_30d,
    top_category,
    top_category_share,
    CASE WHEN (SELECT known FROM promotion_facts) THEN promoted_share END AS promotion_share_90d
FROM base LEFT JOIN tops USING (store_id)
"""


def compute(history: History, as_of: pd.Timestamp) -> pd.DataFrame:
    """Return the view `store` at `as_of`: one row a store with a sale before it; lines without a store are left out."""
    return history.features(STORE, _QUERY, as_of)


def store_features(
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
