"""Laws of time: a feature at a moment depends on what lay before it, and Feast gives back what was known then."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from configs.clock import FixedClock
from configs.settings import Settings, load_settings
from features.compute import COMPUTE
from features.history import History
from features.store import FeatureStore
from features.tables import SHOPPER, TTL_DAYS
from features.topics import neighbourhood_topics, shopper_topics

START = pd.Timestamp("2024-01-01", tz="UTC")
AS_OF = START + timedelta(days=200)
ITEMS = pd.DataFrame({"item_id": list("uvwxyz"), "category": ["a/1", "a/1", "a/2", "b", "b", None]}, dtype="object")
CONTENTS = pd.DataFrame({"content_id": ["c1", "c2"], "tags": ["t|u", "u"], "item_ids": ["u|v", "w"]})
COLUMNS = ["shopper_id", "item_id", "event_type", "seconds", "basket_id", "store_id", "quantity", "price"]
COLUMNS += ["currency", "campaign_id"]


def rows_between(first_day: int, last_day: int, most: int) -> st.SearchStrategy[pd.DataFrame]:
    """Interactions within those days of START; few ids, so that pairs, baskets and ties occur."""
    row = st.tuples(
        st.sampled_from(["ann", "bob", "cy"]),
        st.sampled_from(list("uvwxyz")),
        st.sampled_from(["purchase", "purchase", "purchase", "redeem", "view"]),
        st.integers(first_day * 86400, last_day * 86400 - 1),
        st.one_of(st.none(), st.sampled_from(["b1", "b2", "b3"])),
        st.one_of(st.none(), st.sampled_from(["s1", "s2"])),
        st.one_of(st.none(), st.sampled_from([0.0, 1.0, 2.5])),
        st.one_of(st.none(), st.floats(0, 99).map(lambda price: round(price, 2))),
        st.sampled_from([None, "USD", "EUR"]),
        st.sampled_from([None, None, "k"]),
    )
    return st.lists(row, max_size=most).map(frame_of)


def frame_of(rows: list[tuple[Any, ...]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=COLUMNS)
    frame["event_time"] = START + pd.to_timedelta(frame.pop("seconds"), unit="s")
    return frame.astype({"quantity": "float64", "price": "float64"})


def all_features(interactions: pd.DataFrame, as_of: pd.Timestamp) -> dict[str, pd.DataFrame]:
    views = interactions[interactions["event_type"] == "view"].assign(dwell_seconds=1.5)
    views = views.assign(content_id=["c1" if item < "x" else "c2" for item in views["item_id"]])
    with History(interactions, ITEMS, contents=CONTENTS, content_views=views) as history:
        return {name: compute(history, as_of) for name, compute in COMPUTE.items()}


CONTENT_EVENTS = ["content_view", "content_view", "view", "like", "comment", "share", "impression"]
DURATIONS = {"c1": 20.0, "c2": None, "c3": 8.0}
TAGS = {"c1": ["t", "u"], "c2": ["u"], "c3": []}
NAMED = {"c1": ["u", "v"], "c2": ["w"], "c3": ["x", "z", "u"]}
CATEGORIES = {"u": "a/1", "v": "a/1", "w": "a/2", "x": "b", "y": "b", "z": None}


def watched_between(first_day: int, last_day: int, most: int) -> st.SearchStrategy[pd.DataFrame]:
    """What shoppers did with contents within those days of START."""
    row = st.tuples(
        st.sampled_from([f"p{number}" for number in range(9)]),
        st.sampled_from(["c1", "c2", "c3", "gone"]),
        st.sampled_from(CONTENT_EVENTS),
        st.integers(first_day * 86400, last_day * 86400 - 1),
        st.one_of(st.none(), st.integers(0, 60).map(float)),
    )
    columns = ["shopper_id", "content_id", "event_type", "seconds", "dwell_seconds"]
    return st.lists(row, max_size=most).map(
        lambda rows: (
            pd.DataFrame(rows, columns=columns)
            .assign(event_time=lambda frame: START + pd.to_timedelta(frame.pop("seconds"), unit="s"))
            .astype({"dwell_seconds": "float64"})
        )
    )


def topics_of(content: str) -> list[str]:
    return TAGS[content] or sorted({CATEGORIES[item] for item in NAMED[content]} - {None})  # type: ignore[type-var]


def interest(event: Any) -> float:
    """The stated formula, event by event."""
    if event.event_type not in ("view", "content_view"):
        return {"share": 3.0, "like": 2.0, "comment": 2.0}.get(event.event_type, 0.0)
    if pd.isna(event.dwell_seconds):
        return 0.5
    duration = DURATIONS[event.content_id]
    if event.dwell_seconds < 3 and (duration is None or event.dwell_seconds / duration < 0.5):
        return 0.0
    return min(event.dwell_seconds / (duration or 30.0), 1.0)


def slow_affinities(views: pd.DataFrame, moment: pd.Timestamp) -> dict[str, dict[str, float]]:
    """Affinity of each shopper to each topic, by the definition."""
    found: dict[str, dict[str, float]] = {}
    for event in views.itertuples():
        if event.event_time >= moment or event.content_id not in TAGS:
            continue
        told = topics_of(event.content_id)
        worth = interest(event) * 0.5 ** ((moment - event.event_time) / pd.Timedelta(days=30)) / len(told)
        for topic in told if worth > 1e-8 else ():
            mine = found.setdefault(event.shopper_id, {})
            mine[topic] = mine.get(topic, 0.0) + worth
    return found


def slow_neighbourhoods(affinities: dict[str, dict[str, float]]) -> dict[tuple[str, str], float]:
    """The shrunk share of every topic in every neighbourhood, by the definition; what may not be told is left out."""
    homes = {who: f"s{int(who[1:]) % 2}" for who in affinities}
    shares = {who: {t: a / sum(own.values()) for t, a in own.items()} for who, own in affinities.items()}
    topics, stores = sorted({t for own in shares.values() for t in own}), sorted(set(homes.values()))
    number = {store: sum(home == store for home in homes.values()) for store in stores}
    mean = {
        (store, t): sum(shares[who].get(t, 0.0) for who in shares if homes[who] == store) / number[store]
        for store in stores
        for t in topics
    }
    chain = {t: sum(own.get(t, 0.0) for own in shares.values()) / len(shares) for t in topics}
    within = sum((own.get(t, 0.0) - mean[homes[who], t]) ** 2 for who, own in shares.items() for t in topics)
    apart = sum(number[store] * (mean[store, t] - chain[t]) ** 2 for store in stores for t in topics)
    trust = dict.fromkeys(stores, 0.0)
    if len(stores) > 1 and len(shares) > len(stores):
        within, apart = within / (len(shares) - len(stores)), apart / (len(stores) - 1)
        typical = (len(shares) - sum(n**2 for n in number.values()) / len(shares)) / (len(stores) - 1)
        if apart > within:
            trust = {store: n / (n + within * typical / (apart - within)) for store, n in number.items()}
    behind = {(s, t): sum(t in shares[who] and homes[who] == s for who in shares) for s in stores for t in topics}
    return {
        (store, t): trust[store] * mean[store, t] + (1 - trust[store]) * chain[t] if behind[store, t] >= 5 else chain[t]
        for store in stores
        for t in topics
        if number[store] >= 5 and sum(behind[other, t] for other in stores) >= 5
    }


@settings(max_examples=8, deadline=None)
@given(views=watched_between(0, 230, 60), random=st.randoms(use_true_random=False))
def test_topics_are_what_the_definition_gives_and_know_nothing_that_came_later(
    views: pd.DataFrame, random: Any
) -> None:
    contents = pd.DataFrame(
        {
            "content_id": list(TAGS),
            "tags": ["|".join(tags) or None for tags in TAGS.values()],
            "item_ids": ["|".join(items) for items in NAMED.values()],
            "duration_seconds": list(DURATIONS.values()),
        }
    )
    shoppers = pd.DataFrame(
        {"shopper_id": [f"p{n}" for n in range(9)], "home_store_id": [f"s{n % 2}" for n in range(9)]}
    )
    answers = []
    order = list(range(len(views)))
    random.shuffle(order)
    for rows in (views.iloc[order], views[views["event_time"] < AS_OF]):
        with History(frame_of([]), ITEMS, contents=contents, content_views=rows, shoppers=shoppers) as history:
            own, near = shopper_topics(history, AS_OF), neighbourhood_topics(history, AS_OF)
            both = [COMPUTE[name](history, AS_OF) for name in ("content_affinity", "neighbourhood_content")]
        answers.append([own, near, *both])
    for ours, theirs in zip(*answers, strict=True):
        pd.testing.assert_frame_equal(ours, theirs, check_exact=True)
    own, near, affinity, neighbourhood = answers[0]
    slow = slow_affinities(views, AS_OF)
    found = {(row.shopper_id, row.topic): row.affinity for row in own.itertuples()}
    assert found == pytest.approx({(who, t): a for who, mine in slow.items() for t, a in mine.items()}, abs=1e-7)
    for row in affinity.itertuples():
        mine = slow.get(row.shopper_id, {})
        assert (row.content_topic_1 is None) == (not mine)
        assert not mine or mine[row.content_topic_1] == pytest.approx(max(mine.values()), abs=1e-7)
        assert row.content_engagement == pytest.approx(sum(mine.values()), abs=1e-6)
    assert not near["watchers"].lt(5).any() and set(neighbourhood["store_id"]) == set(near["store_id"])
    if len(slow) and all(max(mine.values()) > 1e-3 for mine in slow.values()):  # shares of next to nothing are noise
        shares = {(row.store_id, row.topic): row.share for row in near.itertuples()}
        assert shares == pytest.approx(slow_neighbourhoods(slow), abs=1e-4)


def assert_same(ours: dict[str, pd.DataFrame], theirs: dict[str, pd.DataFrame]) -> None:
    for name in ours:
        pd.testing.assert_frame_equal(ours[name], theirs[name], check_exact=True)


@settings(max_examples=8, deadline=None)
@given(past=rows_between(0, 200, 25), future=rows_between(200, 260, 10))
def test_features_at_a_moment_do_not_change_when_rows_at_or_after_it_are_added(
    past: pd.DataFrame, future: pd.DataFrame
) -> None:
    on_the_dot = past.head(1).assign(event_time=AS_OF)
    later = pd.concat([frame for frame in (past, future, on_the_dot) if len(frame)] or [past])
    assert_same(all_features(past, AS_OF), all_features(later, AS_OF))


@settings(max_examples=8, deadline=None)
@given(rows=rows_between(0, 210, 30), random=st.randoms(use_true_random=False))
def test_the_order_of_rows_is_irrelevant_to_the_last_bit(rows: pd.DataFrame, random: Any) -> None:
    order = list(range(len(rows)))
    random.shuffle(order)
    assert_same(all_features(rows, AS_OF), all_features(rows.iloc[order], AS_OF))


@settings(max_examples=8, deadline=None)
@given(rows=rows_between(0, 200, 25), before=st.integers(1, 150))
def test_a_history_asked_for_two_moments_answers_each_as_if_alone(rows: pd.DataFrame, before: int) -> None:
    earlier = AS_OF - timedelta(days=before)
    with History(rows, ITEMS) as history:
        COMPUTE["shopper"](history, AS_OF)
        again = COMPUTE["shopper"](history, earlier)
    with History(rows[rows["event_time"] < earlier], ITEMS) as history:
        pd.testing.assert_frame_equal(again, COMPUTE["shopper"](history, earlier), check_exact=True)


@pytest.fixture(scope="module")
def feast_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Settings, FeatureStore]]:
    chosen = load_settings(home=tmp_path_factory.mktemp("time"))
    store = FeatureStore(chosen, clock=FixedClock(AS_OF.to_pydatetime()))
    store.apply()
    yield chosen, store
    store.close()


def known_at(versions: pd.DataFrame, shopper: str, moment: pd.Timestamp) -> pd.Series | None:
    """The slow, obviously right answer: the newest version of the newest moment among those known and not too old."""
    best = None
    for _, row in versions.iterrows():
        if row["shopper_id"] != shopper or row["event_timestamp"] > moment or row["created_timestamp"] > moment:
            continue
        if row["event_timestamp"] + timedelta(days=TTL_DAYS) < moment:
            continue
        rank = (row["event_timestamp"], row["created_timestamp"])
        if best is None or rank > (best["event_timestamp"], best["created_timestamp"]):
            best = row
    return best


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    on_time=rows_between(0, 200, 20),
    late=rows_between(0, 150, 5),
    late_after=st.integers(0, 60),
    asked=st.lists(st.tuples(st.sampled_from(["ann", "bob", "cy", "nobody"]), st.integers(90, 240))),
)
def test_feast_gives_back_what_was_known_then_and_nothing_that_came_late(
    feast_home: tuple[Settings, FeatureStore],
    on_time: pd.DataFrame,
    late: pd.DataFrame,
    late_after: int,
    asked: list[tuple[str, int]],
) -> None:
    _, store = feast_home
    empty(store)
    moments = [START + timedelta(days=day, microseconds=7) for day in (100, 130, 160)]
    first = [all_features(on_time, moment)["shopper"] for moment in moments]
    for frame in first:
        store.write_offline("shopper", frame)
    arrival = moments[-1] + timedelta(days=late_after)
    whole = pd.concat([frame for frame in (on_time, late) if len(frame)] or [on_time])
    second = [all_features(whole, moment)["shopper"] for moment in moments]
    for frame in second:
        store.write_offline("shopper", frame, now=arrival.to_pydatetime())
    # Where a moment was never computed before (nobody was known), its rows count as known since then.
    corrected = [
        frame.assign(created_timestamp=max(arrival, moment + timedelta(microseconds=1))) if len(old) else frame
        for frame, old, moment in zip(second, first, moments, strict=True)
    ]
    versions = pd.concat([*first, *corrected], ignore_index=True)
    entities = pd.DataFrame(asked, columns=["shopper_id", "day"])
    entities["event_timestamp"] = START + pd.to_timedelta(entities["day"], unit="D") + pd.Timedelta(microseconds=7)
    answer = store.historical(entities, "shopper")
    assert answer[["shopper_id", "day"]].equals(entities[["shopper_id", "day"]])
    for (_, found), (shopper, moment) in zip(
        answer.iterrows(), entities[["shopper_id", "event_timestamp"]].itertuples(index=False), strict=True
    ):
        expected = known_at(versions, shopper, moment)
        for name in SHOPPER.feature_names:
            wanted = None if expected is None else expected[name]
            assert (pd.isna(found[name]) and pd.isna(wanted)) or found[name] == wanted, (shopper, moment, name)


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=rows_between(0, 200, 30), chunk_rows=st.integers(1, 5))
def test_the_latest_offline_row_and_the_online_row_are_the_same(
    feast_home: tuple[Settings, FeatureStore], rows: pd.DataFrame, chunk_rows: int
) -> None:
    _, store = feast_home
    empty(store)
    for moment in (AS_OF - timedelta(days=20), AS_OF):
        for name, frame in all_features(rows, moment).items():
            store.write_offline(name, frame)
    store.materialise(AS_OF.to_pydatetime(), progress=lambda line: None, chunk_rows=chunk_rows)
    for service, key, ids in (("shopper", "shopper_id", ["ann", "bob", "cy"]), ("item", "item_id", list("uvwxyz"))):
        online = store.online(service, ids)
        offline = store.historical(pd.DataFrame({key: ids, "event_timestamp": AS_OF}), service)
        pd.testing.assert_frame_equal(online, offline.drop(columns="event_timestamp"), rtol=1e-6)


def empty(store: FeatureStore) -> None:
    """Take every row out of the store, offline and online, between two examples."""
    folder: Path = store._folder
    for part in folder.glob("offline/*/*.parquet"):
        part.unlink()
    store.close()
    for file in folder.glob("online.db*"):
        file.unlink()
    store.apply()
