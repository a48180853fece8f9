"""Features of shoppers: how recently, how often, how much, of what, at what price level, how drawn by promotions."""

from __future__ import annotations

import pandas as pd

from features.history import History, Rows
from features.tables import SHOPPER

_QUERY = """
WITH base AS (
    SELECT shopper_id,
        min(age) AS recency_days,
        max(age) AS tenure_days,
        count(DISTINCT visit) FILTER (WHERE age <= 30) AS visits_30d,
        count(DISTINCT visit) FILTER (WHERE age <= 90) AS visits_90d,
        count(DISTINCT item_id) FILTER (WHERE age <= 90) AS items_90d,
        coalesce(sum(amount) FILTER (WHERE age <= 30), 0) / 1e6 AS spend_30d,
        coalesce(sum(amount) FILTER (WHERE age <= 90), 0) / 1e6 AS spend_90d,
        median(level) FILTER (WHERE age <= 365) AS price_level,
        count(*) FILTER (WHERE age <= 90 AND promoted) / nullif(count(*) FILTER (WHERE age <= 90), 0) AS promoted_share,
        count(*) FILTER (WHERE age <= 90 AND discounted)
            / nullif(count(discounted) FILTER (WHERE age <= 90), 0) AS discount_share_90d
    FROM past GROUP BY shopper_id
), gaps AS (
    SELECT shopper_id, (max(age) - min(age)) / (count(*) - 1) AS days_between_visits
    FROM (SELECT shopper_id, visit, max(age) AS age FROM past WHERE age <= 365 GROUP BY shopper_id, visit)
    GROUP BY shopper_id HAVING count(*) > 1
), counts AS (
    SELECT shopper_id, category, count(*) AS n FROM past
    WHERE age <= 365 AND category IS NOT NULL GROUP BY shopper_id, category
), tops AS (
    SELECT shopper_id, category AS top_category, n / sum(n) OVER mine AS top_category_share
    FROM counts WINDOW mine AS (PARTITION BY shopper_id)
    QUALIFY row_number() OVER (PARTITION BY shopper_id ORDER BY n DESC, category) = 1
), redemptions AS (
    SELECT shopper_id, count(*) AS redemptions_365d FROM redeems
    WHERE t < $as_of AND t >= $as_of - 365 * 86400000000 GROUP BY shopper_id
)
SELECT base.* EXCLUDE (promoted_share),
    days_between_visits,
    spend_90d / nullif(visits_90d, 0) AS basket_value_90d,
    top_category,
    top_category_share,
    CASE WHEN (SELECT known FROM promotion_facts) THEN promoted_share END AS promotion_share_90d,
    coalesce(redemptions_365d, 0) AS redemptions_365d
FROM base LEFT JOIN gaps USING (shopper_id) LEFT JOIN tops USING (shopper_id) LEFT JOIN redemptions USING (shopper_id)
"""


def compute(history: History, as_of: pd.Timestamp) -> pd.DataFrame:
    """Return the view `shopper` at `as_of`: one row a shopper with a purchase before it."""
    return history.features(SHOPPER, _QUERY, as_of)


def shopper_features(
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
