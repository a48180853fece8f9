"""Whatever comes late, is corrected or withdrawn, and in whatever order moments are computed: the store is right.

Feast's answers, offline and online, are compared with a reference in plain Python that goes through the events one by
one and knows nothing of the code under test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from configs.clock import FixedClock
from configs.settings import load_settings
from features.compute import COMPUTE
from features.history import History
from features.store import FeatureStore
from features.tables import SERVICES, TTL_DAYS, VIEWS

START = pd.Timestamp("2024-01-01", tz="UTC")
DAY, DOT = pd.Timedelta(days=1), pd.Timedelta(microseconds=7)
MOMENTS = [START + day * DAY + DOT for day in (100, 120, 130, 160)]
SHOPPERS, ITEMS, STORES = ["ann", "bob"], ["u", "v", "w"], ["s1", "s2"]
Event = dict[str, Any]
Known = Callable[[Event], bool]

EVENTS = st.builds(
    lambda shopper, item, store, kind, day, second, price: {
        "shopper_id": shopper,
        "item_id": item,
        "store_id": store,
        "event_type": kind,
        "event_time": START + day * DAY + second,
        "price": price,
    },
    st.sampled_from(SHOPPERS),
    st.sampled_from(ITEMS),
    st.sampled_from(STORES),
    st.sampled_from(["purchase", "purchase", "content_view"]),
    st.one_of(st.integers(20, 165), st.sampled_from([99, 100, 119, 120, 129, 130, 159, 160])),
    st.sampled_from([pd.Timedelta(0), DOT - pd.Timedelta(microseconds=1), DOT, pd.Timedelta(hours=5)]),
    st.sampled_from([None, 1.0, 2.5]),
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("arrive"), st.lists(EVENTS, min_size=1, max_size=4)),
        st.tuples(st.just("withdraw"), st.integers(0, 50)),
        st.tuples(st.just("correct"), st.tuples(st.integers(0, 50), EVENTS)),
        st.tuples(st.just("compute"), st.lists(st.sampled_from(MOMENTS), min_size=1, max_size=2, unique=True)),
    ),
    min_size=2,
    max_size=6,
)


@dataclass
class Shop:
    """What happened, when it became known, and which moments were computed when (step by step)."""

    events: list[Event] = field(default_factory=list)
    computed: list[tuple[pd.Timestamp, int]] = field(default_factory=list)
    step: int = 0

    def now(self, step: int) -> pd.Timestamp:
        return START + (101 + 14 * step) * DAY

    def arrive(self, events: list[Event]) -> None:
        for event in events:
            self.events.append({**event, "event_id": f"e{len(self.events)}", "since": self.step, "until": 99})

    def withdraw(self, number: int) -> None:
        if self.events:
            event = self.events[number % len(self.events)]
            event["until"] = min(event["until"], self.step)  # who is gone stays gone

    def known(self, step: int) -> list[Event]:
        return [event for event in self.events if event["since"] <= step < event["until"]]

    def version(self, view: str, asked: pd.Timestamp, as_known: str) -> tuple[pd.Timestamp, int] | None:
        """The newest moment that holds at `asked`, and the step whose knowledge answers for it."""
        ttl = pd.Timedelta(days=VIEWS[view].ttl_days)
        held = [moment for moment, _ in self.computed if moment <= asked <= moment + ttl]
        if not held:
            return None
        moment = max(held)
        steps = [step for when, step in self.computed if when == moment]
        seen = [step for step in steps[1:] if as_known == "now" or self.now(step) <= asked]
        return moment, max([steps[0], *seen])

    def truth(self, view: str, key: tuple[str, ...], asked: pd.Timestamp, as_known: str) -> dict[str, float]:
        """Some features of each view by going through the events; nothing where the key has no row."""
        version = self.version(view, asked, as_known)
        if version is None:
            return {}
        moment, step = version
        kind = "content_view" if view == "content_affinity" else "purchase"
        names = VIEWS[view].keys
        mine, ages = [], []
        for event in self.known(step):
            if event["event_time"] >= moment or (view != "shopper_live" and event["event_type"] != kind):
                continue
            if all(event[name] == wanted for name, wanted in zip(names, key, strict=True)):
                mine.append(event)
                ages.append((moment - event["event_time"]) / DAY)
        # A neighbourhood of fewer than five watchers has no row.
        if (
            not mine
            or view == "neighbourhood_content"
            or min(ages) > {"shopper_item": 90, "shopper_live": 1}.get(view, 999)
        ):
            return {}
        recent = [event for event, age in zip(mine, ages, strict=True) if age <= 90]
        items, shoppers = ({event[name] for event in recent} for name in ("item_id", "shopper_id"))
        month = [event for event, age in zip(mine, ages, strict=True) if age <= 30]
        day = [event for event, age in zip(mine, ages, strict=True) if age <= 1]
        bought = [event for event in day if event["event_type"] == "purchase"]
        spent = sum(event["price"] or 0 for event in recent)
        return {
            "shopper": {
                "recency_days": min(ages),
                "tenure_days": max(ages),
                "items_90d": len(items),
                "spend_90d": spent,
            },
            "item": {"age_days": max(ages), "sales_30d": len(month), "shoppers_90d": len(shoppers), "spend_90d": spent},
            "store": {"recency_days": min(ages), "items_90d": len(items), "shoppers_90d": len(shoppers)},
            "shopper_item": {"recency_days": min(ages), "spend_365d": sum(event["price"] or 0 for event in mine)},
            "shopper_live": {"events_24h": len(day), "purchases_24h": len(bought)},
            "content_affinity": {"content_recency_days": min(ages), "content_views_30d": len(month)},
        }[view]


def compute(shop: Shop, store: FeatureStore, moments: list[pd.Timestamp]) -> None:
    columns = ["event_id", "shopper_id", "item_id", "store_id", "event_type", "event_time", "price"]
    rows = pd.DataFrame(shop.known(shop.step), columns=columns)
    rows["event_time"] = pd.to_datetime(rows["event_time"], utc=True).astype("datetime64[us, UTC]")
    views = rows[rows["event_type"] == "content_view"].rename(columns={"item_id": "content_id"})
    with History(rows.astype({"price": "float64"}), content_views=views) as history:
        for moment in moments:
            if moment > shop.now(shop.step):
                continue  # nobody computes a moment that has not passed
            for name, features in COMPUTE.items():
                frame = features(history, moment)
                store.write_offline(name, frame, moment=moment.to_pydatetime(), now=shop.now(shop.step).to_pydatetime())
            shop.computed.append((moment, shop.step))


def keys_of(service: str) -> pd.DataFrame:
    names = dict.fromkeys(name for view in SERVICES[service] for name in view.keys)
    values = {"shopper_id": SHOPPERS, "item_id": ITEMS, "store_id": STORES}
    return pd.MultiIndex.from_product([values[name] for name in names], names=list(names)).to_frame(index=False)


def assert_true(shop: Shop, service: str, answer: pd.DataFrame, asked: pd.Series[Any], as_known: str) -> None:
    for (_, row), moment in zip(answer.iterrows(), asked, strict=True):
        for view in SERVICES[service]:
            key = tuple(row[name] for name in view.keys)
            truth = shop.truth(view.name, key, moment, as_known)
            told = {name: row[name] for name in view.feature_names if pd.notna(row[name])}
            assert bool(told) == bool(truth), (view.name, key, moment, as_known, told, truth)
            for name, value in truth.items():
                assert told[name] == pytest.approx(value, abs=1e-9), (view.name, key, moment, as_known, name)


@pytest.fixture(scope="module")
def feast(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FeatureStore]:
    clock = FixedClock((MOMENTS[-1] + DAY).to_pydatetime())
    store = FeatureStore(load_settings(home=tmp_path_factory.mktemp("late")), clock=clock)
    store.apply()
    yield store
    store.close()


def empty(store: FeatureStore) -> None:
    """Take every row out of the store, offline and online, between two examples."""
    folder: Path = store._folder
    for part in folder.glob("offline/*/*_*.parquet"):
        part.unlink()
    store.close()
    for file in folder.glob("online.db*"):
        file.unlink()
    store.apply()


@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=STEPS,
    last=st.permutations(MOMENTS),
    days=st.lists(st.integers(99, 196), min_size=3, max_size=6),
    end=st.sampled_from(MOMENTS),
)
def test_feast_tells_what_was_known_then_and_what_is_known_now(
    feast: FeatureStore, steps: list[Any], last: list[pd.Timestamp], days: list[int], end: pd.Timestamp
) -> None:
    empty(feast)
    shop = Shop()
    for shop.step, (step, what) in enumerate(steps):
        if step == "arrive":
            shop.arrive(what)
        elif step == "withdraw":
            shop.withdraw(what)
        elif step == "correct":
            shop.withdraw(what[0])
            shop.arrive([what[1]])
        else:
            compute(shop, feast, what)
    shop.step = 6
    compute(shop, feast, last)
    feast.materialise(end.to_pydatetime(), progress=lambda line: None, chunk_rows=2)
    offsets = [pd.Timedelta(0), DOT, DOT + pd.Timedelta(microseconds=1)]
    times = [START + day * DAY + offset for day in days for offset in offsets]
    times += [moment + TTL_DAYS * DAY for moment in MOMENTS]
    times += [moment + minutes * pd.Timedelta(minutes=1) for moment in MOMENTS for minutes in (0, 30, 31)]
    for service in SERVICES:
        keys = keys_of(service)
        asked = keys.merge(pd.DataFrame({"event_timestamp": times}), how="cross")
        for known in ("then", "now"):
            answer = feast.historical(asked, service, as_known=known)
            assert_true(shop, service, answer, asked["event_timestamp"], known)
        now = pd.Series([MOMENTS[-1] + DAY] * len(keys))
        assert_true(shop, service, feast.online(service, keys), now, "now")
