"""The value model's step of a retraining: train, judge on a later window, keep the model and the odds it tells."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from configs.settings import Settings
from models.base import Recommender
from pipelines.offers.value.judged import judged
from pipelines.offers.value.kept import FACTS, ValueFacts
from pipelines.offers.value.model import fit_value
from pipelines.offers.value.parameters import FOLDER as MODEL
from pipelines.offers.value.parameters import keep_model
from pipelines.offers.value.scored import what_is_known, write_scored
from pipelines.signals.lake.lake import Lake
from state.files import build_folder

_TOO_LITTLE = (
    "too little was shown so far to learn what showing is worth; candidates are ranked by their score and explored, "
    "which makes what a later run learns from"
)


def train_value(
    folder: Path,
    settings: Settings,
    lake: Lake,
    model: Recommender,
    *,
    cut: datetime,
    end: datetime,
    candidates: int,
    seed: int,
    progress: Callable[[str], None],
) -> ValueFacts:
    """Train on what is known before `end`, keep model and odds in `folder`, which appears whole, and judge the method.

    Args:
        folder: where model, odds and facts go; one that is there already is read.
        settings: names what counts as a purchase.
        lake: the shop's data.
        model: the recommender beside which it will serve.
        cut: a second model that knows nothing from here on is judged on what followed.
        end: nothing from here on is read.
        candidates: how many items a shopper may have.
        seed: of samples and trees.
        progress: told how far it is.
    """
    if not folder.exists():
        build_folder(folder, lambda draft: _fill(draft, settings, lake, model, cut, end, candidates, seed, progress))
    return ValueFacts.model_validate(json.loads((folder / FACTS).read_text()))


def _fill(
    folder: Path, settings: Settings, lake: Lake, model: Recommender, cut: datetime, end: datetime, candidates: int,
    seed: int, progress: Callable[[str], None],
) -> None:  # fmt: skip
    data = what_is_known(settings, lake, end)
    found = None if data is None else fit_value(data, seed=seed)
    if data is None or found is None:
        facts = ValueFacts(trained=False, why=_TOO_LITTLE)
        progress(f"  no value model: {_TOO_LITTLE}")
    else:
        progress(f"  value model of {len(data.showings):,} showings and {len(data.purchases):,} purchases")
        write_scored(folder, lake, found, model, candidates)
        keep_model(folder / MODEL, found, seed=seed)
        metrics = judged(data, int(cut.timestamp()), seed=seed)
        facts = ValueFacts(trained=True, metrics=metrics, candidates=candidates, moment=end)
    (folder / FACTS).write_text(facts.model_dump_json(indent=1))
