"""docs/features.md says what the code says."""

from __future__ import annotations

from pathlib import Path

import pytest

from features.shopper_item import MOST_ITEMS, WITHIN_DAYS
from features.tables import KEPT_EVENTS, LIVE_TTL_MINUTES, SERVICES, TTL_DAYS, VIEWS, View

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "features.md").read_text()


@pytest.mark.parametrize("view", VIEWS.values(), ids=list(VIEWS))
def test_every_feature_is_in_the_reference_with_its_dtype_unit_and_formula(view: View) -> None:
    section = PAGE.split(f"\n## {view.name}\n")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")][1:]
    dtypes = {"number": "float64", "text": "str"}
    assert rows == [f"| {f.name} | {dtypes[f.kind]} | {f.unit} | {f.meaning} |" for f in view.features]


def test_the_reference_names_every_service() -> None:
    assert all(f"`{name}`" in PAGE for name in SERVICES)


def test_the_reference_states_the_limits_that_hold() -> None:
    assert {view.ttl_days for view in VIEWS.values() if not view.pushed} == {TTL_DAYS}
    assert {view.ttl_days * 24 * 60 for view in VIEWS.values() if view.pushed} == {LIVE_TTL_MINUTES}
    text = " ".join(PAGE.split())
    assert f"shown for {TTL_DAYS} days" in text and f"`shopper_live` for {LIVE_TTL_MINUTES} minutes" in text
    assert f"the shopper's last {KEPT_EVENTS} events" in text
    assert f"within the last {WITHIN_DAYS} days, at most {MOST_ITEMS} for each shopper" in text
