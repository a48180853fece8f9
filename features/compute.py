"""Which function computes which view."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from features import content_affinity, item, live, neighbourhood_content, shopper, shopper_item, store_features
from features.history import History

COMPUTE: dict[str, Callable[[History, pd.Timestamp], pd.DataFrame]] = {
    "shopper": shopper.compute,
    "item": item.compute,
    "store": store_features.compute,
    "shopper_item": shopper_item.compute,
    "content_affinity": content_affinity.compute,
    "neighbourhood_content": neighbourhood_content.compute,
    "shopper_live": live.compute,
}
