"""Slates of the last questions, so that the same question is not decided twice while nothing that it reads has changed.

A display asks again whenever its slate ends, and for some minutes the draws of exploration stay the same. Most other
questions are asked once: to keep their slates would cost them a tenth of their time, so a slate is kept when its
question comes for the second time. A decision is a function of the view, the question, the facts, the settings, the
draws and the moment; and the moment counts only by which offers run and which makers are new. Where all of it is the
same, so is the slate.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from configs.policy import PolicySettings
from pipelines.offers.decide import BEST_SELLERS, OWN, Ask, Slate, deciding
from pipelines.offers.derived import derived
from pipelines.offers.facts import Facts
from pipelines.offers.pool import Pool
from pipelines.offers.slate import NO_SLOTS, Goods
from pipelines.offers.steps import Steps
from pipelines.offers.view import View
from pipelines.packed import Ranked

SLATES = 4_000  # twelve kilobytes each
_ONCE = 100_000  # questions of which it is known that they were asked
_NONE = np.zeros(0, np.int32)
_NO_POOL = Pool(
    _NONE,
    np.zeros(0, np.int64),
    Goods(np.zeros(0, np.int64), *(np.zeros(0),) * 3, np.zeros((0, 6), np.int32)),
    (),
    np.zeros(0, np.int64),
)


@dataclass(frozen=True)
class _Kept:
    live: Ranked | None
    facts: Facts
    policy: PolicySettings
    turn: tuple[int, int, int]
    slate: Slate


class Memory:
    """Decides, or remembers what was decided; for one server, whose threads may all ask.

    Args:
        most: how many slates are kept.
    """

    def __init__(self, most: int = SLATES) -> None:
        self._most = most
        # Of which view, with how many forgotten, and the slates: one, so that no thread sees them apart.
        self._known: tuple[View | None, int, dict[Hashable, _Kept]] = (None, 0, {})
        self._once: set[int] = set()  # hashes of questions
        self._changing = threading.Lock()

    def deciding(
        self,
        view: View,
        ask: Ask,
        now: datetime,
        *,
        facts: Facts,
        policy: PolicySettings,
        seed: str,
        explain: bool = False,
        live: Ranked | None = None,
        forgotten: int = 0,
    ) -> Steps[Slate]:
        """As `deciding`; of a slate that was remembered `pool` and `slots` are empty, and `looked` has lists alone.

        Questions that explain, or name items, are decided each time.

        `forgotten` is the number of shoppers who were forgotten: with another one nothing is remembered of anybody.
        """
        if explain or ask.exclude or ask.candidates is not None:
            told = deciding(view, ask, now, facts=facts, policy=policy, seed=seed, explain=explain, live=live)
            return (yield from told)
        name = (ask.placement, ask.store_id, ask.count, ask.shopper_id, ask.unsure, seed,
                tuple(ask.categories), tuple(ask.shoppers))  # fmt: skip
        turn = derived(view.shop).turn(now, policy.newcomer_days)
        of, without, slates = self._known
        kept = slates.get(name) if of is view and without == forgotten else None
        same = kept is not None and kept.live is live and kept.policy is policy
        if kept is not None and same and kept.turn == turn and kept.facts == facts:
            return kept.slate
        slate = yield from deciding(view, ask, now, facts=facts, policy=policy, seed=seed, live=live)
        asked = hash(name)
        if asked not in self._once:
            if len(self._once) >= _ONCE:
                self._once = set()
            self._once.add(asked)
            return slate
        with self._changing:
            of, without, slates = self._known
            if of is not view or without != forgotten:
                slates = {}
                self._known = view, forgotten, slates
            slates.pop(name, None)  # so that it stands at the end
            slates[name] = _Kept(live, facts, policy, turn, _small(slate))
            while len(slates) > self._most:
                slates.pop(next(iter(slates)))
        return slate


def _small(slate: Slate) -> Slate:
    """Without what takes up memory: all that could be shown, and all that a store has where it was looked through."""
    lists = tuple(looked for looked in slate.looked if looked.level == OWN or looked.level in BEST_SELLERS)
    return replace(slate, pool=_NO_POOL, slots=NO_SLOTS, looked=lists)
