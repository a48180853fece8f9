"""How much one event says of a shopper's interest in a content: the formula, in this one place.

| event | engagement |
|---|---|
| `view`, `content_view` | the part watched: dwell / duration, at most 1 (a longer dwell is an open page) |
| … of a content without a duration | dwell / `WHOLE_SECONDS`, at most 1 |
| … without a dwell | `UNTIMED`: it was opened, and nobody knows for how long |
| … left within `BOUNCE_SECONDS`, before half of it | 0: a bounce |
| `like`, `comment` | `REACTION` |
| `share` | `SHARE` |
| anything else (an impression, a tap that leads to it) | 0 |

What lies back counts less: each event counts engagement × ½ ** (age / half-life). The weights are a convention, stated
and not tuned: what engagement is worth for sales is learned where it is used.
"""

from __future__ import annotations

HALF_LIFE_DAYS = 30.0
WHOLE_SECONDS = 30.0
BOUNCE_SECONDS = 3.0
UNTIMED = 0.5
REACTION = 2.0
SHARE = 3.0
VIEWS = ("view", "content_view")

# SQL that duckdb and polars both read, over event_type, dwell_seconds and duration_seconds.
ENGAGEMENT = f"""CASE
    WHEN event_type = 'share' THEN {SHARE}
    WHEN event_type IN ('like', 'comment') THEN {REACTION}
    WHEN event_type NOT IN ('view', 'content_view') THEN 0.0
    WHEN dwell_seconds IS NULL THEN {UNTIMED}
    WHEN dwell_seconds < {BOUNCE_SECONDS}
        AND coalesce(dwell_seconds / nullif(duration_seconds, 0.0), 0.0) < 0.5 THEN 0.0
    ELSE least(dwell_seconds / coalesce(nullif(duration_seconds, 0.0), {WHOLE_SECONDS}), 1.0)
END"""
