"""Feast's repository on one home: feature_store.yaml, the registry and the sources' paths.

Imports feast (seconds): import this module only where a store is opened.
"""

from __future__ import annotations

import copy
import hashlib
from pathlib import Path
from typing import Any

import feast
import yaml
from feast.data_source import PushMode
from google.protobuf.message import DecodeError

from configs.settings import Settings
from features import definitions, tables
from features.offline import OfflineTable
from state.files import write_atomic

PROJECT = "facings"
ONLINE = PushMode.ONLINE
_YAML = "feature_store.yaml"
_REGISTRY = "registry.db"
_STAMP = "applied"


def declared() -> list[Any]:
    """Every Feast object of the definitions, each once."""
    kinds = (feast.Entity, feast.FileSource, feast.PushSource, feast.FeatureView, feast.FeatureService)
    return [value for value in vars(definitions).values() if isinstance(value, kinds)]


def configuration(settings: Settings) -> dict[str, Any]:
    """Return the content of feature_store.yaml for this home; paths in it are relative to the file.

    Redis is told to take each write: we write newest rows only, under a lock, and without this it would keep the old
    value of a row that was corrected at the same event_timestamp.
    """
    longest = max(view.ttl_days for view in tables.VIEWS.values())
    online: dict[str, Any] = {"type": "sqlite", "path": "online.db"}
    if settings.online_store == "redis":
        online = {
            "type": "redis",
            "connection_string": settings.redis_url,
            "key_ttl_seconds": round(longest * 86400),
            "skip_dedup": True,
        }
    return {
        "project": PROJECT,
        "provider": "local",
        "registry": _REGISTRY,
        "offline_store": {"type": "duckdb"},
        "online_store": online,
        "entity_key_serialization_version": 3,
    }


def open_store(settings: Settings) -> feast.FeatureStore:
    """Return Feast on this home; definitions that were never applied here, or have changed since, are applied first."""
    folder = settings.paths.features
    stamp = folder / _STAMP
    if not (folder / _REGISTRY).exists() or not stamp.exists() or stamp.read_text() != fingerprint(settings):
        return apply(settings)
    try:
        store = feast.FeatureStore(repo_path=str(folder))
        store.list_feature_services()
    except DecodeError:
        return apply(settings)
    return store


def apply(settings: Settings) -> feast.FeatureStore:
    """Write feature_store.yaml and register the definitions; call it under the folder's lock or alone."""
    folder = settings.paths.features
    for view in tables.VIEWS.values():
        OfflineTable(view, folder).prepare()
    # The connection string of Redis may hold a password.
    write_atomic(folder / _YAML, yaml.safe_dump(configuration(settings), sort_keys=False), mode=0o600)
    try:
        store = _register(folder)
    except DecodeError:
        # A registry cut off by a crash: it holds nothing that the definitions do not say.
        (folder / _REGISTRY).unlink()
        store = _register(folder)
    write_atomic(folder / _STAMP, fingerprint(settings))
    return store


def fingerprint(settings: Settings) -> str:
    """Return what an applied registry depends on: the definitions, the configuration, the folder, Feast's version."""
    said = (repr(tables.VIEWS), repr(tables.SERVICES), configuration(settings), settings.paths.features)
    return hashlib.sha256(repr((*said, feast.__version__)).encode()).hexdigest()


def _register(folder: Path) -> feast.FeatureStore:
    store = feast.FeatureStore(repo_path=str(folder))
    wanted = _placed(folder)
    names = {value.name for value in wanted if isinstance(value, feast.FeatureView)}
    gone = [view for view in store.list_feature_views() if view.name not in names]
    store.apply([*wanted], objects_to_delete=gone, partial=False)
    return store


def _placed(folder: Path) -> list[Any]:
    """Copy the definitions with the sources' paths on this home: Feast's duckdb store takes paths as they are."""
    objects = copy.deepcopy(declared())  # whole, so that sources within other objects are the same copies
    for value in objects:
        if isinstance(value, feast.FileSource):
            value.file_options.uri = str(folder / value.path)
    return objects
