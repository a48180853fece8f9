"""Who is in the holdout and in which variant: uniform, independent between layers, and stable."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from configs.errors import UsageError
from configs.experiments import Experiments, load_experiments
from configs.policy import PolicySettings
from pipelines.offers.experiments.assignment import bucket, groups, in_holdout, policy_of, variant_of
from state.forgotten import pseudonym

KEY = bytes(range(32))
SHOPPERS = [pseudonym(f"s{number}", KEY) for number in range(20_000)]
NOW = datetime(2026, 11, 26, tzinfo=UTC)


def _two(share: float = 0.5, **other: object) -> dict[str, object]:
    arms = {"as-it-is": {"share": share}, "new": {"share": 1 - share, "policy": {"exploration": 0.1}}}
    return {"layer": "a", "starts": datetime(2026, 11, 1, tzinfo=UTC), "control": "as-it-is", "variants": arms, **other}


def test_buckets_are_uniform_and_layers_independent() -> None:
    one, other = (np.array([bucket(who, layer) for who in SHOPPERS]) for layer in ("layer:a", "layer:b"))
    assert stats.kstest(one, "uniform").pvalue > 0.001
    table, *_ = np.histogram2d(one, other, bins=10, range=[[0, 1], [0, 1]])
    assert stats.chi2_contingency(table).pvalue > 0.001
    assert one.min() >= 0 and one.max() < 1


def test_assignment_is_the_same_for_ever() -> None:
    # Golden: another hash would throw every shopper of a running experiment into another arm.
    assert bucket("somebody", "holdout") == 0.06965736921010102
    assert bucket("somebody", "experiment:x") == 0.26905572318255433


def test_holdout_never_moves_when_experiments_change_and_only_grows_with_its_share() -> None:
    small = {who for who in SHOPPERS if in_holdout(who, 0.02)}
    assert small <= {who for who in SHOPPERS if in_holdout(who, 0.05)}
    assert len(small) == pytest.approx(400, abs=4 * np.sqrt(400))
    for settings in (
        Experiments(),
        Experiments.model_validate({"experiments": {"x": _two()}}),
        Experiments.model_validate({"experiments": {"x": _two(0.1, to=0.3), "y": _two(0.7, **{"from": 0.3})}}),
    ):
        drawn = {who: groups(who, settings, holdout=0.02, now=NOW) for who in SHOPPERS}
        assert {who for who, group in drawn.items() if group.holdout} == small
        assert all(not drawn[who].variants for who in small)


def test_shares_are_kept_and_another_experiment_moves_nobody() -> None:
    alone = Experiments.model_validate({"experiments": {"x": _two(0.25, to=0.4)}})
    beside = Experiments.model_validate(
        {"experiments": {"y": _two(0.5, **{"from": 0.4}), "x": _two(0.25, to=0.4), "z": {**_two(), "layer": "b",
         "variants": {"as-it-is": {"share": 0.5}, "new": {"share": 0.5}}}}}
    )  # fmt: skip
    before = {who: groups(who, alone, holdout=0, now=NOW).variants.get("x") for who in SHOPPERS}
    after = {who: groups(who, beside, holdout=0, now=NOW).variants for who in SHOPPERS}
    assert before == {who: variants.get("x") for who, variants in after.items()}
    counts = [list(before.values()).count(arm) for arm in ("as-it-is", "new", None)]
    assert stats.chisquare(counts, np.array([0.1, 0.3, 0.6]) * len(SHOPPERS)).pvalue > 0.001
    assert not any({"x", "y"} <= set(variants) for variants in after.values())
    pairs = np.zeros((2, 2))
    for variants in after.values():
        if "x" in variants:
            pairs[variants["x"] == "new", variants["z"] == "new"] += 1
    assert stats.chi2_contingency(pairs).pvalue > 0.001


def test_arms_of_a_later_experiment_in_the_same_place_are_drawn_anew() -> None:
    both = [(variant_of(who, "x", one), variant_of(who, "y", one)) for one in [_x()] for who in SHOPPERS]
    table = np.zeros((2, 2))
    for first, second in both:
        table[first == "new", second == "new"] += 1
    assert stats.chi2_contingency(table).pvalue > 0.001


def test_an_experiment_runs_from_its_start_to_its_end_and_its_arm_changes_the_policy() -> None:
    settings = Experiments.model_validate({"experiments": {"x": _two(ends=datetime(2026, 12, 1))}})
    who = next(who for who in SHOPPERS if variant_of(who, "x", settings.experiments["x"]) == "new")
    told = {
        now: policy_of(groups(who, settings, holdout=0, now=now), settings, PolicySettings()).exploration
        for now in (datetime(2026, 10, 31, 23, 59, tzinfo=UTC), NOW, datetime(2026, 12, 1, tzinfo=UTC))
    }
    assert list(told.values()) == [0.05, 0.1, 0.05]


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"variants": {"as-it-is": {"share": 0.5}, "new": {"share": 0.4}}}, "sum to 0.9"),
        ({"control": "old"}, "its control old is none of its variants"),
        ({"from": 0.6, "to": 0.6}, "is empty"),
        ({"layer": "holdout"}, "the permanent holdout's"),
        ({"ends": datetime(2026, 10, 1)}, "ends .* before it starts"),
        ({"exploration": 1}, "exploration"),
        ({"variants": {"as-it-is": {"share": 0.5}, "new": {"share": 0.5, "policy": {"maker_cap": 0}}}}, "maker_cap"),
        ({"variants": {"as-it-is": {"share": 0.5}, "new": {"share": 0.5, "policy": {"holdout": 0}}}}, "holdout"),
        (
            {"variants": {"as-it-is": {"share": 0.5}, "new": {"share": 0.5, "policy": {"cap_days": 1}}}},
            "cap_days: the same",
        ),
    ],
)
def test_what_does_not_hold_is_refused_by_name(tmp_path: Path, changed: dict[str, object], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        _load(tmp_path, {"x": {**_two(), **changed}})


def test_experiments_at_the_same_time_do_not_want_the_same_shoppers_or_settings(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="x and y overlap in layer a"):
        _load(tmp_path, {"x": _two(to=0.6), "y": _two(**{"from": 0.5})})
    with pytest.raises(UsageError, match="x and y both set exploration"):
        _load(tmp_path, {"x": _two(), "y": _two(layer="b")})
    _load(tmp_path, {"x": _two(ends=datetime(2026, 12, 1)), "y": _two(starts=datetime(2026, 12, 1))})


def test_by_default_there_is_none() -> None:
    assert load_experiments() == Experiments()


def _x():
    return Experiments.model_validate({"experiments": {"x": _two()}}).experiments["x"]


def _load(folder: Path, experiments: dict[str, object]) -> Experiments:
    import yaml

    (folder / "experiments.yaml").write_text(yaml.safe_dump({"experiments": experiments}))
    return load_experiments(folder / "experiments.yaml")
