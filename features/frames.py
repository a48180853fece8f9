"""What goes into the store and comes out of it: frames of ids with exact columns and dtypes, in the order asked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

from configs.errors import FacingsError, UsageError
from features.history import NOTHING
from features.tables import EVENT_TIME, SERVICES, VIEWS, View

ROW = "facings_row"
"""The row's number during a join, so that the order asked is the order answered."""


def view_named(name: str) -> View:
    """Return the view of that name.

    Raises:
        UsageError: there is none.
    """
    if name not in VIEWS:
        raise UsageError(f"There is no feature view {name!r}; choose one of: {', '.join(VIEWS)}.")
    return VIEWS[name]


def views_of(service: str) -> tuple[View, ...]:
    """Return the views that a service joins.

    Raises:
        UsageError: there is no such service.
    """
    if service not in SERVICES:
        raise UsageError(f"There is no feature service {service!r}; choose one of: {', '.join(SERVICES)}.")
    return SERVICES[service]


def entity_frame(entities: pd.DataFrame, views: Sequence[View]) -> pd.DataFrame:
    """Return `entities` as Feast wants them: keys as str, event_timestamp as datetime64[us, UTC], rows numbered.

    Raises:
        FacingsError: a column is missing, a value in it is missing, or a column bears the name of a feature.
    """
    needed = [*_keys(views), EVENT_TIME]
    for name in needed:
        if name not in entities.columns:
            raise FacingsError(f"The entities have no column {name}; features are looked up by {', '.join(needed)}.")
        if entities[name].isna().any():
            raise FacingsError(f"The entities' column {name} has empty values; remove these rows.")
    names = {name for view in views for name in view.feature_names} | {ROW}
    taken = sorted(names & set(entities.columns))
    if taken:
        raise FacingsError(f"The entities' column {taken[0]} bears the name of a feature; rename or drop it.")
    frame = entities.reset_index(drop=True)
    times = pd.to_datetime(frame[EVENT_TIME], utc=True).astype("datetime64[us, UTC]")
    for key in _keys(views):
        frame[key] = frame[key].astype(str)
    frame[EVENT_TIME] = times
    frame[ROW] = range(len(frame))
    return frame


def key_frame(ids: Sequence[str] | pd.DataFrame, views: Sequence[View], service: str) -> pd.DataFrame:
    """Return the keys to look up online: one row for each id, in order.

    Raises:
        UsageError: plain ids for a service of two keys, or a frame without a key column.
    """
    keys = _keys(views)
    if isinstance(ids, pd.DataFrame):
        missing = [key for key in keys if key not in ids.columns]
        if missing:
            raise UsageError(f"The ids have no column {missing[0]}; the service {service} needs {', '.join(keys)}.")
        return ids[list(keys)].reset_index(drop=True).astype(str)
    if len(keys) > 1:
        raise UsageError(f"The service {service} has the keys {', '.join(keys)}; give a frame with these columns.")
    return pd.DataFrame({keys[0]: [str(value) for value in ids]}, dtype="object")


def typed(frame: pd.DataFrame, views: Sequence[View], columns: Iterable[str]) -> pd.DataFrame:
    """Return `columns` of `frame` and then the views' features: float64, or str with None where missing."""
    answer = frame[[name for name in columns if name in frame.columns]].copy()
    for view in views:
        for feature in view.features:
            values = (
                frame[feature.name] if feature.name in frame.columns else pd.Series(index=frame.index, dtype="object")
            )
            if feature.kind == "number":
                answer[feature.name] = values.astype("float64")
            else:
                answer[feature.name] = values.astype("object").where(values.notna(), NOTHING)
    return answer


def _keys(views: Sequence[View]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(key for view in views for key in view.keys))
