"""The feature store: Feast behind one class that keeps its promises (row counts, leaks, expiry, erasure).

Importing this module is light; Feast is imported when a store is first used.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from types import ModuleType
from typing import Any, Literal

import numpy as np
import pandas as pd

from configs import telemetry
from configs.clock import Clock
from configs.errors import FacingsError, UsageError
from configs.settings import Settings
from features.frames import ROW, entity_frame, key_frame, typed, view_named, views_of
from features.history import NOTHING, in_utc
from features.offline import OfflineTable, erase, items_of
from features.tables import VIEWS, View, push_source
from state.files import exclusive

_CHUNK_ROWS = 20_000


class FeatureStore:
    """Features of one home, offline (parquet read through Feast's duckdb store) and online (SQLite or Redis).

    Not for several threads at once: give each its own.

    Args:
        settings: names the home and the online store.
        clock: tells the moment against which online rows expire; default: the settings' clock.
    """

    def __init__(self, settings: Settings, *, clock: Clock | None = None) -> None:
        self._settings = settings
        self._clock = clock or settings.clock()
        self._folder = settings.paths.features
        self._feast: Any = None

    def apply(self) -> None:
        """Register the definitions on this home; harmless to repeat. Every other method does it when it is needed."""
        with self._writing(), self._usable():
            self._feast = _repository().apply(self._settings)
            _online().prepare(self._feast)

    def open(self) -> None:
        """Get ready, which takes Feast's import of seconds; every other method does it when it is needed."""
        self._open()

    def write_offline(
        self, view: str, frame: pd.DataFrame, *, moment: datetime | None = None, now: datetime | None = None
    ) -> int:
        """Make `frame` the whole view at its moment; return how many rows are new, changed or vanished.

        Rows that are the same are not written again (see `OfflineTable.write`).

        Args:
            view: a name of `features.tables.VIEWS`.
            frame: exactly the view's columns, at one event_timestamp.
            moment: the frame's event_timestamp, where it may have no rows.
            now: created_timestamp of corrections; default: the clock's moment.

        Raises:
            UsageError: there is no such view.
            FacingsError: the frame does not fit the view; nothing was written.
        """
        table = OfflineTable(view_named(view), self._folder)
        with self._writing(), self._usable():
            return table.write(frame, now or self._clock.now(), moment=moment)

    def historical(
        self, entities: pd.DataFrame, service: str, *, as_known: Literal["then", "now"] = "then"
    ) -> pd.DataFrame:
        """Return what was known of each entity at its moment: the point-in-time join with the leak filter on.

        Args:
            entities: the service's keys (str) and event_timestamp (UTC when it has no zone); further columns are kept.
            service: a name of `features.tables.SERVICES`.
            as_known: `now` counts corrections that came after an entity's moment; nothing that happened after it.

        Returns:
            The rows of `entities`, in their order, with the service's features (float64 or str); missing where
            nothing was known, or where it was older than the view's time to live.

        Raises:
            UsageError: there is no such service.
            FacingsError: a key column is missing or empty, a column bears a feature's name, or the join changed the
                number of rows.
        """
        views = views_of(service)
        asked = entity_frame(entities, views)
        if asked.empty:
            return typed(asked, views, entities.columns)
        store = self._open()
        with self._usable():
            found = store.get_historical_features(
                entity_df=asked,
                features=store.get_feature_service(service),
                filter_by_created_timestamp=as_known == "then",
            ).to_df()
        if len(found) != len(asked) or set(found[ROW]) != set(asked[ROW]):
            raise FacingsError(
                f"The point-in-time join of the service {service} turned {len(asked)} rows into {len(found)}; "
                "its answer is not used. Check that no other Feast version or store is installed (`facings doctor`)."
            )
        return typed(found.sort_values(ROW, ignore_index=True), views, entities.columns)

    def materialise(
        self, end: datetime, *, progress: Callable[[str], None], chunk_rows: int = _CHUNK_ROWS
    ) -> dict[str, int]:
        """Bring the newest rows at `end` into the online store; return rows per view (0 for one that is pushed).

        A moment later than `end` that was computed before stays the one that is online: the store never goes back.
        Written in chunks of `chunk_rows`, so memory does not grow with the table; safe to kill and to repeat.

        Raises:
            UsageError: chunk_rows is below 1.
        """
        if chunk_rows < 1:
            raise UsageError(f"chunk_rows is {chunk_rows}; give 1 or more.")
        store = self._open()
        with self._writing(), self._usable():
            return {name: self._bring_online(store, view, end, progress, chunk_rows) for name, view in VIEWS.items()}

    def newest_moment(self, view: str) -> datetime | None:
        """Return the newest moment at which the view was computed (UTC); None where it never was."""
        moments = OfflineTable(view_named(view), self._folder).moments()
        return moments[-1].to_pydatetime() if moments else None

    def sample_keys(self, view: str, moment: datetime, most: int, random: np.random.Generator) -> pd.DataFrame:
        """Draw up to `most` keys of the rows stored of that moment, those that it left out among them."""
        table = OfflineTable(view_named(view), self._folder)
        with self._usable():
            keys = table.keys_at(in_utc(pd.Timestamp(moment)))
        chosen = random.choice(len(keys), size=min(most, len(keys)), replace=False)
        return keys.iloc[sorted(chosen)].reset_index(drop=True)

    def push(self, view: str, rows: Callable[[], pd.DataFrame]) -> int:
        """Put rows of a pushed view into the online store, through its push source; return how many.

        Args:
            view: a name of `features.tables.VIEWS`.
            rows: gives exactly the view's columns. It is called while no forget can run: what it leaves out because
                the shopper was forgotten by then is not written, and what it gives a later forget finds.

        Raises:
            UsageError: there is no such view, or it is not pushed.
        """
        table = view_named(view)
        if not table.pushed:
            raise UsageError(f"The view {view} comes online by materialising; its rows cannot be pushed.")
        store = self._open()
        with self._pushing(), self._usable():
            frame = rows()
            if len(frame):
                store.push(push_source(table), frame[table.columns], to=_repository().ONLINE)
            return len(frame)

    def online(self, service: str, ids: Sequence[str] | pd.DataFrame) -> pd.DataFrame:
        """Return the newest features of each id; missing where none are known or what is known has expired.

        Args:
            service: a name of `features.tables.SERVICES`.
            ids: ids of a service with one key; or a frame with the service's keys. A repeated id is answered twice.

        Returns:
            One row for each id, in order: the keys and the service's features (float64 or str).

        Raises:
            UsageError: there is no such service, or a key column is missing.
            FacingsError: Feast answered with another number of rows.
        """
        views = views_of(service)
        keys = key_frame(ids, views, service)
        if keys.empty:
            return typed(keys, views, keys.columns)
        store = self._open()
        with self._usable():
            answer = store.get_online_features(
                features=store.get_feature_service(service), entity_rows=keys.to_dict("records")
            ).to_dict(include_event_timestamps=True)
        found = keys.copy()
        for view in views:
            for name in view.feature_names:
                if len(answer[name]) != len(keys):
                    raise FacingsError(f"The online store answered {len(answer[name])} rows for {len(keys)} ids.")
                values = pd.Series(answer[name], dtype="object")
                found[name] = values.where(self._holds(view, answer[f"{name}__ts"]), NOTHING)
        return typed(found, views, keys.columns)

    def forget(self, shopper_id: str) -> dict[str, int]:
        """Erase a shopper's rows; return {"online": keys, "offline": rows} that were erased.

        The online store first (in SQLite one transaction), then each parquet part by one replacement: a reader sees a
        part with the shopper or without, and a killed job is finished by calling it again.
        Waits for a run that is computing features. Erase the lake first: a later run computes from what it holds.
        """
        store = self._open()
        with self.computing(), self._writing(), self._pushing(), self._usable():
            online = _online().erase(store, shopper_id, items_of(self._folder, shopper_id))
            return {"online": online, "offline": erase(self._folder, shopper_id)}

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Hold this while features are read from the lake and written, so that a forget waits and erases them too."""
        with exclusive(self._folder / ".computing", "feature run", wait=True):
            yield

    def close(self) -> None:
        """Let go of the online store's connection; the next call opens it again."""
        store, self._feast = self._feast, None
        if store is not None:
            _online().close(store)

    def _open(self) -> Any:
        if self._feast is None:
            with self._writing(), self._usable():
                self._feast = _repository().open_store(self._settings)
                _online().prepare(self._feast)
        return self._feast

    def _bring_online(
        self, store: Any, view: View, end: datetime, progress: Callable[[str], None], chunk_rows: int
    ) -> int:
        table, written = OfflineTable(view, self._folder), 0
        upper = max([in_utc(pd.Timestamp(end)), *table.moments()[-1:]])
        moment = None if view.pushed else table.newest(upper)
        for chunk in table.rows_at(moment, chunk_rows):
            store.write_to_online_store(view.name, chunk)
            written += len(chunk)
            progress(f"online features of {view.name}: {written} rows")
        # A moment is whole: what is older than the newest one says nothing any more.
        _online().drop_older(store, view, moment or upper - pd.Timedelta(days=view.ttl_days))
        return written

    def _holds(self, view: View, stamps: Sequence[int]) -> pd.Series[bool]:
        """Whether rows of these moments (epoch seconds) are young enough: Feast does not look at it online."""
        oldest = self._clock.now().timestamp() - view.ttl_days * 86400
        return pd.Series([stamp >= oldest for stamp in stamps], dtype="bool")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with exclusive(self._folder / ".lock", "feature job", wait=True):
            yield

    @contextmanager
    def _pushing(self) -> Iterator[None]:
        """Not the lock of materialising, which takes minutes: what a shopper does now does not wait for it."""
        with exclusive(self._folder / ".pushing", "push of live features", wait=True):
            yield

    @contextmanager
    def _usable(self) -> Iterator[None]:
        """Turn what the stores below say into one sentence, and keep their warnings of each other from the user."""
        try:
            with warnings.catch_warnings():
                # Feast and ibis warn of each other's deprecations on every call; a user can do nothing about it.
                warnings.simplefilter("ignore")
                yield
        except _online().failures() as error:
            said = next(iter(str(error).strip().splitlines()), type(error).__name__)
            way = "check the disk and the file it names"
            if self._settings.online_store == "redis":
                way = "check that Redis runs and that FACINGS_REDIS_URL names it"
            raise FacingsError(f"The feature store in {self._folder} does not work: {said}; {way}.") from error


def _repository() -> ModuleType:
    """The module that imports Feast, once its telemetry is off."""
    telemetry.turn_off()
    from features import repository

    return repository


def _online() -> ModuleType:
    telemetry.turn_off()
    from features import online

    return online
