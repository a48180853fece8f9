"""docs/data.md says what the contract says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from configs.settings import Settings
from pipelines.signals.contract.tables import RESERVED, TABLES, Column, Kind, Table
from pipelines.signals.load import MAX_QUARANTINED, MAX_ROW_BYTES
from pipelines.signals.sources.source import MAX_COLUMNS, MAX_NAME

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "data.md").read_text()
KINDS: dict[Kind, str] = {
    "id": "id",
    "text": "text",
    "time": "time",
    "number": "number",
    "integer": "whole number",
    "boolean": "true or false",
    "list": "list",
}


def _limits(column: Column) -> str:
    said = ["required"] if column.required else []
    if column.past:
        said.append("not in the future")
    if column.low is not None:
        said.append(f"at least {column.low:g}" if column.high is None else f"{column.low:g} to {column.high:g}")
    if column.choices:
        said.append("one of " + ", ".join(column.choices))
    if column.pattern:
        said.append(f"like `{column.pattern}`")
    if column.refers_to:
        said.append(f"in the {column.refers_to} table, if that was ever ingested")
    return "; ".join(said)


@pytest.mark.parametrize("table", TABLES.values(), ids=list(TABLES))
def test_every_table_is_described_with_its_key_columns_kinds_and_limits(table: Table) -> None:
    section = PAGE.split(f"\n### {table.name}\n")[1].split("\n### ")[0]
    assert f"Key: {', '.join(table.key) if table.key else 'none: rows add up'}." in section
    rows = [line for line in section.splitlines() if line.startswith("| ")][1:]
    assert rows == [f"| {c.name} | {KINDS[c.kind]} | {_limits(c)} |" for c in table.columns]


def test_no_other_table_is_described() -> None:
    assert PAGE.split("\n## The tables\n")[1].count("\n### ") == len(TABLES)


def test_the_names_and_settings_that_hold_are_told() -> None:
    assert all(f"`{name}`" in PAGE for name in RESERVED)
    limits = PAGE.split("\n## Limits\n")[1].split("\n## ")[0]
    for limit in (MAX_COLUMNS, MAX_NAME, MAX_ROW_BYTES, MAX_QUARANTINED):
        assert re.search(rf"\b{limit}\b", limits)
    seconds = Settings.model_fields["clock_skew_seconds"].default
    assert f"`FACINGS_CLOCK_SKEW_SECONDS` ({seconds:g})" in PAGE
