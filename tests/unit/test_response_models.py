"""The response models: chances that are probabilities, draws that follow them, effects with the right sign."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import chisquare

from pipelines.simulation.draws import Draws, Stream, extend
from pipelines.simulation.response import FORMS, Situations, choose, probabilities

WIDTH = 6
forms = pytest.mark.parametrize("form", range(len(FORMS)), ids=[form.__name__ for form in FORMS])


def _situations(n: int, seed: int = 0) -> Situations:
    random = np.random.default_rng(seed)
    draws = Draws(seed)
    visit_key = draws.keys(Stream.CHOICE, np.arange(n))
    place = np.full((n, WIDTH), -1)
    place[:, 2] = 0
    last = np.zeros((n, WIDTH), bool)
    last[:, 4] = True
    opened = np.ones((n, WIDTH), bool)
    opened[:, 5] = False
    return Situations(
        value=random.normal(1.0, 1.0, (n, WIDTH)),
        dear=random.normal(0.0, 0.4, (n, WIDTH)),
        open=opened,
        last=last,
        cut=np.zeros((n, WIDTH)),
        place=place,
        crowd=random.poisson(2.0, (n, WIDTH)).astype(float),
        need=random.normal(0.0, 1.0, n),
        due=random.uniform(0.3, 1.5, n),
        habit=np.arange(n) % 3 > 0,
        key=extend(visit_key, 10_007),
        visit_key=visit_key,
        items=np.tile(np.arange(WIDTH), (n, 1)),
    )


def _chances(told: Situations, form: int) -> np.ndarray:
    return probabilities(told, np.full(len(told), form))


@forms
def test_chances_are_probabilities_and_what_is_not_open_has_none(form: int) -> None:
    told = _situations(500)
    chances = _chances(told, form)
    assert (chances >= 0).all() and (chances.sum(axis=1) < 1).all()
    assert (chances[:, 5] == 0).all() and (chances[:, :5] > 0).all()
    nothing = replace(told, open=np.zeros_like(told.open))
    assert (_chances(nothing, form) == 0).all()
    assert (choose(nothing, _chances(nothing, form)) == -1).all()


@forms
def test_draws_follow_the_stated_probabilities(form: int) -> None:
    one, many = _situations(1, seed=form + 10), 20_000
    told = one.take(np.zeros(many, np.int64))
    visit_key = Draws(99).keys(Stream.CHOICE, np.arange(many), form)
    told = replace(told, visit_key=visit_key, key=extend(visit_key, 10_007))
    chances = _chances(told, form)
    counts = np.bincount(choose(told, chances) + 1, minlength=WIDTH + 1)[:WIDTH]  # nothing, then items; none closed
    expected = many * np.append(1 - chances[0].sum(), chances[0])[:WIDTH]
    assert counts.sum() == many
    assert chisquare(counts, expected).pvalue > 1e-3


@forms
def test_a_deeper_discount_never_sells_less(form: int) -> None:
    told = _situations(300)
    sold = []
    for cut in (0.0, 0.3, 0.9):
        dear, cuts = told.dear.copy(), told.cut.copy()
        dear[:, 2] -= cut
        cuts[:, 2] = cut
        sold.append(_chances(replace(told, dear=dear, cut=cuts), form)[:, 2])
    assert (sold[1] > sold[0]).all() and (sold[2] > sold[1]).all()


@forms
def test_who_needs_more_buys_more(form: int) -> None:
    told = _situations(300)
    later = replace(told, need=told.need + 1.0, due=told.due + 0.4)
    habits = told.habit
    assert (_chances(later, form).sum(axis=1) > _chances(told, form).sum(axis=1))[habits].all()


@forms
def test_what_is_sold_out_is_partly_replaced(form: int) -> None:
    told = _situations(300)
    opened = told.open.copy()
    opened[:, 1] = False
    before, after = _chances(told, form), _chances(replace(told, open=opened), form)
    others = np.delete(np.arange(WIDTH), 1)
    assert after[:, others].sum() > before[:, others].sum()
    assert after.sum() < before.sum()


@forms
def test_a_shopper_comes_back_to_the_item_bought_last_or_to_what_the_others_buy(form: int) -> None:
    told = _situations(300)
    without = replace(told, last=np.zeros_like(told.last))
    assert (_chances(told, form)[:, 4] > _chances(without, form)[:, 4])[told.habit].all()
    crowded = replace(told, crowd=told.crowd + 10.0 * (np.arange(WIDTH) == 0))
    follows = FORMS[form].__name__ == "social"
    assert ((_chances(crowded, form)[:, 0] > _chances(told, form)[:, 0]) == follows).all()


def test_shoppers_of_several_models_may_live_in_one_town() -> None:
    told = _situations(40)
    form = np.arange(40) % len(FORMS)
    mixed = probabilities(told, form)
    for number in range(len(FORMS)):
        assert np.array_equal(mixed[form == number], _chances(told, number)[form == number])
