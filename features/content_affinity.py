"""Features of shoppers from the contents they watched: how recently, how whole, on what, and what they then bought."""

from __future__ import annotations

import pandas as pd

from features.history import History
from features.tables import CONTENT_AFFINITY
from features.topics import AFFINITY, SCALE

_QUERY = f"""
WITH {AFFINITY}, events AS (
    SELECT shopper_id, content_id, epoch_us(event_time) AS t, ($as_of - epoch_us(event_time)) / 86400e6 AS age,
        dwell_seconds, event_type IN ('content_view', 'view') AS is_view
    FROM watching
    WHERE epoch_us(event_time) < $as_of AND event_type IN ('content_view', 'view', 'like', 'comment', 'share')
), base AS (
    SELECT shopper_id,
        min(age) AS content_recency_days,
        count(*) FILTER (WHERE is_view AND age <= 30) AS content_views_30d,
        count(*) FILTER (WHERE NOT is_view AND age <= 90) AS content_reactions_90d,
        coalesce(sum(CAST(round(dwell_seconds * 1e6) AS HUGEINT)) FILTER (WHERE is_view AND age <= 90), 0) / 1e6
            AS content_dwell_90d
    FROM events GROUP BY shopper_id
), completed AS (
    SELECT shopper_id, sum(CAST(round(least(dwell_seconds / duration_seconds, 1.0) * {SCALE}) AS BIGINT))
        / {SCALE}.0 / count(*) AS content_completion_90d
    FROM events JOIN told USING (content_id)
    WHERE is_view AND age <= 90 AND dwell_seconds IS NOT NULL AND duration_seconds > 0 GROUP BY shopper_id
), totals AS (
    SELECT shopper_id, sum(amount) / {SCALE}.0 AS content_engagement FROM engaged GROUP BY shopper_id
), ranked AS (
    SELECT shopper_id, topic, amount / sum(amount) OVER mine AS share,
        row_number() OVER (PARTITION BY shopper_id ORDER BY amount DESC, topic) AS place
    FROM affinity WINDOW mine AS (PARTITION BY shopper_id)
), tops AS (
    SELECT shopper_id,
        max(topic) FILTER (WHERE place = 1) AS content_topic_1,
        max(share) FILTER (WHERE place = 1) AS content_topic_1_share,
        max(topic) FILTER (WHERE place = 2) AS content_topic_2,
        max(share) FILTER (WHERE place = 2) AS content_topic_2_share,
        max(topic) FILTER (WHERE place = 3) AS content_topic_3,
        max(share) FILTER (WHERE place = 3) AS content_topic_3_share
    FROM ranked WHERE place <= 3 GROUP BY shopper_id
), shown AS (
    SELECT shopper_id, item_id, min(t) AS t
    FROM (SELECT shopper_id, t, unnest(item_ids) AS item_id FROM events JOIN contents USING (content_id)
          WHERE is_view AND age <= 90)
    GROUP BY shopper_id, item_id
), bought AS (
    SELECT shopper_id, count(DISTINCT item_id) AS content_items_bought_90d
    FROM past JOIN shown USING (shopper_id, item_id) WHERE past.t > shown.t GROUP BY shopper_id
)
SELECT base.*, content_completion_90d, coalesce(content_engagement, 0.0) AS content_engagement,
    content_topic_1, content_topic_1_share, content_topic_2, content_topic_2_share, content_topic_3,
    content_topic_3_share, coalesce(content_items_bought_90d, 0) AS content_items_bought_90d
FROM base LEFT JOIN completed USING (shopper_id) LEFT JOIN totals USING (shopper_id) LEFT JOIN tops USING (shopper_id)
LEFT JOIN bought USING (shopper_id)
"""  # noqa: S608 - only constants are put in


def compute(history: History, as_of: pd.Timestamp) -> pd.DataFrame:
    """Return the view `content_affinity` at `as_of`: one row a shopper who did anything with a content before it."""
    return history.features(CONTENT_AFFINITY, _QUERY, as_of)


def content_affinity_features(
    interactions: pd.DataFrame, contents: pd.DataFrame | None, content_views: pd.DataFrame, as_of: pd.Timestamp
) -> pd.DataFrame:
    """Return `compute` for plain tables; the arguments are those of `History`."""
    with History(interactions, contents=contents, content_views=content_views) as history:
        return compute(history, as_of)
