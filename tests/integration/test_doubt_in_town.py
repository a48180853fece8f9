"""In simulated towns a slate under doubt earns no less than the anonymous one, and tells less than a personal one."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.simulation.config import VARIANTS, Variant
from tests.doubt_town import measure

WEIGHTS = [(0.1,), (0.6,), (1.0,), (0.5, 0.4)]


@pytest.mark.parametrize("variant", VARIANTS)
def test_it_earns_at_least_what_nobody_s_slate_does_when_the_screen_errs_as_it_says(variant: Variant) -> None:
    found = measure(variant, WEIGHTS, shoppers=200, stores=1, days=4, measured=1, harm=100.0, most=12)
    profit = {(weights, name): values for weights, name, values, _ in found}
    tells = {(weights, name): told for weights, name, _, told in found}
    for weights in WEIGHTS:
        gap = profit[weights, "doubt"] - profit[weights, "anonymous"]
        assert gap.mean() + 1.96 * gap.std() / len(gap) ** 0.5 >= 0
        assert tells[weights, "doubt"] <= tells[weights, "personal"]
    assert np.array_equal(profit[(1.0,), "doubt"], profit[(1.0,), "personal"])
    above = {weights: (profit[weights, "doubt"] - profit[weights, "anonymous"]).mean() for weights in WEIGHTS}
    assert above[(1.0,)] > above[(0.6,)] > above[(0.1,)] - 1 and above[(0.5, 0.4)] > 0
