"""Topics that shoppers and neighbourhoods are drawn to, by what was watched; the queries behind two views.

A topic is a tag of a content; a content without tags stands for the categories of the items it names. The engagement of
an event (`features.engagement`) halves every `HALF_LIFE_DAYS` and is shared equally among its content's topics. Summed
over events it is a shopper's affinity to a topic; over the shopper's whole, the topic's share.

A neighbourhood is the shoppers of one home store. Its share of a topic is the mean over its shoppers who watched, each
of whom counts as one, shrunk towards the chain's mean by as much as differences between neighbourhoods are chance:
share = (n × own + m × chain) / (n + m), m = variance within / variance between (one-way random effects; without any
variance between: the chain's share). What fewer than `FEWEST` shoppers are behind is never shown: a neighbourhood of
fewer has no row, a topic of fewer there has the chain's share, and one of fewer in the whole chain is left out.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from features.engagement import ENGAGEMENT, HALF_LIFE_DAYS
from features.history import History

FEWEST = 5  # distinct shoppers behind anything that is told of a neighbourhood
# Engagement and shares are counted in whole billionths, so that no sum depends on the order of rows.
SCALE = 1_000_000_000

# `topics`: topics of a content. `affinity`: of shoppers and topics, in billionths.
AFFINITY = f"""
told AS (
    SELECT content_id, item_ids, duration_seconds,
        list_distinct(list_filter(coalesce(tags, []::VARCHAR[]), lambda word: word <> '')) AS tags
    FROM contents
), categories AS (
    SELECT item_id, nullif(array_to_string(string_split(category, '/')[1:2], '/'), '') AS topic FROM items
), topics AS (
    SELECT content_id, unnest(tags) AS topic FROM told
    UNION
    SELECT content_id, topic FROM (SELECT content_id, unnest(item_ids) AS item_id FROM told WHERE len(tags) = 0)
        JOIN categories USING (item_id) WHERE topic IS NOT NULL
), engaged AS (
    SELECT shopper_id, content_id, sum(CAST(round(
        engagement * pow(0.5, ($as_of - t) / 86400e6 / {HALF_LIFE_DAYS}) * {SCALE}) AS HUGEINT)) AS amount
    FROM (SELECT shopper_id, content_id, epoch_us(event_time) AS t, {ENGAGEMENT} AS engagement
          FROM watching JOIN told USING (content_id))
    WHERE t < $as_of AND engagement > 0 GROUP BY shopper_id, content_id
), affinity AS (
    SELECT shopper_id, topic, CAST(sum(amount // many) AS BIGINT) AS amount
    FROM engaged JOIN topics USING (content_id)
    JOIN (SELECT content_id, count(*) AS many FROM topics GROUP BY content_id) USING (content_id)
    GROUP BY shopper_id, topic HAVING sum(amount // many) > 0
)"""  # noqa: S608 - only constants are put in

_SHOPPERS = f"""
WITH {AFFINITY}
SELECT shopper_id, topic, amount / {SCALE}.0 AS affinity, amount / sum(amount) OVER (PARTITION BY shopper_id) AS share
FROM affinity ORDER BY shopper_id, amount DESC, topic
"""  # noqa: S608 - only constants are put in

# A shopper whose home store is not stated belongs where most of their visits with a purchase were.
_NEIGHBOURHOODS = f"""
WITH {AFFINITY}, usual AS (
    SELECT shopper_id, store_id FROM past WHERE store_id IS NOT NULL GROUP BY shopper_id, store_id
    QUALIFY row_number() OVER (PARTITION BY shopper_id ORDER BY count(DISTINCT visit) DESC, store_id) = 1
), homes AS (
    SELECT shopper_id, coalesce(shoppers.home_store_id, usual.store_id) AS store_id
    FROM usual FULL JOIN (SELECT shopper_id, max(home_store_id) AS home_store_id FROM shoppers GROUP BY shopper_id)
        AS shoppers USING (shopper_id)
), shares AS (
    SELECT store_id, shopper_id, topic, CAST(amount * {SCALE}::HUGEINT
        // CAST(sum(amount) OVER (PARTITION BY shopper_id) AS HUGEINT) AS BIGINT) AS share
    FROM affinity JOIN homes USING (shopper_id) WHERE store_id IS NOT NULL
)
SELECT store_id, topic, count(*) AS shoppers, sum(share) AS total,
    sum(CAST(share AS HUGEINT) * share) AS squares, any_value(watchers) AS watchers
FROM shares
JOIN (SELECT store_id, count(DISTINCT shopper_id) AS watchers FROM shares GROUP BY store_id) USING (store_id)
GROUP BY store_id, topic ORDER BY store_id, topic
"""  # noqa: S608 - only constants are put in


def shopper_topics(history: History, as_of: pd.Timestamp) -> pd.DataFrame:
    """Affinities before `as_of`: shopper_id, topic, affinity (of whole views), share (of the shopper's; they sum to 1).

    Ordered by shopper, then the strongest first.
    """
    return history.table(_SHOPPERS, as_of)


def neighbourhood_topics(history: History, as_of: pd.Timestamp) -> pd.DataFrame:
    """Topics of each neighbourhood before `as_of`.

    Returns:
        store_id, watchers (shoppers there who watched), topic, shoppers (those behind the topic there; 0: fewer than
        `FEWEST`, not told), share (shrunk), lift (share over the chain's); ordered by store, then the highest share.
    """
    return _shrunk(history.table(_NEIGHBOURHOODS, as_of))


def _shrunk(counts: pd.DataFrame) -> pd.DataFrame:
    """Shrink the means of `_NEIGHBOURHOODS`; every neighbourhood gets every topic that may be told."""
    counts = counts.astype({"total": "float64", "squares": "float64", "shoppers": "int64", "watchers": "int64"})
    number = counts.drop_duplicates("store_id").set_index("store_id")["watchers"].astype("float64")
    mean = counts.pivot(index="store_id", columns="topic", values="total").fillna(0.0)
    mean = mean.loc[number.index].div(number, axis=0) / SCALE
    chain = mean.mul(number, axis=0).sum() / max(number.sum(), 1.0)
    strength = _strength(mean, chain, number, counts["squares"].sum() / SCALE**2)
    trust = number / (number + strength) if np.isfinite(strength) else number * 0.0
    behind = counts.pivot(index="store_id", columns="topic", values="shoppers").fillna(0).loc[number.index]
    shown = behind.where(behind >= FEWEST, 0)
    share = mean.mul(trust, axis=0).add(np.outer(1 - trust, chain))
    usual = pd.DataFrame(np.tile(chain, (len(mean), 1)), index=mean.index, columns=mean.columns)
    share = share.where(shown > 0, usual)
    told = behind.columns[behind.sum() >= FEWEST]
    long = pd.DataFrame(
        {"shoppers": shown[told].stack(), "share": share[told].stack(), "lift": (share / chain)[told].stack()}
    ).reset_index()
    long.insert(1, "watchers", long["store_id"].map(number))
    long = long[long["watchers"] >= FEWEST]
    return long.sort_values(["store_id", "share", "topic"], ascending=[True, False, True], ignore_index=True)


def _strength(mean: pd.DataFrame, chain: pd.Series, number: pd.Series, squares: float) -> float:
    """How many shoppers the chain's mean is worth, over all topics together; infinite: no neighbourhood differs."""
    whole, stores = float(number.sum()), len(number)
    if stores < 2 or whole <= stores:
        return float("inf")
    within = (squares - float((mean**2).mul(number, axis=0).to_numpy().sum())) / (whole - stores)
    apart = float(((mean - chain) ** 2).mul(number, axis=0).to_numpy().sum()) / (stores - 1)
    typical = (whole - float((number**2).sum()) / whole) / (stores - 1)
    between = (apart - within) / typical
    return within / between if between > 0 else float("inf")
