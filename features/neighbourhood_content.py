"""Features of neighbourhoods from the contents that their shoppers watch: the topics they are drawn to."""

from __future__ import annotations

import pandas as pd

from features.history import History, dated
from features.tables import NEIGHBOURHOOD_CONTENT
from features.topics import neighbourhood_topics

_TOPICS = 3


def compute(history: History, as_of: pd.Timestamp) -> pd.DataFrame:
    """Return the view `neighbourhood_content` at `as_of`: one row a home store with enough shoppers who watched."""
    topics = neighbourhood_topics(history, as_of)
    found = topics[["store_id", "watchers"]].drop_duplicates("store_id").set_index("store_id")
    frame = found.rename(columns={"watchers": "neighbourhood_watchers"})
    rank = topics.groupby("store_id").cumcount()
    for place in range(_TOPICS):
        part = topics[rank == place].set_index("store_id")
        frame[f"neighbourhood_topic_{place + 1}"] = part["topic"].reindex(frame.index)
        frame[f"neighbourhood_topic_{place + 1}_share"] = part["share"].reindex(frame.index)
    order = topics.sort_values(["store_id", "lift", "topic"], ascending=[True, False, True], kind="stable")
    own = order[(order["shoppers"] > 0) & (order["lift"] > 1)].drop_duplicates("store_id").set_index("store_id")
    frame["neighbourhood_own_topic"] = own["topic"].reindex(frame.index)
    frame["neighbourhood_own_topic_lift"] = own["lift"].reindex(frame.index)
    return dated(NEIGHBOURHOOD_CONTENT, frame.reset_index(), as_of)
