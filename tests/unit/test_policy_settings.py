"""The settings of the decision: one file, and a sentence for what does not fit."""

from __future__ import annotations

from pathlib import Path

import pytest

from configs.errors import UsageError
from configs.policy import PolicySettings, load_policy


def test_the_file_states_the_defaults_and_another_need_name_only_what_differs(tmp_path: Path) -> None:
    assert load_policy() == PolicySettings()
    (tmp_path / "policy.yaml").write_text("maker_cap: 3\n")
    assert load_policy(tmp_path / "policy.yaml") == PolicySettings(maker_cap=3)


@pytest.mark.parametrize(
    ("content", "told"),
    [("exploration: 0.01", "exploration"), ("holdout: 2", "holdout"), ("explore: 0.1", "explore"), ("- 1", "mapping")],
)
def test_what_does_not_fit_is_told(tmp_path: Path, content: str, told: str) -> None:
    (tmp_path / "policy.yaml").write_text(content)
    with pytest.raises(UsageError, match=told):
        load_policy(tmp_path / "policy.yaml")
    with pytest.raises(UsageError, match="FACINGS_POLICY"):
        load_policy(tmp_path / "none.yaml")
