"""Calibration: probabilities mean what they say, however few or many the rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.errors import FacingsError
from models.artifact import read_arrays, read_header, write_artifact
from models.estimators.calibration import Calibration, calibration_error, reliability

RANDOM = np.random.default_rng(3)
rows = st.lists(st.tuples(st.floats(-5, 5, width=32), st.booleans()), min_size=1, max_size=60)


@given(rows, st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20))
def test_more_is_never_less_likely_and_nothing_is_certain(data: list[tuple[float, bool]], asked: list[float]) -> None:
    scores, outcomes = (np.array(column, float) for column in zip(*data, strict=True))
    found = Calibration.fit(scores, outcomes)
    told = found.predict(np.sort(asked))
    assert (np.diff(told) >= 0).all()
    assert (told > 0).all() and (told < 1).all()
    assert (np.diff(found.scores) > 0).all()


@given(rows, st.integers(2, 5))
def test_a_row_of_weight_k_is_k_rows(data: list[tuple[float, bool]], times: int) -> None:
    scores, outcomes = (np.array(column, float) for column in zip(*data, strict=True))
    weighted = Calibration.fit(scores, outcomes, np.full(len(scores), times))
    repeated = Calibration.fit(np.repeat(scores, times), np.repeat(outcomes, times))
    assert np.allclose(weighted.predict(scores), repeated.predict(scores))


def test_scores_of_any_scale_become_probabilities_that_hold_on_other_rows() -> None:
    chances = RANDOM.beta(1, 12, 40_000)
    happened = RANDOM.random(40_000) < chances
    scores = 7 * np.sqrt(chances) - 3  # too sure, and on no scale
    found = Calibration.fit(scores[:20_000], happened[:20_000])
    told = found.predict(scores[20_000:])
    assert calibration_error(told, happened[20_000:]) < 0.01
    assert np.abs(told - chances[20_000:]).mean() < 0.01
    assert told.mean() == pytest.approx(happened[20_000:].mean(), abs=0.005)


def test_few_rows_give_nearly_the_mean_and_never_0_or_1() -> None:
    found = Calibration.fit([0.1, 0.9], [0, 1])
    assert found.predict([0.1, 0.9]) == pytest.approx([0.25, 0.75])
    assert Calibration.fit([0.3] * 4, [0, 0, 0, 1]).predict([0.0, 1.0]) == pytest.approx([0.28, 0.28], abs=0.03)
    all_one = Calibration.fit(np.arange(9.0), np.ones(9)).predict([4.0])
    assert 0.9 < all_one[0] < 1


def test_equal_scores_are_one_point_whatever_their_order() -> None:
    scores, outcomes = np.array([1, 1, 1, 2, 2, 2.0]), np.array([1, 0, 0, 1, 1, 0])
    order = RANDOM.permutation(6)
    one, other = Calibration.fit(scores, outcomes), Calibration.fit(scores[order], outcomes[order])
    assert np.array_equal(one.scores, other.scores) and np.allclose(one.chances, other.chances)
    assert one.scores.tolist() == [1.0, 2.0]


def test_it_is_kept_as_arrays(tmp_path: Path) -> None:
    found = Calibration.fit(RANDOM.random(200), RANDOM.random(200) < 0.3)
    write_artifact(tmp_path, {}, found.to_arrays())
    back = Calibration.from_arrays(read_arrays(tmp_path, read_header(tmp_path)))
    assert np.array_equal(back.scores, found.scores) and np.array_equal(back.chances, found.chances)
    with pytest.raises(FacingsError, match="train again"):
        Calibration.from_arrays({})
    with pytest.raises(FacingsError, match="damaged"):
        Calibration.from_arrays({"calibration_scores": np.array([2.0, 1.0]), "calibration_chances": np.array([0, 1.0])})


def test_the_error_is_that_of_bins_of_equal_mass() -> None:
    told = np.array([0.1] * 50 + [0.5] * 50)
    happened = np.array([1] * 10 + [0] * 40 + [1] * 25 + [0] * 25)
    assert calibration_error(told, happened, bins=2) == pytest.approx(0.05)
    table = reliability(told, happened, bins=10)
    assert table["rows"].tolist() == [50, 50] and table["share"].tolist() == [0.2, 0.5]
    assert calibration_error(happened, happened) == 0


def test_what_cannot_be_calibrated_is_refused_and_counted() -> None:
    with pytest.raises(FacingsError, match="2 of 3 rows"):
        Calibration.fit([0.1, np.nan, 0.3], [0, 1, 2])
    with pytest.raises(FacingsError, match="at least one row"):
        Calibration.fit([], [])
    with pytest.raises(FacingsError, match="2 scores, 1 outcomes"):
        Calibration.fit([0.1, 0.2], [1])
    with pytest.raises(FacingsError, match="1 probabilities"):
        calibration_error([1.5, 0.2], [1, 0])
