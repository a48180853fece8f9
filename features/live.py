"""Live features of a shopper: what they did in the current session and within a day, from their last events.

A shopper's state is their last `KEPT_EVENTS` events. To take events in is a set's union that is cut: the same events in
any order, once or many times, give the same state. A batch row of the view `shopper_live` is made from the lake by the
same function as a row that is pushed, from events strictly before its moment.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, NamedTuple

import orjson
import pandas as pd

from features.history import History, in_utc, tidy
from features.tables import CREATED_TIME, EVENT_TIME, KEPT_EVENTS, LISTED_EVENTS, SHOPPER_LIVE

CONTENT_TYPES = frozenset({"content_view", "like", "share", "comment"})
LOOKS = frozenset({"view", "click", "tap", "scan"})
# What the shop showed, which is nothing that the shopper did.
SHOWN = frozenset({"impression", "promotion_offered", "promotion_not_offered"})
_MINUTE, _HOUR, _DAY = 60_000_000, 3_600_000_000, 86_400_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NUMBERS = [feature.name for feature in SHOPPER_LIVE.features if feature.kind == "number"]


class LiveEvent(NamedTuple):
    """One thing that a shopper did. Tuples order as the state does: by time, then by id.

    Attributes:
        time: microseconds since 1970, UTC.
        event_id: names the event; one id has one content, as the event store keeps the first that came.
        event_type, item_id: as in the interactions table.
    """

    time: int
    event_id: str
    event_type: str
    item_id: str


State = tuple[LiveEvent, ...]


def event_of(row: Mapping[str, Any]) -> LiveEvent | None:
    """The live event of a checked interaction (`event_time` in ISO 8601); None: nothing that the shopper did."""
    kind = str(row["event_type"])
    if kind in SHOWN:
        return None
    return LiveEvent(micros(datetime.fromisoformat(row["event_time"])), str(row["event_id"]), kind, str(row["item_id"]))


def update(state: State, events: Iterable[LiveEvent]) -> State:
    """Take events in: the last `KEPT_EVENTS` by time, each id once, the oldest first."""
    fresh = sorted(set(events))
    if not state or (fresh and fresh[0] > state[-1]):  # nearly always: they are newer than all that is known
        return (state + tuple(fresh))[-KEPT_EVENTS:]
    return tuple(sorted({*state, *fresh})[-KEPT_EVENTS:])


def features_of(state: State, as_of: int, idle_minutes: float) -> dict[str, Any] | None:
    """The features at `as_of` (microseconds since 1970) from events strictly before it; None: no event within a day."""
    past = [event for event in state if as_of - _DAY <= event.time < as_of]
    if not past:
        return None
    session = _session(past, as_of, round(idle_minutes * _MINUTE))
    kinds = [event.event_type for event in session]
    return {
        "session_items": _listed(event for event in session if event.event_type not in CONTENT_TYPES),
        "session_contents": _listed(event for event in session if event.event_type in CONTENT_TYPES),
        "session_minutes": float((as_of - session[0].time) / _MINUTE) if session else 0.0,
        "session_events": float(len(session)),
        "session_looks": float(sum(kind in LOOKS for kind in kinds)),
        "session_carts": float(kinds.count("add_to_cart")),
        "session_purchases": float(kinds.count("purchase")),
        "events_1h": float(sum(event.time >= as_of - _HOUR for event in past)),
        "events_24h": float(len(past)),
        "purchases_24h": float(sum(event.event_type == "purchase" for event in past)),
        "contents_24h": float(sum(event.event_type in CONTENT_TYPES for event in past)),
    }


def events_of(items: str | None, contents: str | None) -> State:
    """The session's events from the two lists of a row; their ids are their places."""
    rows = [row for text in (items, contents) if text for row in orjson.loads(text)]
    return tuple(sorted(LiveEvent(time, f"{place}", kind, item) for place, (item, kind, time) in enumerate(rows)))


def frame(rows: Iterable[tuple[str, int, dict[str, Any]]]) -> pd.DataFrame:
    """Rows of the view from shopper_id, moment (microseconds since 1970) and `features_of`; ordered by shopper."""
    columns: dict[str, list[Any]] = {name: [] for name in ("shopper_id", EVENT_TIME, *SHOPPER_LIVE.feature_names)}
    for shopper, moment, features in rows:
        columns["shopper_id"].append(shopper)
        columns[EVENT_TIME].append(moment)
        for name, value in features.items():
            columns[name].append(value)
    table = pd.DataFrame(columns).astype(dict.fromkeys(_NUMBERS, "float64"))
    table[EVENT_TIME] = pd.to_datetime(pd.Series(columns[EVENT_TIME], dtype="int64"), unit="us", utc=True)
    table[CREATED_TIME] = table[EVENT_TIME]
    return tidy(SHOPPER_LIVE, table)


def compute(history: History, as_of: pd.Timestamp) -> pd.DataFrame:
    """Return the view `shopper_live` at `as_of`: one row a shopper who did something within the day before it."""
    moment = micros(in_utc(as_of).to_pydatetime())
    return frame(_rows(history.events(as_of, days=1), moment, history.idle_minutes))


def live_features(interactions: pd.DataFrame, as_of: pd.Timestamp) -> pd.DataFrame:
    """Return `compute` for a plain table of interactions; without an event_id, equal rows are one event."""
    with History(interactions) as history:
        return compute(history, as_of)


def micros(moment: datetime) -> int:
    """Microseconds since 1970, exactly."""
    since = moment - EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _rows(
    events: Iterable[tuple[str, int, str, str, str]], moment: int, idle_minutes: float
) -> Iterator[tuple[str, int, dict[str, Any]]]:
    for shopper, own in groupby(events, key=lambda row: row[0]):
        state = update((), (LiveEvent(*row[1:]) for row in own if row[3] not in SHOWN))
        features = features_of(state, moment, idle_minutes)
        if features is not None:
            yield shopper, moment, features


def _session(past: list[LiveEvent], as_of: int, idle: int) -> list[LiveEvent]:
    """The events of the session that goes on at `as_of`; none where it has ended."""
    first, later = len(past), as_of
    while first and later - past[first - 1].time < idle:
        first -= 1
        later = past[first].time
    return past[first:]


def _listed(events: Iterable[LiveEvent]) -> str | None:
    rows = [(event.item_id, event.event_type, event.time) for event in events][-LISTED_EVENTS:]
    return orjson.dumps(rows).decode() if rows else None
