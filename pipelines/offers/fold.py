"""Candidates from what a shopper does now: the champion's own model, copied beside its slates, folds the events in."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.live import CONTENT_TYPES, LiveEvent, State, micros
from models.base import Recommender
from models.registry import load
from pipelines.packed import REASON_CODES, Ranked
from pipelines.shop_snapshot import Shop

# A return takes back what was bought; what was redeemed is told by its purchase.
_RETURN, _BOUGHT = "return", "purchase"
_NUMBERS = itertools.count(1)


class FoldIn:
    """The champion's model, loaded when it is first needed; for one thread at a time.

    Args:
        folder: the snapshot's copy of the model.
        shop: the shop's snapshot.
        to_shop: for each item of the model its position in the shop, -1 where the shop does not know it.
        count: how many candidates a shopper gets.
    """

    def __init__(self, folder: Path, shop: Shop, to_shop: npt.NDArray[np.int32], count: int) -> None:
        self._folder, self._shop, self._to_shop, self._count = folder, shop, to_shop, count
        self.number = next(_NUMBERS)  # tells this one from any other of the process
        self._model: Recommender | None = None
        self._loading = threading.Lock()

    def model(self) -> Recommender:
        """The trained recommender.

        Raises:
            FacingsError: it is damaged or of another version.
        """
        with self._loading:
            if self._model is None:
                self._model = load(self._folder)
            return self._model

    def rehearse(self) -> None:
        """Load the model and fold a stranger's event in once: what a first time costs is then paid.

        Raises:
            UsageError, FacingsError: as `candidates`.
        """
        model = self.model()
        for item in model.item_ids[self._to_shop >= 0][:1]:
            moment = model.as_of.to_pydatetime()
            self.candidates("", (LiveEvent(micros(moment), "", "view", str(item)),), moment)

    def candidates(self, shopper_id: str, state: State, now: datetime) -> Ranked | None:
        """A shopper's candidates by their newest events; None: no event tells the model anything new.

        Of a shopper whose history the model has, only events since the moment of training count; of any other, all
        do. What was bought within the last day goes to the end: they have it.

        Raises:
            UsageError: a part of the model cannot fold in.
            FacingsError: the model is damaged.
        """
        model = self.model()
        row = model.shopper_ids.get_indexer(pd.Index([shopper_id]))[0]
        known = row >= 0 and model.history.indptr[row] < model.history.indptr[row + 1]
        events = self._events(shopper_id, state, micros(model.as_of.to_pydatetime()) if known else 0)
        if not model.item_ids.isin(events["item_id"]).any():
            return None
        moment = max(pd.Timestamp(now), events["event_time"].max())
        lists = model.fold_in(events, self._count, now=moment)
        items = model.item_ids.get_indexer(pd.Index(lists["item_id"]))
        places = self._to_shop[items]
        recent = events["event_time"] > moment - pd.Timedelta(days=1)
        had = lists["item_id"].isin(events.loc[recent & (events["event_type"] == _BOUGHT), "item_id"]).to_numpy()
        order = np.argsort(had, kind="stable")
        order = order[places[order] >= 0]
        scores = lists["score"].to_numpy(np.float32)
        reasons = lists["reason"].map(REASON_CODES).to_numpy().astype(np.uint8)
        return Ranked(places[order], scores[order], reasons[order])

    def _events(self, shopper_id: str, state: State, since: int) -> pd.DataFrame:
        """The events as a recommender takes them: what was returned was not bought, a content stands for its items."""
        rows: list[tuple[str, str, int]] = []
        for event in state:
            if event.time < since:
                continue
            if event.event_type == _RETURN:
                rows = [row for row in rows if row[:2] != (event.item_id, _BOUGHT)]
            elif event.event_type in CONTENT_TYPES:
                rows += [(item, event.event_type, event.time) for item in self._shown(event)]
            else:
                rows.append((event.item_id, event.event_type, event.time))
        table = pd.DataFrame(rows, columns=["item_id", "event_type", "event_time"])
        table["event_time"] = pd.to_datetime(table["event_time"].astype("int64"), unit="us", utc=True)
        return table.assign(shopper_id=shopper_id)

    def _shown(self, event: LiveEvent) -> Sequence[str]:
        """The items of a content; the event may as well name an item itself."""
        return self._shop.content_items(event.item_id) or [event.item_id]
