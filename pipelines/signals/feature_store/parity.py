"""Whether training and serving are told the same: features offline as of now beside those online, key by key."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from configs.clock import Clock, FixedClock
from configs.errors import FacingsError
from configs.settings import Settings

if TYPE_CHECKING:
    from features.tables import View

MOST_KEYS = 1_000
TOLERANCE = 1e-6
"""Numbers may differ by so much, times their size where that is above 1."""


class ViewParity(BaseModel):
    """How far the two stores agree on one view. No field can hold an id."""

    model_config = ConfigDict(frozen=True)

    view: str
    moment: datetime = Field(description="the newest moment computed offline, UTC")
    expired: bool = Field(
        description="its rows are older than their time to live: reads give nothing; compared as of it"
    )
    compared: int = Field(ge=0, description="keys")
    known: int = Field(ge=0, description="of these, keys of which something is known offline")
    worst: float = Field(ge=0, description="largest difference of two numbers")
    missing: int = Field(ge=0, description="keys known offline of which nothing is known online")
    differ: int = Field(ge=0, description="keys with at least one feature that differs")
    feature: str | None = Field(None, description="the feature that differs for most keys")

    @property
    def agrees(self) -> bool:
        """Whether every feature of every key is the same."""
        return self.differ == 0


def parity(settings: Settings, *, clock: Clock, most: int = MOST_KEYS, seed: int = 0) -> list[ViewParity]:
    """Compare up to `most` keys of each view that is materialised; a view that is pushed as events arrive has no twin.

    The keys are drawn at random from the newest moment, those among them that have vanished or were left out since.

    Args:
        settings: names the home and the online store.
        clock: tells the moment as of which both stores are asked.
        most: keys of each view.
        seed: of the draw.

    Raises:
        FacingsError: nothing was ever materialised, or a store does not answer.
    """
    from features.store import FeatureStore
    from features.tables import SERVICES, VIEWS

    found = []
    if settings.paths.features.is_dir():
        with closing(FeatureStore(settings, clock=clock)) as store:
            newest = {name: store.newest_moment(name) for name, view in VIEWS.items() if not view.pushed}
        for name, moment in newest.items():
            if moment is not None:
                service = next(service for service, views in SERVICES.items() if VIEWS[name] in views)
                found.append(_compare(settings, VIEWS[name], service, moment, clock, most, seed))
    if not found:
        raise FacingsError("No features were ever computed in this home; run `facings retrain` first.")
    return found


def _compare(
    settings: Settings, view: View, service: str, moment: datetime, clock: Clock, most: int, seed: int
) -> ViewParity:
    from features.store import FeatureStore
    from features.tables import EVENT_TIME

    now = clock.now()
    expired = now - moment > pd.Timedelta(days=view.ttl_days)
    asked = moment if expired else now
    with closing(FeatureStore(settings, clock=FixedClock(asked))) as store:
        keys = store.sample_keys(view.name, moment, most, np.random.default_rng(seed))
        offline = store.historical(keys.assign(**{EVENT_TIME: asked}), service)
        online = store.online(service, keys)
    wrong, worst = {}, 0.0
    for feature in view.features:
        ours, theirs = offline[feature.name], online[feature.name]
        both = ours.notna() & theirs.notna()
        same = ours.isna() & theirs.isna()
        if feature.kind == "number":
            gap = (ours - theirs).abs().where(both, 0.0)
            worst = max([worst, *gap.tolist()])
            same |= both & (gap <= TOLERANCE * ours.abs().clip(lower=1))
        else:
            same |= both & (ours == theirs)
        wrong[feature.name] = ~same
    differing = pd.DataFrame(wrong)
    known, there = (frame[view.feature_names].notna().any(axis=1) for frame in (offline, online))
    differ = int(differing.any(axis=1).sum())
    return ViewParity(
        view=view.name,
        moment=moment,
        expired=expired,
        compared=len(keys),
        known=int(known.sum()),
        worst=worst,
        missing=int((known & ~there).sum()),
        differ=differ,
        feature=str(differing.sum().idxmax()) if differ else None,
    )
