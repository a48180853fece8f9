"""The decision for one placement: the shopper's candidates, else the neighbourhood's, the store's, the chain's.

Where these are used up, whatever the store has fills the slate: one allowed item is enough for an answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from models.reasons import Reason
from pipelines.offers.eligibility import Placement, Refusal, Setting, Terms, refusals, terms
from pipelines.offers.facts import NOTHING, Facts
from pipelines.offers.view import NO_MODEL, Reads
from pipelines.packed import REASONS, Ranked
from pipelines.shop_offers import Offer

# The slate is the best allowed candidates in order, without exploration: what is shown is shown with certainty.
POLICY_VERSION = "greedy-1"
CERTAIN = 1.0
# A shopper is served as such only when they are so probable; below it everybody there gets the neighbourhood's slate.
SURE = 0.8
_LEVELS = ("home", "store", "chain")
_NAMES = {"home": "neighbourhood"}
OWN, _ASSORTMENT, REQUESTED = "shopper", "assortment", "requested"
_BLOCK = 4096


class Why(StrEnum):
    """Why a slate is not the shopper's own; the answer's `fallback` is `<why>:<level>`."""

    ANONYMOUS = "anonymous"  # nobody was named
    UNSURE = "unsure"  # several shoppers are possible and none is probable enough
    NO_MODEL = "no_model"  # no champion was published yet
    UNKNOWN_SHOPPER = "unknown_shopper"  # the champion does not know this shopper
    TOO_FEW = "too_few"  # the shopper's own candidates did not fill the slate
    NOTHING_ALLOWED = "nothing_allowed"  # no candidate of any level may be shown here


def fallbacks() -> list[str]:
    """Every value that a slate's `fallback` may have besides None."""
    levels = ("neighbourhood", "store", "chain", _ASSORTMENT, REQUESTED)
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
    """

    placement: Placement
    store_id: str | None
    count: int
    shopper_id: str | None = None
    unsure: bool = False
    exclude: Sequence[str] = ()
    candidates: Sequence[str] | None = None


@dataclass(frozen=True)
class Chosen:
    """One item of a slate; `base` and `offers` are what its terms were made of."""

    place: int
    score: float
    reason: Reason
    terms: Terms
    base: int
    offers: Sequence[Offer]


@dataclass(frozen=True)
class Looked:
    """Candidates of one level as the decision read them, whether they were taken or not."""

    level: str
    ranked: Ranked


@dataclass(frozen=True)
class Slate:
    """The answer: items, best first, why it is not the shopper's own (None: it is), and what was refused.

    `looked` holds the candidates that were read, level by level; with what the shop says of them the slate can be
    decided again.
    """

    items: tuple[Chosen, ...]
    fallback: str | None
    looked: tuple[Looked, ...]
    refused: dict[str, list[Refusal]] = field(default_factory=dict)


def probable(shoppers: Sequence[tuple[str, float]]) -> str | None:
    """The shopper to serve when several are possible: the one of probability SURE or more, if there is one.

    Below that the slate tells nothing of anybody: an own list shown to the wrong person discloses what the right one
    buys, and the neighbourhood's list loses little.
    """
    best = max(shoppers, key=lambda pair: pair[1], default=None)
    return best[0] if best is not None and best[1] >= SURE else None


def decide(
    view: Reads,
    ask: Ask,
    now: datetime,
    *,
    facts: Facts = NOTHING,
    explain: bool = False,
    live: Ranked | None = None,
) -> Slate:
    """Fill a slate, level by level, with the best candidates that may be shown; it always answers.

    `facts` are what is true now and in no snapshot; `live` are the shopper's own candidates where they did something
    since the champion was trained.
    """
    excluded = np.unique(view.shop.positions(list(ask.exclude))) if ask.exclude else np.zeros(0, np.int32)
    setting = Setting(ask.placement, ask.store_id, ask.shopper_id is not None, excluded, facts)
    wanted = None if ask.candidates is None else view.shop.positions(list(ask.candidates))
    taken: list[tuple[str, int, float, int]] = []
    refused: dict[int, list[Refusal]] = {}
    seen = np.zeros(0, np.int32)
    looked = []
    for level, ranked in _levels(view, ask, wanted, live):
        looked.append(Looked(level, ranked))
        places, keep = _fresh(ranked.items, seen, wanted)
        if not len(places):
            continue
        codes = refusals(view, places, setting)
        allowed = ~np.logical_or.reduce(list(codes.values()))
        if level != _ASSORTMENT:  # its blocks do not overlap, and naming all that a shop has explains nothing
            seen = np.concatenate([seen, places])
            if explain:
                _note(refused, places, codes)
        for at in np.flatnonzero(allowed)[: ask.count - len(taken)]:
            source = keep[at]
            taken.append((level, int(places[at]), float(ranked.scores[source]), int(ranked.reasons[source])))
        if len(taken) >= ask.count and not (explain and wanted is not None):
            break
    items = tuple(_chosen(view, ask, now, place, score, code) for _, place, score, code in taken[: ask.count])
    fallback = _fallback(view, ask, [level for level, *_ in taken])
    return Slate(items, fallback, tuple(looked), _named(view, ask, wanted, refused) if explain else {})


def _chosen(view: Reads, ask: Ask, now: datetime, place: int, score: float, reason: int) -> Chosen:
    base, offers = int(view.shop.prices[place]), view.shop.offers(place)
    return Chosen(place, score, REASONS[reason], terms(base, offers, ask.store_id, now), base, offers)


def _levels(
    view: Reads, ask: Ask, wanted: npt.NDArray[np.int32] | None, live: Ranked | None
) -> Iterator[tuple[str, Ranked]]:
    if ask.shopper_id is not None:
        yield OWN, view.candidates(ask.shopper_id) if live is None else live
    for level in _LEVELS:
        yield level, view.shop.popular(level, ask.store_id)
    if wanted is not None:
        known = wanted[wanted >= 0]
        code = REASONS.index(Reason.REQUESTED)
        yield REQUESTED, Ranked(known, np.zeros(len(known), np.float32), np.full(len(known), code, np.uint8))
        return
    held = view.shop.in_stock(ask.store_id)
    everything = np.arange(view.shop.size, dtype=np.int32) if held is None else held
    code = REASONS.index(Reason.IN_ASSORTMENT)
    for start in range(0, len(everything), _BLOCK):
        block = everything[start : start + _BLOCK]
        yield _ASSORTMENT, Ranked(block, np.zeros(len(block), np.float32), np.full(len(block), code, np.uint8))


def _fresh(
    places: npt.NDArray[np.int32], seen: npt.NDArray[np.int32], wanted: npt.NDArray[np.int32] | None
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Candidates that no earlier level brought, in order, and where they stood."""
    keep = ~np.isin(places, seen)
    if wanted is not None:
        keep &= np.isin(places, wanted)
    at = np.flatnonzero(keep)
    first = np.sort(np.unique(places[at], return_index=True)[1])
    return places[at[first]], at[first]


def _note(
    refused: dict[int, list[Refusal]], places: npt.NDArray[np.int32], codes: dict[Refusal, npt.NDArray[np.bool_]]
) -> None:
    for code, hit in codes.items():
        for place in places[hit]:
            refused.setdefault(int(place), []).append(code)


def _named(
    view: Reads, ask: Ask, wanted: npt.NDArray[np.int32] | None, refused: dict[int, list[Refusal]]
) -> dict[str, list[Refusal]]:
    places = list(refused)
    named = {card["item_id"]: refused[place] for place, card in zip(places, view.shop.cards(places), strict=True)}
    if wanted is not None and ask.candidates is not None:
        unknown = (item for item, place in zip(ask.candidates, wanted, strict=True) if place < 0)
        named.update({item: [Refusal.UNKNOWN_ITEM] for item in unknown})
    return named


def _fallback(view: Reads, ask: Ask, levels: list[str]) -> str | None:
    if not levels:
        return Why.NOTHING_ALLOWED
    other = next((level for level in levels if level != OWN), None)
    if other is None:
        return None if len(levels) >= ask.count else f"{Why.TOO_FEW}:shopper"
    if levels[0] == OWN:
        why = Why.TOO_FEW
    elif ask.shopper_id is None:
        why = Why.UNSURE if ask.unsure else Why.ANONYMOUS
    else:
        why = Why.NO_MODEL if view.model_version == NO_MODEL else Why.UNKNOWN_SHOPPER
    return f"{why}:{_NAMES.get(other, other)}"
