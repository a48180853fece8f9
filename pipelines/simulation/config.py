"""How large a town is, when its history begins and by which model its shoppers decide."""

from __future__ import annotations

from datetime import date
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Variant = Literal["base", "threshold", "habit", "social", "mixed"]
VARIANTS: tuple[Variant, ...] = ("base", "threshold", "habit", "social", "mixed")
START = date(2025, 1, 6)
"""The first day of a history unless another is given: a Monday."""

MAX_SHELF_CELLS = 200_000_000


class TownConfig(BaseModel):
    """A town's size and nature. The same config and seed give the same town.

    Attributes:
        shoppers, stores: how many; bots and accounts that fake purchases are among the shoppers.
        days: for how many days the town is built (new items and makers appear on the way); more days begin alike.
        start: the first day.
        items, makers, contents: how many there are on the first day; by default they grow with the shoppers.
        variant: the response model (docs/simulation.md).
        watch_only_share: fraction of shoppers who only watch contents at first.
        watch_only_days: the day (from 0) on which they begin to shop.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    shoppers: int = Field(ge=10, le=5_000_000)
    stores: int = Field(ge=1, le=2_000)
    days: int = Field(ge=1, le=3_650)
    start: date = START
    items: int = Field(0, ge=0, le=1_000_000)
    makers: int = Field(0, ge=0, le=100_000)
    contents: int = Field(0, ge=0, le=1_000_000)
    variant: Variant = "base"
    watch_only_share: float = Field(0.08, ge=0, le=0.5)
    watch_only_days: int = Field(30, ge=0)

    @model_validator(mode="after")
    def _fill(self) -> Self:
        """Put a size in the place of every 0."""
        items = self.items or min(20_000, max(300, self.shoppers // 20))
        makers = self.makers or max(20, items // 10)
        filled = {"items": items, "makers": makers, "contents": self.contents or max(80, items // 4)}
        for name, value in filled.items():
            object.__setattr__(self, name, value)
        if self.items < 100 or self.makers < 10 or self.contents < 13:
            raise ValueError("a town needs at least 100 items, 10 makers and 13 contents")
        if self.stores * self.items > MAX_SHELF_CELLS:
            raise ValueError(f"stores x items may be at most {MAX_SHELF_CELLS:,}: every shelf is kept in memory")
        return self
