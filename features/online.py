"""What Feast's online stores do not do by themselves: erase one shopper, drop what is outdated, let readers go on.

Imports feast (seconds): import this module only where a store is opened.
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import feast
import pandas as pd
import pyarrow as pa
from feast.infra.key_encoding_utils import deserialize_entity_key
from feast.infra.online_stores.helpers import _redis_key
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value

from features.history import in_utc
from features.tables import VIEWS, View

_KEY_VERSION = 3


def failures() -> tuple[type[Exception], ...]:
    """What the stores below raise when they cannot work: a damaged file, a full disk, a server that does not answer."""
    redis = sys.modules.get("redis")
    return (sqlite3.Error, duckdb.Error, pa.ArrowException, *((redis.RedisError,) if redis else ()))


def prepare(store: feast.FeatureStore) -> None:
    """SQLite: let readers go on beside a writer (WAL stays with the file)."""
    path = _sqlite_path(store)
    if path is not None:
        with closing(sqlite3.connect(path, timeout=60)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")


def close(store: feast.FeatureStore) -> None:
    """Close the connection that Feast keeps open, if there is one."""
    connection = getattr(_backend(store), "_conn", None) or getattr(_backend(store), "_client", None)
    if connection is not None:
        connection.close()


def drop_older(store: feast.FeatureStore, view: View, moment: datetime) -> None:
    """SQLite: delete the view's rows that speak of an earlier moment (Redis expires keys by itself)."""
    path = _sqlite_path(store)
    if path is None:
        return
    # As Feast stores a time in SQLite: whole seconds of the naive UTC time read as local time.
    oldest = in_utc(pd.Timestamp(moment)).to_pydatetime().replace(tzinfo=None)
    with _erasing(path) as connection:
        connection.execute(f"DELETE FROM {_table(store, view)} WHERE event_ts < ?", (int(oldest.timestamp()),))  # noqa: S608


def erase(store: feast.FeatureStore, shopper_id: str, items: Iterable[str]) -> int:
    """Delete every key of the shopper and return how many there were.

    SQLite: all views in one transaction, the bytes overwritten. Redis: the shopper's key and, as keys cannot be
    searched there, those with each of `items`.
    """
    path = _sqlite_path(store)
    if path is None:
        client = _backend(store)._get_client(store.config.online_store)
        pairs = [{"item_id": item_id, "shopper_id": shopper_id} for item_id in items]
        keys = [
            _redis_key(store.project, _entity_key(ids), _KEY_VERSION) for ids in [{"shopper_id": shopper_id}, *pairs]
        ]
        return sum(int(client.delete(key)) for key in keys)
    erased = 0
    with _erasing(path) as connection:
        for view in VIEWS.values():
            if "shopper_id" in view.keys:
                table = _table(store, view)
                keys = _sqlite_keys(connection, table, shopper_id)
                connection.executemany(f"DELETE FROM {table} WHERE entity_key = ?", [(key,) for key in keys])  # noqa: S608
                erased += len(keys)
    _rewrite(path)
    return erased


def _rewrite(path: Path) -> None:
    """Build the database anew: rows that SQLite once moved from page to page leave copies that no delete overwrites."""
    with closing(sqlite3.connect(path, timeout=60)) as connection:
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


@contextmanager
def _erasing(path: Path) -> Iterator[sqlite3.Connection]:
    """One transaction after which the deleted bytes are in neither the database nor its log."""
    with closing(sqlite3.connect(path, timeout=60)) as connection:
        connection.execute("PRAGMA secure_delete=ON")
        with connection:
            yield connection
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _sqlite_keys(connection: sqlite3.Connection, table: str, shopper_id: str) -> list[bytes]:
    """Keys of the shopper: those whose bytes hold the id, and of these the ones whose shopper_id is exactly it."""
    query = f"SELECT DISTINCT entity_key FROM {table} WHERE instr(entity_key, ?) > 0"  # noqa: S608
    found = [bytes(key) for (key,) in connection.execute(query, (shopper_id.encode(),))]
    return [key for key in found if _shopper_of(key) == shopper_id]


def _shopper_of(key: bytes) -> str:
    entity = deserialize_entity_key(key, entity_key_serialization_version=_KEY_VERSION)
    values = dict(zip(entity.join_keys, entity.entity_values, strict=True))
    return str(values["shopper_id"].string_val)


def _entity_key(ids: dict[str, str]) -> EntityKey:
    names = sorted(ids)
    return EntityKey(join_keys=names, entity_values=[Value(string_val=ids[name]) for name in names])


def _table(store: feast.FeatureStore, view: View) -> str:
    return f'"{store.project}_{view.name}"'


def _backend(store: feast.FeatureStore) -> Any:
    return store._get_provider().online_store


def _sqlite_path(store: feast.FeatureStore) -> Path | None:
    """The online database, or None where the store is Redis."""
    if store.config.online_store.type != "sqlite":
        return None
    return Path(store.repo_path) / str(store.config.online_store.path)
