"""The fast top-k of products against the plain one."""

from __future__ import annotations

import numpy as np
import pytest

from models.neural.topk import ProductIndex
from models.ranking import top_k


def vectors(rows: int, seed: int, width: int = 16, shift: float = 0.0) -> np.ndarray:
    return (np.random.default_rng(seed).normal(size=(rows, width)) + shift).astype(np.float32)


def plain(shoppers: np.ndarray, items: np.ndarray, k: int, left_out: tuple[np.ndarray, np.ndarray] | None = None):
    scores = shoppers.astype(np.float64) @ items.astype(np.float64).T
    if left_out is not None:
        scores[left_out] = -np.inf
    return top_k(scores, k)


@pytest.mark.parametrize("bfloat16", [True, False])
@pytest.mark.parametrize(("items", "shift"), [(20_000, 0.0), (8_192, 0.0), (9_001, -2.0), (300, 0.0), (7, 0.0)])
def test_the_lists_are_those_of_exact_scores(bfloat16: bool, items: int, shift: float) -> None:
    """Shift: every product is negative, so that no group holds a positive one."""
    shoppers, catalogue = vectors(150, 1, shift=-shift), vectors(items, 2, shift=shift)
    columns, scores = ProductIndex(catalogue, bfloat16=bfloat16).top(shoppers, 20)
    expected, values = plain(shoppers, catalogue, 20)
    assert (columns == expected).mean() > 0.999  # two that differ by less than float32 can tell may change places
    np.testing.assert_allclose(scores, values, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("bfloat16", [True, False])
def test_what_is_left_out_never_appears_and_the_rest_moves_up(bfloat16: bool) -> None:
    shoppers, catalogue = vectors(140, 3), vectors(9_000, 4)
    index = ProductIndex(catalogue, bfloat16=bfloat16)
    best, _ = index.top(shoppers, 30)
    left_out = (np.repeat(np.arange(140), 15), best[:, ::2].ravel())
    columns, _ = index.top(shoppers, 20, left_out)
    assert (columns == plain(shoppers, catalogue, 20, left_out)[0]).mean() > 0.999


def test_a_shopper_for_whom_all_but_three_are_left_out_gets_three() -> None:
    catalogue = vectors(9_000, 4)
    columns, scores = ProductIndex(catalogue).top(vectors(2, 3), 5, (np.zeros(8_997, np.int64), np.arange(8_997)))
    assert sorted(columns[0][:3]) == [8_997, 8_998, 8_999]
    assert (columns[0][3:] == -1).all() and np.isneginf(scores[0][3:]).all()
    assert (columns[1] >= 0).all()


def test_equal_scores_stand_by_column_and_a_list_does_not_depend_on_the_other_rows() -> None:
    catalogue = np.repeat(vectors(100, 5), 100, axis=0)
    shoppers = vectors(200, 6)
    index = ProductIndex(catalogue)
    columns, scores = index.top(shoppers, 150)
    assert (np.diff(columns[:, :100], axis=1) == 1).all()
    for row in (0, 131, 199):
        alone, own = index.top(shoppers[row : row + 1], 150)
        np.testing.assert_array_equal(alone[0], columns[row])
        np.testing.assert_array_equal(own[0], scores[row])
