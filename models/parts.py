"""A recommender as a part of another: named in the config of the whole, made by the registry."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Part(BaseModel):
    """Another recommender."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recommender: str = Field(description="file name in models/recommenders/")
    config: dict[str, Any] = Field(default_factory=dict, description="its own config")
