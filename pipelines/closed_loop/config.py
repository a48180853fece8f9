"""How large a closed loop is: the town, its history, the days that are played, and how often the product learns."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from pipelines.simulation.config import Variant


class LoopConfig(BaseModel):
    """One run. The same config gives the same figures on one kind of machine and one version of the libraries.

    Attributes:
        days: days that are played.
        seed: of the town, and of every policy that draws.
        variant: how the town's shoppers decide (docs/simulation.md).
        shoppers, stores: of the town.
        history_days: days before, on which the shop shows goods at random, about half of them with an offer; what every
            policy may learn from.
        retrain_every: days between two trainings of the product; the first is on the eve of the first day.
        places: items on a screen.
        recipe: what the product trains, a name or a path; None: a quick one that keeps every item as a candidate.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    days: int = Field(14, ge=1, le=365)
    seed: int = Field(1, ge=0)
    variant: Variant = "base"
    shoppers: int = Field(2_000, ge=100, le=200_000)
    stores: int = Field(4, ge=1, le=500)
    history_days: int = Field(180, ge=14, le=730)
    retrain_every: int = Field(3, ge=1, le=365)
    places: int = Field(4, ge=1, le=20)
    recipe: str | None = None
