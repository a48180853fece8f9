"""ALS: a shopper's vector is the library's own, whether trained or folded in; what is kept and what is told."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest

from configs.errors import FacingsError
from models.dataset import Dataset
from models.recommenders.als import ALS, ALSConfig
from models.registry import create, load

AS_OF = pd.Timestamp("2024-03-01", tz="UTC")
CONFIG = {"components": 6, "alpha": 5.0, "counts": "log", "decay_days": 30, "regularisation": 0.1}


def shop() -> Dataset:
    random = np.random.default_rng(4)
    rows = [
        (f"s{who:02}", f"i{(what * 2 + who) % 20:02}", AS_OF - pd.Timedelta(days=float(random.uniform(0.1, 60))))
        for who in range(30)
        for what in random.choice(10, size=6, replace=False)
    ]
    return Dataset.build(pd.DataFrame(rows, columns=["shopper_id", "item_id", "event_time"]), as_of=AS_OF)


def test_a_shopper_s_vector_is_the_one_the_library_would_calculate() -> None:
    from implicit.cpu.als import AlternatingLeastSquares

    dataset = shop()
    model = ALS(ALSConfig(**CONFIG)).fit(dataset, seed=2)  # type: ignore[arg-type]
    weights = model._weights(np.arange(30))
    confidence = weights.copy()
    confidence.data = 1 + 5 * confidence.data
    library = AlternatingLeastSquares(factors=6, regularization=0.1, alpha=1.0, num_threads=1, random_state=2)
    library.fit(confidence, show_progress=False)
    np.testing.assert_allclose(model._item_vectors, library.item_factors, rtol=1e-6)
    expected = library.recalculate_user(np.arange(30), confidence) @ library.item_factors.T
    np.testing.assert_allclose(model._relevance(weights), expected, atol=1e-3)


def test_new_events_move_an_unknown_shopper_to_where_a_trained_one_with_the_same_purchases_is() -> None:
    dataset = shop()
    model = create("als", CONFIG).fit(dataset)
    mine = dataset.interactions[dataset.interactions["shopper_id"] == "s03"]
    folded, known = (
        model.fold_in(mine.assign(shopper_id="stranger"), 20, now=AS_OF),
        model.recommend(["s03"], 20),
    )
    assert folded["item_id"].tolist() == known["item_id"].tolist()
    np.testing.assert_allclose(folded["score"], known["score"], atol=1e-5)


def test_only_training_needs_the_library_and_its_absence_is_one_sentence(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pathlib import Path

    folder = Path(str(tmp_path)) / "model"
    model = create("als", CONFIG).fit(shop())
    model.save(folder)
    for name in [name for name in sys.modules if name.partition(".")[0] == "implicit"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "implicit", None)
    pd.testing.assert_frame_equal(load(folder).recommend(["s01"], 9), model.recommend(["s01"], 9))
    with pytest.raises(FacingsError, match="needs the library implicit"):
        create("als", CONFIG).fit(shop())
