"""How offers are decided: configs/policy.yaml, or the file that FACINGS_POLICY names."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from configs.yaml_file import read_model

POLICY = Path(__file__).resolve().parent / "policy.yaml"

# What counts when the shop's snapshot is made, and what the server does besides deciding: the same for every shopper.
OF_SHOP = frozenset({"sensitive_categories", "durable_categories", "bought_days", "due_share", "cap_days"})
OF_SERVER = frozenset({"holdout", "quiet_minutes", "redeem_hours"})


class PolicySettings(BaseModel):
    """What a decision may be told; shares are fractions, amounts of money minor units.

    Every key has the default that configs/policy.yaml states, so a file need name only what differs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    exploration: float = Field(
        0.05, ge=0.05, le=1, description="chance that a slot is drawn from what may be shown, not given to the best"
    )
    seed_minutes: float = Field(
        10.0, gt=0, description="for so long the same question draws the same, so that a screen does not flicker"
    )
    holdout: float = Field(0.02, ge=0, le=0.5, description="share of shoppers who never get personal offers")

    maker_cap: int = Field(2, ge=1, description="items of one maker on a slate at most")
    diversity: float = Field(
        0.2, ge=0, le=1, description="part of its worth that an item loses beside one that is like it in all"
    )
    newcomer_days: int = Field(60, ge=0, description="a maker is new for so long after it joined")
    newcomer_share: float = Field(
        0.02, ge=0, le=0.5, description="least share of the slots for each new maker, where its items may be shown"
    )
    newcomers_most: float = Field(0.1, ge=0, le=0.5, description="share of the slots for all new makers together")
    impulse_share: float = Field(
        0.5, gt=0, le=1, description="the cheapest share of the goods is what a checkout shows first"
    )

    margin_floor: float = Field(
        0.0, ge=-1, description="nothing is shown at less than its cost times 1 + this, where the cost is known"
    )
    sensitive_categories: tuple[str, ...] = Field(
        ("HEALTH", "ADULT", "ALCOHOL"),
        description="roots of category paths that are as sensitive as what the items table flags",
    )
    durable_categories: tuple[str, ...] = Field(
        (), description="roots of category paths of goods that are bought once: who has one is not shown it again"
    )
    bought_days: float = Field(
        3.0,
        ge=0,
        description="what a shopper bought is not shown to them for so long, where no usual time tells when",
    )
    due_share: float = Field(
        0.5, ge=0, le=5, description="share of the usual time between two purchases after which the next one is due"
    )
    redeem_hours: float = Field(
        4.0, gt=0, description="mean time from an offer shown to its sale: for so long its money counts as committed"
    )
    quiet_minutes: float = Field(30.0, ge=0, description="no personal slate for so long after a shopper's `not me`")
    cap_days: float = Field(7.0, gt=0, description="what was shown within so many days counts for the caps")
    offer_cap: int = Field(
        10, ge=1, le=100, description="slates on which a shopper is shown one item within cap_days at most"
    )
    harm: float = Field(
        100.0, ge=0, description="what it costs to show somebody a slate that tells of another person, minor units"
    )


def load_policy(path: Path | None = None) -> PolicySettings:
    """Read the settings.

    Raises:
        UsageError: the file is missing or no YAML, or a key is unknown or wrong; the sentence names it.
    """
    place = path or POLICY
    return read_model(PolicySettings, place, missing=f"There is no policy at {place}; correct FACINGS_POLICY.")
