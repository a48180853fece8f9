"""A home's own decisions as a log to judge another model or another policy from, before it is shown to anybody.

Each logged decision is taken again by what is in question, on what the shop was at that moment, and told slot by slot
(`pipelines.offers.log.slots`): how probable was what was shown, then and under the policy in question, given the slots
before it as they were. So a value is that of changing one slot at a time, on shoppers as the served policy had them:
how slots of a slate work together, and what frequent exposure does over days, is for an experiment.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from configs.errors import FacingsError, UsageError
from configs.policy import PolicySettings
from configs.secrets import secret
from configs.settings import Settings
from pipelines import snapshot
from pipelines.offers.decide import BEST_SELLERS
from pipelines.offers.log.recorded import Record, RecordedShop, read_record
from pipelines.offers.log.replay import parts_of
from pipelines.offers.log.slots import LoggedSlot, slots
from pipelines.offers.view import ShopReads
from pipelines.packed import NOBODY, Ranked
from pipelines.shop_offers import UNKNOWN_PRICE
from pipelines.signals.behaviour.attribution import attribution
from pipelines.signals.lake.lake import Lake
from pipelines.slates_snapshot import Slates
from state.decisions import decisions_between, open_decisions
from state.engine import open_engine
from state.events import waiting_events
from state.forgotten import pseudonym

Reward = Literal["profit", "revenue", "purchase", "redemption"]
REWARDS: tuple[Reward, ...] = ("profit", "revenue", "purchase", "redemption")
MOST_DECISIONS = 100_000
_PAIR = ["recommendation_id", "item_id"]


@dataclass(frozen=True)
class Logged:
    """A log, and what could not be in it.

    Attributes:
        table: columns of `policy_log.NEEDED` and MODEL, with rank, places and personal; a row a slot.
        decisions: how many decisions it holds.
        left_out: reason → decisions.
    """

    table: pl.DataFrame
    decisions: int
    left_out: Mapping[str, int]


def slates_of(settings: Settings, version: str) -> str:
    """The slates snapshot of a model's version, or of this id.

    Of a version that was scored anew there are several: then the one that is served, else the newest.

    Raises:
        UsageError: there is none.
    """
    folder = settings.paths.snapshots / "slates"
    known = sorted(path.name for path in folder.iterdir() if not path.name.startswith(".")) if folder.is_dir() else []
    found = [name for name in known if name == version or name.startswith(f"v{version}-")]
    if not found:
        told = ", ".join(known) or "none"
        raise UsageError(f"There are no slates of a model {version} in this home (there are: {told}).")
    served = snapshot.current(settings.paths, "slates")
    return served if served in found else max(found, key=lambda name: (folder / name / snapshot.META).stat().st_mtime)


def logged(
    settings: Settings,
    since: datetime,
    until: datetime,
    *,
    slates_id: str | None = None,
    policy: PolicySettings | None = None,
    reward: Reward = "profit",
    most: int = MOST_DECISIONS,
) -> Logged:
    """Take the decisions of [since, until) again by what is in question, and join what followed.

    Args:
        settings: the home's.
        since, until: of the decisions; what followed within the window of attribution counts as far as it is known.
        slates_id: the shoppers' candidates in question; None: those that each decision had.
        policy: the settings in question; None: those that each decision had.
        reward: `profit` (money kept less cost, minor units, the discount is off the price), `revenue`, or whether there
            was a `purchase` or a `redemption`.
        most: of more decisions every so many-th is taken.

    Raises:
        FacingsError: there is no decision that could be taken again, or what was bought has no cost.
    """
    engine = open_decisions(settings.decisions_uri)
    lake = Lake(settings.paths)
    followed = _followed(settings, engine, lake, since, until)
    own = None if slates_id is None else _Candidates(settings, lake, slates_id)
    parts, left_out = parts_of(engine), Counter[str]()
    rows: list[dict[str, Any]] = []
    kept, costless = 0, 0
    step = max(1, -(-followed["recommendation_id"].n_unique() // most))
    led = {(row["recommendation_id"], row["item_id"]): row for row in followed.iter_rows(named=True)}
    try:
        for number, row in enumerate(decisions_between(engine, since, until)):
            if number % step:
                continue
            try:
                record = read_record(row, parts)
                found = _again(record, own, policy)
            except _CannotTell as reason:
                left_out[str(reason)] += 1
                continue
            except FacingsError:
                left_out["cannot be read or decided again by this version"] += 1
                continue
            kept += bool(found)
            for slot, item in zip(found, record.answer["items"], strict=True):
                what = led.get((row.recommendation_id, item[0]))
                gained, known = _reward(what, int(record.reads.shop.costs[slot.places[slot.chosen]]), reward)
                costless += not known
                rows.append(_row(row.recommendation_id, item[0], slot, gained, record.ask.shopper_id is not None))
    finally:
        if own is not None:
            own.close()
    if costless:
        raise FacingsError(
            f"{costless:,} items that were bought after being shown have no cost, so their profit is not known; give "
            "the table items a cost, or judge by another reward (revenue, purchase or redemption)."
        )
    if not rows:
        told = ", ".join(f"{count:,} {reason}" for reason, count in left_out.items())
        raise FacingsError(
            f"No decision between {since:%Y-%m-%d %H:%M} and {until:%Y-%m-%d %H:%M} can be taken again"
            f"{f' ({told})' if told else ': there is none in the log'}."
        )
    return Logged(_modelled(pl.DataFrame(rows)), kept, dict(left_out))


class _CannotTell(Exception):  # noqa: N818 - not an error: the decision is left out, and counted
    """What is in question cannot be told of this decision."""


def _again(record: Record, own: _Candidates | None, policy: PolicySettings | None) -> list[LoggedSlot]:
    if own is not None and record.asked.live:
        raise _CannotTell("were made of live events, which another model's slates do not know")
    return slots(record, reads=_Held(record, own), policy=policy)


@dataclass(frozen=True)
class _Held:
    """What a decision read; what is in question may not read more, for there is no telling what it would have seen."""

    record: Record
    own: _Candidates | None

    @property
    def shop(self) -> ShopReads:
        return self.record.reads.shop

    @property
    def model_version(self) -> str:
        return self.record.reads.model_version

    def candidates(self, shopper_id: str) -> Ranked:
        if self.own is None:
            return self.record.reads.candidates(shopper_id)
        return self.own.of(self.record, shopper_id)

    def popular(self, level: str, store_id: str | None) -> Ranked:
        held = self.record.reads.lists
        if level in held:
            return held[level]
        if any(later in held for later in BEST_SELLERS[BEST_SELLERS.index(level) :]):
            return NOBODY  # it was read before the later one, and there was nothing in it
        return _Unread()


class _Unread(Ranked):
    """Best-sellers that were not read then: they may be passed by, but not looked into."""

    def __init__(self) -> None:
        pass

    def __getattribute__(self, name: str) -> Any:
        if name in ("items", "scores", "reasons", "odds"):
            raise _CannotTell("need best-sellers that were not read then")
        return super().__getattribute__(name)


class _Candidates:
    """Shoppers' candidates under the model in question, as positions in the shop that a decision saw."""

    def __init__(self, settings: Settings, lake: Lake, slates_id: str) -> None:
        snapshot.check(settings.paths, "slates", slates_id)
        self._slates = Slates(settings.paths.snapshots / "slates" / slates_id)
        self._ids = [str(item) for item in self._slates.item_ids]
        key = secret(settings.paths, "pseudonym")
        everybody = lake.scan("interactions").select(pl.col("shopper_id").unique()).collect()["shopper_id"]
        self._names = {pseudonym(shopper, key): shopper for shopper in everybody}
        self._placed: tuple[list[str], npt.NDArray[np.int32]] | None = None

    def of(self, record: Record, digest: str) -> Ranked:
        """The candidates of a shopper, by the keyed hash; none where the model does not know them."""
        shopper = self._names.get(digest)
        if shopper is None:
            return NOBODY
        own = self._slates.candidates(shopper)
        places = self._places(record.reads.shop)[own.items]
        return Ranked(places, own.scores, own.reasons, own.odds).take(places >= 0)

    def _places(self, shop: RecordedShop) -> npt.NDArray[np.int32]:
        if self._placed is None or self._placed[0] is not shop.items:
            where = {item: place for place, item in enumerate(shop.items)}
            self._placed = shop.items, np.array([where.get(item, -1) for item in self._ids], np.int32)
        return self._placed[1]

    def close(self) -> None:
        self._slates.close()


def _followed(settings: Settings, engine: Any, lake: Lake, since: datetime, until: datetime) -> pl.DataFrame:
    waiting: Iterable[dict[str, Any]] = waiting_events(open_engine(settings.state_uri))
    # An id tells milliseconds, the attribution microseconds: a decision at the edge belongs to both or to none.
    whole = timedelta(milliseconds=1)
    return attribution(settings, engine, lake, since - whole, until + whole, more=waiting)


def _reward(what: Mapping[str, Any] | None, cost: int, reward: Reward) -> tuple[float, bool]:
    """What followed, and whether that is known."""
    if what is None:
        return 0.0, True
    if reward == "redemption":
        return float(what["redeem_time"] is not None), True
    if reward == "purchase":
        return float(what["quantity"] > 0), True
    if reward == "revenue" or not what["quantity"]:
        return float(what["revenue"]), True
    return float(what["revenue"]) - cost * float(what["quantity"]), cost != UNKNOWN_PRICE


def _row(decision: str, item: str, slot: LoggedSlot, gained: float, personal: bool) -> dict[str, Any]:
    chosen = slot.chosen
    worths = np.nan_to_num(slot.worths)
    told = slot.worths == slot.worths
    same = slot.target * slot.same_offer
    return {
        "decision_id": decision,
        "action": item,
        "propensity": float(slot.propensities[chosen]),
        "reward": gained,
        # At another offer it is another action, which was not shown.
        "target_probability": min(1.0, float(same[chosen])),
        "rank": slot.rank,
        "personal": personal,
        "worth": float(worths[chosen]),
        "told": float(told[chosen]),
        "expected_worth": float(slot.target @ worths),
        "expected_told": float(slot.target @ told),
    }


def _modelled(rows: pl.DataFrame) -> pl.DataFrame:
    """Add a reward model: a line on what the decision took the item to be worth, fitted to what followed.

    Three numbers from the whole log fit next to nothing of its chance, so the rows are not split for it. What the
    policy in question would show without having been possible then counts as the mean.
    """
    chosen = rows.select("worth", "told").to_numpy()
    expected = rows.select("expected_worth", "expected_told").to_numpy()
    rewards = rows["reward"].to_numpy()
    middle = chosen.mean(axis=0)
    spread = np.maximum(chosen.std(axis=0), 1e-12)
    slopes, *_ = np.linalg.lstsq((chosen - middle) / spread, rewards - rewards.mean(), rcond=None)

    def fitted(worths: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.asarray(rewards.mean() + (worths - middle) / spread @ slopes)

    return rows.with_columns(
        pl.Series("model_logged", fitted(chosen)), pl.Series("model_target", fitted(expected))
    ).drop("worth", "told", "expected_worth", "expected_told")
