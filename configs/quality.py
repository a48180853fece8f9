"""What counts as a broken feed: configs/quality.yaml, or the file that FACINGS_QUALITY_RULES names."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from configs.yaml_file import read_model

RULES = Path(__file__).resolve().parent / "quality.yaml"


class QualityRules(BaseModel):
    """Thresholds of the data checks; shares and ratios are fractions, days are days of UTC."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    window_days: int = Field(ge=1, description="days judged where no run was accepted yet, or nothing newer came in")
    window_days_most: int = Field(ge=1, description="at most so many days after the last accepted run are judged")
    reference_days: int = Field(ge=14, description="days before the window that it is compared with")
    reference_minimum: int = Field(ge=7, description="with fewer days before the window it is not judged")
    volume_low: float = Field(gt=0, lt=1, description="a day below this share of what is usual on its weekday is low")
    volume_closed: float = Field(ge=0, lt=1, description="a day below this share is one on which the shop was closed")
    closed_days: int = Field(ge=1, description="so many closed days in a row are taken for holidays")
    volume_high: float = Field(gt=1, description="days of so many times the usual rows warn")
    volume_sigmas: float = Field(gt=0, description="a difference counts beyond so many standard deviations")
    visit_low: float = Field(gt=0, lt=1, description="rows a visit below this share of the usual stop")
    silent_chance: float = Field(
        gt=0, lt=1, description="chance of a false alarm over all stores or days (Poisson, Bonferroni)"
    )
    silent_days: int = Field(ge=1, description="so many days of silence stop")
    silent_share: float = Field(ge=0, lt=1, description="where the silent stores had this share of the sales")
    price_stop: float = Field(gt=1, description="median price an item against before, up or down, that stops")
    price_warn: float = Field(gt=1, description="the same that warns")
    price_rows: int = Field(ge=1, description="rows with a known price that a day or a store's day needs to be judged")
    price_visits: int = Field(ge=1, description="and so many visits, where it is about one store")
    wild_factor: float = Field(gt=1, description="a price so many times its item's usual one, or that part, is wild")
    wild_share: float = Field(gt=0, lt=1, description="share of wild prices above the usual share that stops")
    catalogue_factor: float = Field(
        gt=1, description="median of catalogue price over paid price that stops a first run"
    )
    missing_stop: float = Field(gt=0, le=1, description="rise of a column's missing share that stops, if essential")
    missing_warn: float = Field(gt=0, le=1, description="rise that warns")
    essential: tuple[str, ...] = Field(description="columns, as table.column, without which models go wrong")
    duplicates_stop: float = Field(gt=0, le=1, description="rise of the share of equal rows with other ids that stops")
    duplicates_warn: float = Field(gt=0, le=1, description="rise that warns")
    new_items_stop: float = Field(gt=0, le=1, description="share of rows of items never sold before that stops")
    new_shoppers_stop: float = Field(gt=0, le=1, description="share of rows of shoppers never seen before that stops")
    history_lost: float = Field(gt=0, le=1, description="share of accepted rows gone that stops")
    history_grown: float = Field(gt=0, description="growth of days accepted before that stops")
    quarantine_stop: float = Field(gt=0, le=1, description="share of what came in since that stops")
    quarantine_warn: float = Field(gt=0, le=1, description="share that warns")
    shift_hours: int = Field(ge=1, le=12, description="a shift of the day's curve by so many hours stops")
    psi_note: float = Field(gt=0, description="population stability index that is told")
    psi_warn: float = Field(gt=0, description="the same that warns")
    ks_note: float = Field(gt=0, lt=1, description="Kolmogorov-Smirnov distance that is told")
    ks_warn: float = Field(gt=0, lt=1, description="the same that warns")


def load_quality_rules(path: Path | None = None) -> QualityRules:
    """Read the thresholds.

    Raises:
        UsageError: the file is missing or no YAML, or a key is unknown, missing or wrong; the sentence names it.
    """
    place = path or RULES
    return read_model(QualityRules, place, missing=f"There are no rules at {place}; correct FACINGS_QUALITY_RULES.")
