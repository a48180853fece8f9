"""What is true at the moment of a decision: gathered from memory, so that no request waits for a disk."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from configs.policy import PolicySettings
from features.live import EPOCH, micros
from pipelines.offers.experiments.assignment import NO_GROUP, Group, groups, in_holdout, policy_of
from pipelines.offers.experiments.stops import Running
from pipelines.offers.facts import Facts, together
from pipelines.offers.gather import Blocks, facts_of
from pipelines.offers.view import View
from serving.live import Live
from state.engine import Engine
from state.forgotten import pseudonym
from state.quiet import keep_quiet, quiet_screens

_LOG = logging.getLogger("facings.serving")
_BLOCKS_SECONDS = 1.0


class Rules(NamedTuple):
    """What is kept from being shown: the number of the last block, and campaigns whose money is spent."""

    blocks: int
    spent: frozenset[str]


NO_RULES = Rules(0, frozenset())


class Moment:
    """Gathers the facts of the decisions of one server, and keeps the quiet periods of its screens.

    Args:
        engine: of the state database.
        policy: windows and periods.
        live: what shoppers do now.
        experiments: what is tried on whom.
        key: of the pseudonyms, by which shoppers are assigned.
        shadow: prices of campaigns' money now.
    """

    def __init__(
        self,
        engine: Engine,
        policy: PolicySettings,
        live: Live,
        experiments: Running,
        key: bytes,
        shadow: Callable[[], Mapping[str, float]],
    ) -> None:
        self._engine, self._policy, self._live = engine, policy, live
        self.maker_cap = policy.maker_cap
        self._experiments, self._key, self._shadow = experiments, key, shadow
        self._policies: dict[tuple[tuple[str, str], ...], PolicySettings] = {}
        self._blocks = Blocks(engine, _BLOCKS_SECONDS, self._failed)
        self._blocks.now()  # so that no request finds another one reading them for the first time
        self._quiet = quiet_screens(engine)
        self._writing = threading.Lock()

    def personal(self, shoppers: Sequence[tuple[str, float]]) -> list[tuple[str, float]]:
        """The same, those of the holdout with probability 0: nothing is for them, and what is held back stays so."""
        share = self._policy.holdout
        return [(who, 0.0 if in_holdout(pseudonym(who, self._key), share) else chance) for who, chance in shoppers]

    def facts(
        self,
        view: View,
        shopper_id: str | None,
        screen_id: str | None,
        now: datetime,
        *,
        possible: Sequence[str] = (),
    ) -> Facts:
        """The facts of a decision for this shopper at this screen, or for all who may stand there."""
        if possible:
            return together([self.facts(view, shopper, screen_id, now) for shopper in possible])
        recent, group = None, NO_GROUP
        if shopper_id is not None:
            recent = self._live.recent(shopper_id)
            who, running = pseudonym(shopper_id, self._key), self._experiments.current()
            group = groups(who, running, holdout=self._policy.holdout, now=now)
        return facts_of(
            view.shop,
            shopper_id,
            now,
            self._policy,
            recent=recent,
            blocks=self._blocks,
            quiet_until=self.quiet_until(screen_id),
            shadow=self._shadow(),
            holdout=group.holdout,
            variants=group.variants,
        )

    def rules(self) -> Rules:
        """What is kept from being shown now: for who shows a slate for longer than one moment."""
        spent = (campaign for campaign, price in self._shadow().items() if price == math.inf)
        return Rules(self._blocks.now().version, frozenset(spent))

    def policy(self, facts: Facts) -> PolicySettings:
        """The settings that decide, with what the shopper's variants of experiments change."""
        if not facts.variants:
            return self._policy
        name = tuple(sorted(facts.variants.items()))
        if name not in self._policies:
            self._policies[name] = policy_of(Group(variants=facts.variants), self._experiments.known, self._policy)
        return self._policies[name]

    def quiet_until(self, screen_id: str | None) -> int | None:
        """Until when nobody is recognised at a screen, microseconds since 1970; None: nobody said `not me` there."""
        return None if screen_id is None else self._quiet.get(screen_id)

    def not_me(self, screen_id: str, now: datetime) -> datetime:
        """Somebody at this screen said `not me`: return until when it is quiet there.

        It is quiet at once, and durable when this returns.
        """
        until = micros(now + timedelta(minutes=self._policy.quiet_minutes))
        with self._writing:
            self._quiet[screen_id] = until = max(until, self._quiet.get(screen_id, 0))
            keep_quiet(self._engine, screen_id, until, micros(now))
        return EPOCH + timedelta(microseconds=until)

    @staticmethod
    def _failed(error: Exception) -> None:
        _LOG.error("What is blocked could not be read (%s); what was known holds.", type(error).__name__)
