"""Features of shoppers from the contents they viewed: how recently, how long, on what, and what they then bought."""

from __future__ import annotations

import pandas as pd

from features.history import History
from features.tables import CONTENT_AFFINITY

_QUERY = """
WITH seen AS (
    SELECT shopper_id, content_id, epoch_us(event_time) AS t, ($as_of - epoch_us(event_time)) / 86400e6 AS age,
        CAST(round(dwell_seconds * 1e6) AS BIGINT) AS dwell
    FROM content_views
    WHERE epoch_us(event_time) < $as_of AND coalesce(event_type, 'content_view') IN ('content_view', 'view')
), base AS (
    SELECT shopper_id,
        min(age) AS content_recency_days,
        count(*) FILTER (WHERE age <= 30) AS content_views_30d,
        coalesce(sum(dwell) FILTER (WHERE age <= 90), 0) / 1e6 AS content_dwell_90d
    FROM seen GROUP BY shopper_id
), counts AS (
    SELECT shopper_id, tag, count(*) AS n
    FROM (SELECT shopper_id, unnest(list_distinct(tags)) AS tag
          FROM seen JOIN contents USING (content_id) WHERE age <= 90)
    WHERE tag <> '' GROUP BY shopper_id, tag
), tops AS (
    SELECT shopper_id, tag AS top_content_tag, n / sum(n) OVER mine AS top_content_tag_share
    FROM counts WINDOW mine AS (PARTITION BY shopper_id)
    QUALIFY row_number() OVER (PARTITION BY shopper_id ORDER BY n DESC, tag) = 1
), shown AS (
    SELECT shopper_id, item_id, min(t) AS t
    FROM (SELECT shopper_id, t, unnest(item_ids) AS item_id FROM seen JOIN contents USING (content_id) WHERE age <= 90)
    GROUP BY shopper_id, item_id
), bought AS (
    SELECT shopper_id, count(DISTINCT item_id) AS content_items_bought_90d
    FROM past JOIN shown USING (shopper_id, item_id) WHERE past.t > shown.t GROUP BY shopper_id
)
SELECT base.*, top_content_tag, top_content_tag_share,
    coalesce(content_items_bought_90d, 0) AS content_items_bought_90d
FROM base LEFT JOIN tops USING (shopper_id) LEFT JOIN bought USING (shopper_id)
"""


def compute(history: History, as_of: pd.Timestamp) -> pd.DataFrame:
    """Return the view `content_affinity` at `as_of`: one row a shopper who viewed a content before it."""
    return history.features(CONTENT_AFFINITY, _QUERY, as_of)


def content_affinity_features(
    interactions: pd.DataFrame, contents: pd.DataFrame | None, content_views: pd.DataFrame, as_of: pd.Timestamp
) -> pd.DataFrame:
    """Return `compute` for plain tables; the arguments are those of `History`."""
    with History(interactions, contents=contents, content_views=content_views) as history:
        return compute(history, as_of)
