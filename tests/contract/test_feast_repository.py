"""Feast imports one file of ours, and every object of ours is reachable from it."""

from __future__ import annotations

import importlib
import pkgutil
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from feast import Entity, FeatureService, FeatureView, FileSource, PushSource
from feast.repo_operations import get_repo_files

import features
from features import definitions, repository, tables

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "features"
KINDS = (Entity, FileSource, PushSource, FeatureView, FeatureService)


def test_feast_imports_definitions_and_no_other_file() -> None:
    assert [path.name for path in get_repo_files(FOLDER)] == ["definitions.py"]


def test_a_new_file_that_is_not_listed_would_be_seen(tmp_path: Path) -> None:
    copy = Path(shutil.copytree(FOLDER, tmp_path / "features", ignore=shutil.ignore_patterns("__pycache__")))
    (copy / "views.py").write_text("")
    assert [path.name for path in get_repo_files(copy)] == ["definitions.py", "views.py"]


def test_feastignore_lists_no_file_that_is_gone() -> None:
    lines = (FOLDER / ".feastignore").read_text().splitlines()
    listed = [line for line in lines if line and not line.startswith("#")]
    assert sorted(listed) == listed
    assert all((FOLDER / name).is_file() for name in listed)


def test_every_feast_object_of_the_room_is_reachable_from_definitions() -> None:
    reachable = {id(value) for value in vars(definitions).values() if isinstance(value, KINDS)}
    for module in pkgutil.iter_modules(features.__path__):
        for name, value in vars(importlib.import_module(f"features.{module.name}")).items():
            if isinstance(value, KINDS):
                assert id(value) in reachable, f"features/{module.name}.py: {name}"
    for view in (value for value in vars(definitions).values() if isinstance(value, FeatureView)):
        assert id(view.batch_source) in reachable


def test_feast_reads_the_same_objects_once_each_as_we_apply() -> None:
    # In a process of its own: Feast imports definitions.py by its bare name.
    code = (
        "from configs import telemetry; telemetry.turn_off()\n"
        "from pathlib import Path\n"
        "from feast.repo_operations import parse_repo\n"
        f"found = parse_repo(Path({str(FOLDER)!r}))\n"
        "kinds = (found.entities, found.data_sources, found.feature_views, found.feature_services)\n"
        "print(sorted(f'{type(o).__name__}:{o.name}' for kind in kinds for o in kind if o.name != '__dummy'))"
    )
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    ours = sorted(f"{type(value).__name__}:{value.name}" for value in repository.declared())
    assert said.strip() == str(ours)
    assert len(set(ours)) == len(ours)


@pytest.mark.parametrize("name", tables.VIEWS)
def test_a_feast_view_has_the_tables_keys_features_and_time_to_live(name: str) -> None:
    view = next(value for value in repository.declared() if isinstance(value, FeatureView) and value.name == name)
    table = tables.VIEWS[name]
    assert [column.name for column in view.entity_columns] == list(table.keys)
    assert [feature.name for feature in view.features] == table.feature_names
    assert view.ttl == timedelta(days=table.ttl_days)
    assert (view.stream_source is not None) == table.pushed
    assert view.batch_source.created_timestamp_column == tables.CREATED_TIME


@pytest.mark.parametrize("name", tables.SERVICES)
def test_a_feast_service_joins_the_tables_views_and_no_two_features_share_a_name(name: str) -> None:
    service = next(value for value in repository.declared() if isinstance(value, FeatureService) and value.name == name)
    assert [projection.name for projection in service.feature_view_projections] == [
        view.name for view in tables.SERVICES[name]
    ]
    names = [feature for view in tables.SERVICES[name] for feature in view.feature_names]
    assert len(set(names)) == len(names)


def test_no_absolute_path_is_committed() -> None:
    assert all(not Path(value.path).is_absolute() for value in repository.declared() if isinstance(value, FileSource))
