"""What a decision is asked and what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from configs.policy import PolicySettings
from models.reasons import Reason
from pipelines.offers.eligibility import Placement, Refusal
from pipelines.offers.facts import Facts
from pipelines.offers.pool import Pool
from pipelines.offers.slate import Slots
from pipelines.packed import Ranked
from pipelines.shop_offers import Offer

POLICY_VERSION = "worth-3"
# A shopper is served as such only when they are so probable; below it everybody there gets the neighbourhood's slate.
SURE = 0.8
BEST_SELLERS = ("home", "store", "chain")
NAMES = {"home": "neighbourhood"}
OWN, ASSORTMENT, REQUESTED, NEWCOMERS = "shopper", "assortment", "requested", "newcomers"
CHECKOUT: Placement = "checkout"  # for small goods that are bought on impulse


class Why(StrEnum):
    """Why a slate is not the shopper's own; the answer's `fallback` is `<why>:<level>`."""

    ANONYMOUS = "anonymous"  # nobody was named
    UNSURE = "unsure"  # several shoppers are possible and none is probable enough
    QUIET = "quiet"  # somebody said that they are not the shopper, a moment ago
    HOLDOUT = "holdout"  # the shopper is of those who never get personal offers, to measure what these bring
    NO_MODEL = "no_model"  # no champion was published yet
    UNKNOWN_SHOPPER = "unknown_shopper"  # the champion does not know this shopper
    TOO_FEW = "too_few"  # the shopper's own candidates did not fill the slate
    NOTHING_ALLOWED = "nothing_allowed"  # no candidate of any level may be shown here


def fallbacks() -> list[str]:
    """Every value that a slate's `fallback` may have besides None."""
    levels = ("neighbourhood", "store", "chain", ASSORTMENT, REQUESTED, NEWCOMERS)
    return [
        *(f"{why}:{level}" for why in Why if why is not Why.NOTHING_ALLOWED for level in levels),
        f"{Why.TOO_FEW}:shopper",
        Why.NOTHING_ALLOWED.value,
    ]


@dataclass(frozen=True)
class Ask:
    """A question for one placement.

    Attributes:
        placement, store_id: where.
        count: how many items at most.
        shopper_id: for whom; None: nobody in particular.
        unsure: several shoppers were possible and none probable enough.
        exclude: item ids to leave out.
        candidates: rank these item ids only; None: all.
        categories: paths of the categories that this screen or aisle is for; their goods go first.
        shoppers: who may stand there, each with a probability (`doubt.check_probabilities`), where shopper_id is None.
    """

    placement: Placement
    store_id: str | None
    count: int
    shopper_id: str | None = None
    unsure: bool = False
    exclude: Sequence[str] = ()
    candidates: Sequence[str] | None = None
    categories: Sequence[str] = ()
    shoppers: Sequence[tuple[str, float]] = ()


class Terms(NamedTuple):
    """What an item costs here and now: minor units; `was` only while a discount runs, None price: not known."""

    offer: Offer | None
    price: int | None
    was: int | None


class Chosen(NamedTuple):
    """One item of a slate: where it stands in the shop, what ranked it, why, at what price, with what probability."""

    place: int
    score: float
    reason: Reason
    terms: Terms
    propensity: float


@dataclass(frozen=True)
class Looked:
    """Candidates of one level as the decision read them, whether they were taken or not."""

    level: str
    ranked: Ranked


@dataclass(frozen=True)
class Slate:
    """The answer: items, best first, why it is not the shopper's own (None: it is), and what was refused.

    `looked` holds the candidates that were read, level by level; with what the shop says of them, the facts, the policy
    and the seed the slate can be decided again. `slots` tells of each item which of `pool` could have been there.
    """

    items: tuple[Chosen, ...]
    fallback: str | None
    looked: tuple[Looked, ...]
    pool: Pool
    slots: Slots
    facts: Facts
    policy: PolicySettings
    seed: str
    refused: dict[str, list[Refusal]] = field(default_factory=dict)


def probable(shoppers: Sequence[tuple[str, float]]) -> str | None:
    """The shopper to serve when several are possible: the one of probability SURE or more, if there is one.

    Below that the slate tells nothing of anybody: an own list shown to the wrong person discloses what the right one
    buys, and the neighbourhood's list loses little.
    """
    best = max(shoppers, key=lambda pair: pair[1], default=None)
    return best[0] if best is not None and best[1] >= SURE else None
