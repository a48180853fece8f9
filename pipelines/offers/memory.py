"""Slates of the last questions, so that the same question is not decided twice while nothing that it reads has changed.

A display asks again whenever its slate ends, and for some minutes the draws of exploration stay the same. A decision is
a function of the view, the question, the facts, the settings, the draws and the moment; and the moment counts only by
which offers run and which makers are new. Where all of it is the same, so is the slate.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from configs.policy import PolicySettings
from pipelines.offers.decide import Ask, Slate, decide
from pipelines.offers.derived import derived
from pipelines.offers.facts import Facts
from pipelines.offers.pool import Pool
from pipelines.offers.slate import Goods
from pipelines.offers.view import View
from pipelines.packed import Ranked

SLATES = 4_000  # twelve kilobytes each
_NONE = np.zeros(0, np.int32)
_NO_POOL = Pool(
    _NONE,
    np.zeros(0, np.int64),
    Goods(np.zeros(0, np.int64), np.zeros(0), _NONE, _NONE, np.zeros((3, 0), np.int32), np.zeros(0)),
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
        self._view: View | None = None
        self._forgotten = 0
        self._kept: dict[Hashable, _Kept] = {}
        self._changing = threading.Lock()

    def decide(
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
    ) -> Slate:
        """As `decide`, but for `pool` and `slots`, which are empty where the slate was remembered.

        Questions that explain, or name items, are decided each time.

        `forgotten` is the number of shoppers who were forgotten: with another one nothing is remembered of anybody.
        """
        if explain or ask.exclude or ask.candidates is not None:
            return decide(view, ask, now, facts=facts, policy=policy, seed=seed, explain=explain, live=live)
        name = (ask.placement, ask.store_id, ask.count, ask.shopper_id, ask.unsure, seed,
                tuple(ask.categories), tuple(ask.shoppers))  # fmt: skip
        turn = derived(view.shop).turn(now, policy.newcomer_days)
        kept = self._kept.get(name) if self._view is view and self._forgotten == forgotten else None
        same = kept is not None and kept.live is live and kept.policy is policy
        if kept is not None and same and kept.turn == turn and kept.facts == facts:
            return kept.slate
        slate = decide(view, ask, now, facts=facts, policy=policy, seed=seed, live=live)
        with self._changing:
            if self._view is not view or self._forgotten != forgotten:
                self._view, self._forgotten, self._kept = view, forgotten, {}
            self._kept.pop(name, None)  # so that it stands at the end
            self._kept[name] = _Kept(live, facts, policy, turn, replace(slate, pool=_NO_POOL, slots=()))
            while len(self._kept) > self._most:
                self._kept.pop(next(iter(self._kept)))
        return slate
