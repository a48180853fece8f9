"""Feast's repository: every entity, source, view and service, built from `features.tables`.

The only Python file Feast may import (see .feastignore). Paths of sources are relative to the home's features folder;
`features.repository` sets them on a home when it applies the definitions.
"""

from __future__ import annotations

from datetime import timedelta

from feast import Entity, FeatureService, FeatureView, Field, FileSource, PushSource, ValueType
from feast.data_format import ParquetFormat
from feast.types import Float64, String

from features import tables


def _source(view: tables.View) -> FileSource:
    return FileSource(
        name=f"{view.name}_rows",
        path=f"{view.folder}/*.parquet",
        file_format=ParquetFormat(),
        timestamp_field=tables.EVENT_TIME,
        created_timestamp_column=tables.CREATED_TIME,
    )


def _view(view: tables.View, source: FileSource | PushSource, *entities: Entity) -> FeatureView:
    keys = [Field(name=key, dtype=String) for key in view.keys]
    fields = [
        Field(
            name=feature.name,
            dtype=Float64 if feature.kind == "number" else String,
            description=f"{feature.meaning} ({feature.unit})",
        )
        for feature in view.features
    ]
    return FeatureView(
        name=view.name,
        entities=list(entities),
        ttl=timedelta(days=view.ttl_days),
        schema=[*keys, *fields],
        source=source,
        online=True,
    )


shopper_entity = Entity(name="shopper", join_keys=["shopper_id"], value_type=ValueType.STRING)
item_entity = Entity(name="item", join_keys=["item_id"], value_type=ValueType.STRING)
store_entity = Entity(name="store", join_keys=["store_id"], value_type=ValueType.STRING)

shopper_rows = _source(tables.SHOPPER)
item_rows = _source(tables.ITEM)
store_rows = _source(tables.STORE)
shopper_item_rows = _source(tables.SHOPPER_ITEM)
content_affinity_rows = _source(tables.CONTENT_AFFINITY)
neighbourhood_content_rows = _source(tables.NEIGHBOURHOOD_CONTENT)
shopper_live_rows = _source(tables.SHOPPER_LIVE)
shopper_live_push = PushSource(name=tables.push_source(tables.SHOPPER_LIVE), batch_source=shopper_live_rows)

shopper = _view(tables.SHOPPER, shopper_rows, shopper_entity)
item = _view(tables.ITEM, item_rows, item_entity)
store = _view(tables.STORE, store_rows, store_entity)
shopper_item = _view(tables.SHOPPER_ITEM, shopper_item_rows, shopper_entity, item_entity)
content_affinity = _view(tables.CONTENT_AFFINITY, content_affinity_rows, shopper_entity)
neighbourhood_content = _view(tables.NEIGHBOURHOOD_CONTENT, neighbourhood_content_rows, store_entity)
shopper_live = _view(tables.SHOPPER_LIVE, shopper_live_push, shopper_entity)

shopper_service = FeatureService(name="shopper", features=[shopper, content_affinity])
item_service = FeatureService(name="item", features=[item])
store_service = FeatureService(name="store", features=[store, neighbourhood_content])
shopper_item_service = FeatureService(name="shopper_item", features=[shopper_item])
shopper_live_service = FeatureService(name="shopper_live", features=[shopper_live])
