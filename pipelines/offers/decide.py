"""The decision for one placement: what may be shown, what it is worth, and a slate of it that also explores.

Candidates come level by level: the shopper's own, the neighbourhood's best-sellers, the store's, the chain's, last
whatever the store has; each level only as far as those before do not fill the slate. One allowed item is enough for an
answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

import numpy as np
import numpy.typing as npt

from configs.policy import PolicySettings
from features.live import micros
from models.reasons import Reason
from pipelines.offers.derived import derived
from pipelines.offers.doubt import doubted
from pipelines.offers.doubt import pool as pool_of
from pipelines.offers.eligibility import BITS, DEFAULT, Codes, Refusal, Setting, refusals
from pipelines.offers.explore import NO_SEED, draws
from pipelines.offers.facts import NOTHING, Facts
from pipelines.offers.pool import Part, Pool, joined
from pipelines.offers.question import (
    ASSORTMENT,
    BEST_SELLERS,
    CHECKOUT,
    NAMES,
    NEWCOMERS,
    OWN,
    POLICY_VERSION,
    REQUESTED,
    Ask,
    Chosen,
    Looked,
    Slate,
    Terms,
    Why,
    fallbacks,
    probable,
)
from pipelines.offers.seen import Seen, fresh
from pipelines.offers.slate import Room, Slots, fill
from pipelines.offers.steps import Steps, finished
from pipelines.offers.view import NO_MODEL, Reads
from pipelines.offers.worth import NO_OFFER, Options, options
from pipelines.packed import NOBODY, REASONS, Ranked
from pipelines.shop_offers import UNKNOWN_PRICE, ShopOffers

__all__ = [
    "BEST_SELLERS",
    "OWN",
    "POLICY_VERSION",
    "Ask",
    "Chosen",
    "Looked",
    "Slate",
    "Terms",
    "Why",
    "chances",
    "decide",
    "deciding",
    "fallbacks",
    "probable",
]
_BLOCK = 4096
_MOST_NEW_MAKERS = 16


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
    return finished(deciding(view, ask, now, facts=facts, policy=policy, seed=seed, explain=explain, live=live))


def deciding(
    view: Reads,
    ask: Ask,
    now: datetime,
    *,
    facts: Facts,
    policy: PolicySettings,
    seed: str,
    explain: bool = False,
    live: Ranked | None = None,
) -> Steps[Slate]:
    """As `decide`, in steps."""
    decision = _Decision(view, ask, now, facts, policy, seed, explain=explain)
    decision.read(live)
    yield
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
) -> tuple[Pool, Slots]:
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
        recognised = ask.shopper_id is not None or ask.unsure or bool(ask.shoppers)
        self.setting = Setting(ask.placement, ask.store_id, recognised, excluded, now, facts, policy)
        self.wanted = None if ask.candidates is None else view.shop.positions(list(ask.candidates))
        self.focus = self.known.focus(ask.categories) if ask.categories else None
        self.seen = Seen()
        self.told: Seen | None = None  # the same, and what was only told of: that takes no place
        self.room = Room(ask.count, policy.maker_cap)  # for what the placement is for and loses no money
        self.any_room = Room(ask.count, policy.maker_cap)
        self.placed = 0  # of how many parts these know
        self.looked: list[Looked] = []
        self.parts: list[Part] = []
        self.refused: dict[int, list[Refusal]] = {}
        self.shared: set[int] = set()  # what stands there for some of those who may

    def read(self, live: Ranked | None) -> None:
        """Read the levels as far as they are needed, and what new makers have."""
        full = self._possible() if self.ask.shoppers and not self.quiet else False
        tells = self.explain and self.wanted is not None  # of each item that the caller names, what refuses it
        for level, ranked in self._levels(live) if tells or not full else ():
            self._take(level, ranked, only_tell=full)
            full = full or self._full(level)
            if full and not tells:
                break
        shares = self.facts.exposure
        if shares is not None:
            makers = sorted(maker for maker in shares if 0 <= maker < len(self.view.shop.joined))
        elif self.policy.newcomer_share:
            makers = self.known.newcomers(self.now, self.policy.newcomer_days)
        else:
            makers = []
        self.shares: dict[int, float] = {}
        if makers:
            turn, usual = float(self.chance[-1, 0]), self.policy.newcomer_share
            if len(makers) > _MOST_NEW_MAKERS:
                makers = [makers[(int(turn * len(makers)) + step) % len(makers)] for step in range(_MOST_NEW_MAKERS)]
            self.shares = {maker: usual if shares is None else shares[maker] for maker in makers}
            self._take(NEWCOMERS, _plain(self.known.items_of(makers, turn), Reason.IN_ASSORTMENT), only_tell=False)

    def pool(self) -> Pool:
        """All that could be shown."""
        return joined(self.parts or [self._nothing()], self.shares)

    def slate(self) -> Slate:
        """Place what was read."""
        pool = self.pool()
        slots = fill(pool.goods, self.ask.count, self.policy, self.chance)
        shown = np.array(slots.at, np.int64)
        levels, places = pool.levels[shown].tolist(), pool.places[shown]
        items = self._chosen(slots, levels, pool.within(shown, levels), places)
        fallback = self._fallback(levels, places.tolist())
        refused = self._named()
        return Slate(items, fallback, tuple(self.looked), pool, slots, self.facts, self.policy, self.seed, refused)

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

    def _possible(self) -> bool:
        """Take in what is worth most over those who may stand there; tell whether it fills the slate.

        Where no list tells odds nothing is taken in: what is shown to whom would be a guess.
        """
        view, ask, policy = self.view, self.ask, self.policy
        lists = [(probability, view.candidates(shopper)) for shopper, probability in ask.shoppers]
        level, level_list = next(
            ((level, found) for level in BEST_SELLERS if len(found := view.popular(level, ask.store_id))),
            (BEST_SELLERS[0], NOBODY),
        )
        self.looked += [Looked(OWN, ranked) for _, ranked in lists] + [Looked(level, level_list)]
        if all(ranked.odds is None for ranked in (level_list, *(ranked for _, ranked in lists))):
            return False
        people = pool_of(lists, level_list)
        places, keep = self._allowed(OWN, people.items)
        if not len(places):
            return False
        people = people.take(keep)
        weighed = [
            options(view.shop, places, odds, self.now, ask.store_id, shadow=self.facts.shadow, policy=policy)
            for odds in people.odds
        ]
        theirs = np.flatnonzero(people.scores[-1] == people.scores[-1])
        nobody = self._part(level, places[theirs], people.scores[-1][theirs], people.reasons[-1][theirs],
                            weighed[-1].take(theirs), theirs)  # fmt: skip
        anonymous = joined([nobody], {})
        shown = fill(anonymous.goods, ask.count, policy, np.ones((ask.count, 2)))  # 1 draws nothing
        best, over = doubted(people, weighed, policy.harm, anonymous.places[shown.at])
        self.parts.append(self._part(level, places, over.scores, over.reasons, best, np.arange(len(places))))
        self.shared = set(places[over.own].tolist())
        return self._full(OWN)

    def _take(self, level: str, ranked: Ranked, *, only_tell: bool) -> None:
        """Take a level's candidates in, or only what is refused of them."""
        self.looked.append(Looked(level, ranked))
        places, keep = self._allowed(level, ranked.items, only_tell=only_tell)
        if len(places) and not only_tell:
            self.parts.append(self._weighed(level, ranked, places, keep))

    def _allowed(
        self, level: str, candidates: npt.NDArray[np.int32], *, only_tell: bool = False
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """Candidates that are new and may be shown, and where they stood; refusals are noted."""
        seen = self.seen
        if only_tell:  # an explanation must not change what else may be shown
            seen = self.told = self.seen.copy() if self.told is None else self.told
        places, keep = fresh(candidates, seen, self.wanted)
        if not len(places):
            return places, keep
        codes = refusals(self.view, places, self.setting)
        if self.explain and level not in (ASSORTMENT, NEWCOMERS):  # to name all that a shop has explains nothing
            _note(self.refused, places, codes)
        allowed = np.flatnonzero(codes == 0)
        return places.take(allowed), keep.take(allowed)

    def _weighed(self, level: str, ranked: Ranked, places: npt.NDArray[np.int32], keep: npt.NDArray[np.int64]) -> Part:
        shop, policy = self.view.shop, self.policy
        kept = ranked.take(keep)
        found = options(shop, places, kept.odds, self.now, self.ask.store_id, shadow=self.facts.shadow, policy=policy)
        return self._part(level, places, kept.scores, kept.reasons, found, keep)

    def _part(
        self,
        level: str,
        places: npt.NDArray[np.int32],
        scores: npt.NDArray[np.float32],
        reasons: npt.NDArray[np.uint8],
        found: Options,
        ranks: npt.NDArray[np.int64],
    ) -> Part:
        shop = self.view.shop
        told, value = found.worth == found.worth, found.worth
        if not told.all():  # discounted by rank, as gains are in a DCG
            value = np.where(told, value, 1.0 / np.log2(2.0 + ranks))
        if self.focus is not None:
            first = self.focus[shop.categories[places]]
        elif self.ask.placement == CHECKOUT:
            prices = shop.prices[places]
            cheap = (prices != UNKNOWN_PRICE) & (prices <= self.known.impulse(self.policy.impulse_share))
            first = cheap | told  # small goods are a guess at what sells there; where the odds tell it, they decide
        else:
            first = np.ones(len(places), bool)
        return Part(level, places, self.known.traits.take(places, axis=0), scores, reasons, found, value, told, first)

    def _full(self, level: str) -> bool:
        """Whether what was read so far fills the slate; as far as best-sellers go, with what the placement is for."""
        for part in self.parts[self.placed :]:
            self.room.take(part.traits, part.first & (part.value >= 0))
            if not self.room.left:
                return True
            self.any_room.take(part.traits, np.ones(len(part.places), bool))
        self.placed = len(self.parts)
        if level == OWN or level in BEST_SELLERS[:-1] or (level in BEST_SELLERS and self.focus is not None):
            return False
        return not self.any_room.left

    def _nothing(self) -> Part:
        none = np.zeros(0, np.int32)
        return self._weighed(ASSORTMENT, _plain(none, Reason.IN_ASSORTMENT), none, np.zeros(0, np.int64))

    def _chosen(
        self, slots: Slots, levels: Sequence[int], within: Sequence[int], places: npt.NDArray[np.int32]
    ) -> tuple[Chosen, ...]:
        """What got the slots: where it stood in the part of its level, and in the shop."""
        shop, chosen = self.view.shop, []
        prices = shop.prices[places].tolist()
        each = zip(slots.propensity, levels, within, places.tolist(), prices, strict=True)
        for propensity, level, at, place, price in each:
            part = self.parts[level]
            score = part.options.worth.item(at)
            if score != score:
                score = part.scores.item(at)
            offered = _terms(shop.offers, price, part.options.row.item(at))
            chosen.append(Chosen(place, score, REASONS[part.reasons.item(at)], offered, propensity))
        return tuple(chosen)

    def _named(self) -> dict[str, list[Refusal]]:
        places = list(self.refused)
        cards = self.view.shop.cards(places) if places else []
        named = {card["item_id"]: self.refused[place] for place, card in zip(places, cards, strict=True)}
        if self.explain and self.wanted is not None and self.ask.candidates is not None:
            unknown = (item for item, place in zip(self.ask.candidates, self.wanted, strict=True) if place < 0)
            named.update({item: [Refusal.UNKNOWN_ITEM] for item in unknown})
        return named

    def _fallback(self, levels: list[int], places: list[int]) -> str | None:
        each = sorted(zip(levels, places, strict=True))
        names = [OWN if place in self.shared else self.parts[level].level for level, place in each]
        ask = self.ask
        if not names:
            return Why.NOTHING_ALLOWED
        own = OWN in names
        other = next((name for name in names if name not in (OWN, NEWCOMERS)), None)
        if own and other is None:
            return None if len(names) >= ask.count else f"{Why.TOO_FEW}:shopper"
        if own and not self.ask.shoppers:
            why = Why.TOO_FEW
        elif ask.shopper_id is None:
            why = Why.UNSURE if ask.unsure or ask.shoppers else Why.ANONYMOUS
        elif not self.personal:
            why = Why.QUIET if self.quiet else Why.HOLDOUT
        else:
            why = Why.NO_MODEL if self.view.model_version == NO_MODEL else Why.UNKNOWN_SHOPPER
        other = other or NEWCOMERS
        return f"{why}:{NAMES.get(other, other)}"


def _terms(offers: ShopOffers, price: int, row: int) -> Terms:
    """What an item of this usual price costs with the offer of this row, NO_OFFER: without."""
    usual = None if price == UNKNOWN_PRICE else price
    if row == NO_OFFER:
        return Terms(None, usual, None)
    offer = offers.offer(row)
    if not offer.discount or usual is None:
        return Terms(offer, usual, None)
    return Terms(offer, offers.prices.item(row), usual)


def _plain(items: npt.NDArray[np.int32], reason: Reason) -> Ranked:
    """Candidates of whom no list tells a score."""
    return Ranked(items, np.zeros(len(items), np.float32), np.full(len(items), REASONS.index(reason), np.uint8))


def _note(refused: dict[int, list[Refusal]], places: npt.NDArray[np.int32], codes: Codes) -> None:
    for code, bit in BITS.items():
        for place in places[codes & bit != 0].tolist():
            refused.setdefault(place, []).append(code)
