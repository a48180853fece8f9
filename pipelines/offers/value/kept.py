"""The value model's part of a version: odds of each shopper's candidates and of an average shopper of each place.

A folder: `odds.parquet` (shopper_id, item_id and the five numbers), `places.parquet` (level, item_id and the five),
`value.json` (whether there is a model, why not, and how good it is), and `model` (`parameters.py`). Kept with the
version it was trained beside, so that its slates can be built again; rows of a forgotten shopper are erased from it as
from every such table.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict

ODDS, PLACES, FACTS = "odds.parquet", "places.parquet", "value.json"
COLUMNS = ("unshown", "shown", "slope", "keeps", "lift")


class ValueFacts(BaseModel):
    """What is told of a value model; none: why there is none. Metrics are of a later window that it had not seen."""

    model_config = ConfigDict(frozen=True)

    trained: bool
    why: str | None = None
    metrics: dict[str, float] = {}
    candidates: int = 0
    moment: datetime | None = None  # up to which the odds know the shop; None: of an older version, which did not say


def read_facts(folder: Path) -> ValueFacts | None:
    """What is told of the value model in `folder`; None: there is no such folder."""
    path = folder / FACTS
    return ValueFacts.model_validate(json.loads(path.read_text())) if path.is_file() else None


@dataclass(frozen=True)
class Kept:
    """Odds to be read for many shoppers at a time."""

    folder: Path

    @classmethod
    def of(cls, folder: Path | None) -> Kept | None:
        """Those in a folder; None where none were made."""
        facts = None if folder is None else read_facts(folder)
        return cls(folder) if folder is not None and facts is not None and facts.trained else None

    def of_shoppers(self, shopper_ids: Sequence[str]) -> pl.DataFrame:
        """shopper_id, item_id and COLUMNS of these shoppers, items with the highest worth first."""
        low, high = min(shopper_ids), max(shopper_ids)
        rows = pl.scan_parquet(self.folder / ODDS).filter(
            pl.col("shopper_id").is_between(pl.lit(low), pl.lit(high)), pl.col("shopper_id").is_in(list(shopper_ids))
        )
        return rows.collect()

    def of_places(self) -> Iterable[tuple[str, pl.DataFrame]]:
        """For each level (`home:STORE`, `store:STORE`, `chain`): item_id and COLUMNS."""
        for (level,), rows in pl.read_parquet(self.folder / PLACES).group_by("level", maintain_order=True):
            yield str(level), rows


def odds_of(frame: pl.DataFrame) -> np.ndarray[tuple[int, int], np.dtype[np.float16]]:
    """The five columns of a table as `Ranked.odds`; what an older version did not tell is 0."""
    told = [name if name in frame.columns else pl.lit(0.0).alias(name) for name in COLUMNS]
    return frame.select(told).to_numpy().astype(np.float16)
