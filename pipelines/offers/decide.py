"""The decision for one placement: what may be shown, what it is worth, and a slate of it that also explores.

Candidates come level by level: the shopper's own, the neighbourhood's best-sellers, the store's, the chain's, last
whatever the store has; each level only as far as those before do not fill the slate. One allowed item is enough for an
answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from configs.policy import PolicySettings
from features.live import micros
from models.reasons import Reason
from pipelines.offers.derived import derived
from pipelines.offers.eligibility import DEFAULT, Placement, Refusal, Setting, refusals
from pipelines.offers.explore import NO_SEED, draws
from pipelines.offers.facts import NOTHING, Facts
from pipelines.offers.pool import Part, Pool, joined
from pipelines.offers.slate import Drawn, fill, fillable
from pipelines.offers.view import NO_MODEL, Reads
from pipelines.offers.worth import NO_OFFER, options
from pipelines.packed import ODDS, REASONS, Ranked
from pipelines.shop_offers import UNKNOWN_PRICE, Offer

POLICY_VERSION = "worth-1"
# A shopper is served as such only when they are so probable; below it everybody there gets the neighbourhood's slate.
SURE = 0.8
BEST_SELLERS = ("home", "store", "chain")
_NAMES = {"home": "neighbourhood"}
OWN, ASSORTMENT, REQUESTED, NEWCOMERS = "shopper", "assortment", "requested", "newcomers"
CHECKOUT: Placement = "checkout"  # for small goods that are bought on impulse
_BLOCK = 4096
_MOST_NEW_MAKERS = 16


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
    """

    placement: Placement
    store_id: str | None
    count: int
    shopper_id: str | None = None
    unsure: bool = False
    exclude: Sequence[str] = ()
    candidates: Sequence[str] | None = None
    categories: Sequence[str] = ()


@dataclass(frozen=True)
class Terms:
    """What an item costs here and now: minor units; `was` only while a discount runs, None price: not known."""

    offer: Offer | None
    price: int | None
    was: int | None


@dataclass(frozen=True)
class Chosen:
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
    slots: tuple[Drawn, ...]
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


def decide(
    view: Reads,
    ask: Ask,
    now: datetime,
    *,
    facts: Facts = NOTHING,
    policy: PolicySettings = DEFAULT,
    seed: str = NO_SEED,
    explain: bool = False,
    live: Ranked | None = None,
) -> Slate:
    """Fill a slate with what may be shown; it always answers.

    Args:
        view: what is read of the shop and the model.
        ask: the question.
        now: the moment.
        facts: what is true at this moment and in no snapshot.
        policy: the settings.
        seed: of the draws (`explore.seed_of`): the same seed and question give the same slate.
        explain: also tell what was refused.
        live: the shopper's own candidates where they did something since the champion was trained.
    """
    decision = _Decision(view, ask, now, facts, policy, seed, explain=explain)
    decision.read(live)
    return decision.slate()


def chances(
    view: Reads,
    ask: Ask,
    now: datetime,
    given: Sequence[int],
    *,
    facts: Facts = NOTHING,
    policy: PolicySettings = DEFAULT,
    seed: str = NO_SEED,
    live: Ranked | None = None,
) -> tuple[Pool, list[Drawn]]:
    """With which probabilities the slots would be filled, where the slots before were filled as `given`.

    Args:
        view, ask, now, facts, policy, seed, live: as `decide`.
        given: positions in the shop of what was shown, slot by slot.

    Returns:
        The candidates, and the slots with their propensities; fewer than `given` where the candidates are used up.
    """
    decision = _Decision(view, ask, now, facts, policy, seed, explain=False)
    decision.read(live)
    pool = decision.pool()
    where = {place: at for at, place in enumerate(pool.places.tolist())}
    return pool, fill(pool.goods, ask.count, policy, decision.chance, [where.get(place, -1) for place in given])


class _Decision:
    """One decision under way: candidates are read and weighed until they fill the slate, then they get their places."""

    def __init__(
        self, view: Reads, ask: Ask, now: datetime, facts: Facts, policy: PolicySettings, seed: str, *, explain: bool
    ) -> None:
        self.explain = explain
        self.view, self.ask, self.now, self.facts, self.policy, self.seed = view, ask, now, facts, policy, seed
        self.known = derived(view.shop)
        self.chance = draws(seed, ask.count + 1)  # one more for new makers
        self.quiet = facts.quiet_until is not None and micros(now) < facts.quiet_until
        self.personal = ask.shopper_id is not None and not self.quiet and not facts.holdout
        excluded = np.unique(view.shop.positions(list(ask.exclude))) if ask.exclude else np.zeros(0, np.int32)
        recognised = ask.shopper_id is not None or ask.unsure
        self.setting = Setting(ask.placement, ask.store_id, recognised, excluded, now, facts, policy)
        self.wanted = None if ask.candidates is None else view.shop.positions(list(ask.candidates))
        self.focus = self.known.focus(ask.categories) if ask.categories else None
        self.seen = np.zeros(view.shop.size, bool)
        self.looked: list[Looked] = []
        self.parts: list[Part] = []
        self.refused: dict[int, list[Refusal]] = {}

    def read(self, live: Ranked | None) -> None:
        """Read the levels as far as they are needed, and what new makers have."""
        full = False
        for level, ranked in self._levels(live):
            self._take(level, ranked, only_tell=full)
            full = full or self._full(level)
            if full and not (self.explain and self.wanted is not None):
                break
        shares = self.facts.exposure
        if shares is None:
            shares = self.known.newcomers(self.now, self.policy.newcomer_days, self.policy.newcomer_share)
        turn = float(self.chance[-1, 0])
        makers = sorted(shares)
        if len(makers) > _MOST_NEW_MAKERS:
            makers = [makers[(int(turn * len(makers)) + step) % len(makers)] for step in range(_MOST_NEW_MAKERS)]
        self.shares = {maker: shares[maker] for maker in makers}
        if makers:
            self._take(NEWCOMERS, _plain(self.known.items_of(makers, turn), Reason.IN_ASSORTMENT), only_tell=False)

    def pool(self) -> Pool:
        """All that could be shown."""
        return joined(self.view.shop, self.parts or [self._nothing()], self.known.paths, self.shares)

    def slate(self) -> Slate:
        """Place what was read."""
        pool = self.pool()
        slots = fill(pool.goods, self.ask.count, self.policy, self.chance)
        items = tuple(self._chosen(pool, slot) for slot in slots)
        fallback = self._fallback(pool.levels[[slot.at for slot in slots]].tolist())
        refused = self._named()
        return Slate(
            items, fallback, tuple(self.looked), pool, tuple(slots), self.facts, self.policy, self.seed, refused
        )

    def _levels(self, live: Ranked | None) -> Iterator[tuple[str, Ranked]]:
        view, ask = self.view, self.ask
        if self.personal and ask.shopper_id is not None:
            yield OWN, view.candidates(ask.shopper_id) if live is None else live
        for level in BEST_SELLERS:
            yield level, view.popular(level, ask.store_id)
        if self.wanted is not None:
            yield REQUESTED, _plain(self.wanted[self.wanted >= 0], Reason.REQUESTED)
            return
        held = view.shop.in_stock(ask.store_id)
        everything = np.arange(view.shop.size, dtype=np.int32) if held is None else held
        if self.focus is not None:
            everything = everything[np.argsort(~self.focus[view.shop.categories[everything]], kind="stable")]
        for start in range(0, len(everything), _BLOCK):
            yield ASSORTMENT, _plain(everything[start : start + _BLOCK], Reason.IN_ASSORTMENT)

    def _take(self, level: str, ranked: Ranked, *, only_tell: bool) -> None:
        """Take a level's candidates in, or only what is refused of them."""
        self.looked.append(Looked(level, ranked))
        places, keep = _fresh(ranked.items, self.seen, self.wanted)
        if not len(places):
            return
        codes = refusals(self.view, places, self.setting)
        self.seen[places] = True
        if self.explain and level not in (ASSORTMENT, NEWCOMERS):  # to name all that a shop has explains nothing
            _note(self.refused, places, codes)
        allowed = np.flatnonzero(~np.logical_or.reduce(list(codes.values())))
        if len(allowed) and not only_tell:
            self.parts.append(self._weighed(level, ranked, places[allowed], keep[allowed]))

    def _weighed(self, level: str, ranked: Ranked, places: npt.NDArray[np.int32], keep: npt.NDArray[np.int64]) -> Part:
        shop, policy = self.view.shop, self.policy
        odds = _unknown(len(keep)) if ranked.odds is None else ranked.odds[keep]
        found = options(shop, places, odds, self.now, self.ask.store_id, shadow=self.facts.shadow, policy=policy)
        told = found.worth == found.worth
        value = np.where(told, found.worth, 1.0 / np.log2(2.0 + keep))  # discounted by rank, as gains are in a DCG
        if self.focus is not None:
            first = self.focus[shop.categories[places]]
        elif self.ask.placement == CHECKOUT:
            prices = shop.prices[places]
            first = (prices != UNKNOWN_PRICE) & (prices <= self.known.impulse(policy.impulse_share))
        else:
            first = np.ones(len(places), bool)
        return Part(level, places, ranked.scores[keep], ranked.reasons[keep], found, value, told, first)

    def _full(self, level: str) -> bool:
        """Whether what was read so far fills the slate; as far as best-sellers go, with what the placement is for."""
        makers = self.view.shop.makers
        count, cap = self.ask.count, self.policy.maker_cap
        best = [part.places[part.first & (part.value >= 0)] for part in self.parts]
        if sum(map(len, best)) >= count and fillable(makers[np.concatenate(best)], cap) >= count:
            return True
        if level == OWN or level in BEST_SELLERS[:-1] or (level in BEST_SELLERS and self.focus is not None):
            return False
        every = [part.places for part in self.parts]
        return sum(map(len, every)) >= count and fillable(makers[np.concatenate(every)], cap) >= count

    def _nothing(self) -> Part:
        none = np.zeros(0, np.int32)
        return self._weighed(ASSORTMENT, _plain(none, Reason.IN_ASSORTMENT), none, np.zeros(0, np.int64))

    def _chosen(self, pool: Pool, slot: Drawn) -> Chosen:
        at = slot.at
        place, row, worth = int(pool.places[at]), int(pool.options.row[at]), float(pool.options.worth[at])
        score = worth if worth == worth else float(pool.scores[at])
        return Chosen(place, score, REASONS[pool.reasons[at]], terms(self.view, place, row), slot.propensity)

    def _named(self) -> dict[str, list[Refusal]]:
        places = list(self.refused)
        cards = self.view.shop.cards(places) if places else []
        named = {card["item_id"]: self.refused[place] for place, card in zip(places, cards, strict=True)}
        if self.explain and self.wanted is not None and self.ask.candidates is not None:
            unknown = (item for item, place in zip(self.ask.candidates, self.wanted, strict=True) if place < 0)
            named.update({item: [Refusal.UNKNOWN_ITEM] for item in unknown})
        return named

    def _fallback(self, levels: list[int]) -> str | None:
        names = [self.parts[level].level for level in sorted(levels)]
        ask = self.ask
        if not names:
            return Why.NOTHING_ALLOWED
        own = OWN in names
        other = next((name for name in names if name not in (OWN, NEWCOMERS)), None)
        if own and other is None:
            return None if len(names) >= ask.count else f"{Why.TOO_FEW}:shopper"
        if own:
            why = Why.TOO_FEW
        elif ask.shopper_id is None:
            why = Why.UNSURE if ask.unsure else Why.ANONYMOUS
        elif not self.personal:
            why = Why.QUIET if self.quiet else Why.HOLDOUT
        else:
            why = Why.NO_MODEL if self.view.model_version == NO_MODEL else Why.UNKNOWN_SHOPPER
        other = other or NEWCOMERS
        return f"{why}:{_NAMES.get(other, other)}"


def terms(view: Reads, place: int, row: int) -> Terms:
    """What an item costs with the offer of this row, NO_OFFER: without."""
    base = int(view.shop.prices[place])
    usual = None if base == UNKNOWN_PRICE else base
    if row == NO_OFFER:
        return Terms(None, usual, None)
    offer = view.shop.offers.offer(row)
    if not offer.discount or usual is None:
        return Terms(offer, usual, None)
    return Terms(offer, int(view.shop.offers.rows[row]["price"]), usual)


def _plain(items: npt.NDArray[np.int32], reason: Reason) -> Ranked:
    """Candidates of whom no list tells a score."""
    return Ranked(items, np.zeros(len(items), np.float32), np.full(len(items), REASONS.index(reason), np.uint8))


def _unknown(count: int) -> npt.NDArray[np.float16]:
    return np.full((count, ODDS), np.nan, np.float16)


def _fresh(
    places: npt.NDArray[np.int32], seen: npt.NDArray[np.bool_], wanted: npt.NDArray[np.int32] | None
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Candidates that no earlier level brought, in order, each once, and where they stood."""
    keep = ~seen[places]
    if wanted is not None:
        keep &= np.isin(places, wanted)
    at = np.flatnonzero(keep)
    fresh = places[at]
    first = np.empty(len(seen), np.int32)  # of each place, where it stands first: written from the end
    first[fresh[::-1]] = np.arange(len(fresh) - 1, -1, -1, dtype=np.int32)
    once = first[fresh] == np.arange(len(fresh))
    return (fresh, at) if once.all() else (fresh[once], at[once])


def _note(
    refused: dict[int, list[Refusal]], places: npt.NDArray[np.int32], codes: dict[Refusal, npt.NDArray[np.bool_]]
) -> None:
    for code, hit in codes.items():
        for place in places[hit]:
            refused.setdefault(int(place), []).append(code)
