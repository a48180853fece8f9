"""Settings from the environment: nested ones as JSON, and a sentence for what does not fit."""

from __future__ import annotations

import pytest

from configs.errors import UsageError
from configs.settings import load_settings


def test_rules_of_suspicion_are_set_key_by_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACINGS_SUSPICION", '{"burst_shoppers": 12}')
    rules = load_settings().suspicion
    assert (rules.burst_shoppers, rules.on) == (12, True)


@pytest.mark.parametrize("given", ["nonsense", '{"unknown": 1}', '{"weight": 2}'])
def test_what_does_not_fit_is_told(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv("FACINGS_SUSPICION", given)
    with pytest.raises(UsageError, match=r"(?i)suspicion"):
        load_settings()
