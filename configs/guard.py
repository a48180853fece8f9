"""When what serves is taken back by itself."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class GuardRules(BaseModel):
    """When the guard takes back; settings by FACINGS_GUARD as JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    days: int = Field(14, ge=1, description="how far back before the promotion it looks")
    settle_hours: float = Field(2.0, gt=0, description="what a slate led to is counted for so long")
    margin: float = Field(0.05, ge=0, lt=1, description="loss of reward that is let pass, as a share of what was")
    failed_margin: float = Field(0.02, ge=0, lt=1, description="rise of the share of failed decisions that is let pass")
    slower: float = Field(3.0, ge=1, description="how many times slower decisions may become")
    confidence: float = Field(0.99, gt=0.5, lt=1, description="that an alarm is none by chance, over all looks")
    units: int = Field(12, ge=2, description="hours of stores on each side before anything is judged")
