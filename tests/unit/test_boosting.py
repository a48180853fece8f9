"""Trees: what they promise to whoever ranks with them."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest

from configs.errors import FacingsError
from models.estimators.boosting import Boosting

RANDOM = np.random.default_rng(5)
FEATURES = RANDOM.normal(size=(600, 4)).astype(np.float32)
LABELS = (FEATURES[:, 1] + 0.2 * RANDOM.normal(size=600) > 0.8).astype(np.int64)
GROUPS = np.full(60, 10)
SMALL = {"num_leaves": 7, "min_data_in_leaf": 5}


def ranker(seed: int = 1) -> Boosting:
    return Boosting.train(
        FEATURES,
        LABELS,
        objective="lambdarank",
        rounds=15,
        groups=GROUPS,
        parameters={**SMALL, "bagging_fraction": 0.5, "bagging_freq": 1},
        seed=seed,
        threads=1,
    )


def test_a_ranker_puts_what_was_bought_first_and_knows_by_which_feature() -> None:
    model = ranker()
    scores = model.predict(FEATURES)
    assert scores[LABELS == 1].mean() > scores[LABELS == 0].mean() + 1
    assert model.gains().argmax() == 1


def test_binary_gives_probabilities() -> None:
    model = Boosting.train(FEATURES, LABELS, objective="binary", rounds=15, parameters=SMALL, threads=1)
    assert model.predict(FEATURES).mean() == pytest.approx(LABELS.mean(), abs=0.02)
    assert model.predict(FEATURES[:0]).shape == (0,)


@pytest.mark.parametrize("objective", ["binary", "lambdarank"])
def test_a_single_row_is_learned_from_though_rows_are_sampled(objective: Literal["binary", "lambdarank"]) -> None:
    sampled = {**SMALL, "bagging_fraction": 0.7, "bagging_freq": 1}
    model = Boosting.train(
        FEATURES[:1], LABELS[:1], objective=objective, rounds=2, groups=np.array([1]), parameters=sampled
    )
    assert np.isfinite(model.predict(FEATURES[:3])).all()


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others() -> None:
    assert np.array_equal(ranker().to_array(), ranker().to_array())
    assert not np.array_equal(ranker().to_array(), ranker(seed=2).to_array())


def test_the_number_of_threads_changes_no_score() -> None:
    one, two = (
        Boosting.train(FEATURES, LABELS, objective="binary", rounds=15, parameters=SMALL, threads=threads)
        for threads in (1, 2)
    )
    assert np.array_equal(one.predict(FEATURES, threads=1), two.predict(FEATURES, threads=2))


def test_trees_read_back_from_their_bytes_score_and_save_the_same() -> None:
    array = ranker().to_array()
    again = Boosting.from_array(array)
    assert array.dtype == np.uint8
    assert np.array_equal(again.predict(FEATURES), ranker().predict(FEATURES))
    assert np.array_equal(again.to_array(), array)


def test_what_cannot_be_learned_from_or_read_is_refused_in_one_sentence() -> None:
    with pytest.raises(FacingsError, match="need rows"):
        Boosting.train(FEATURES[:0], LABELS[:0], objective="binary", rounds=1)
    with pytest.raises(FacingsError, match="add up"):
        Boosting.train(FEATURES, LABELS, objective="lambdarank", rounds=1, groups=GROUPS[:-1])
    with pytest.raises(FacingsError, match="LightGBM could not train"):
        Boosting.train(FEATURES, LABELS, objective="binary", rounds=1, parameters={"num_leaves": 1})
    with pytest.raises(FacingsError, match="damaged"):
        Boosting.from_array(np.frombuffer(b"no trees", dtype=np.uint8))
