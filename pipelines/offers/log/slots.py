"""A logged decision slot by slot: what could be shown, with which probability, and what another policy would have done.

For off-policy evaluation: slots before count as they were shown, so the probabilities are those of each slot given the
ones before it, under the policy that was logged and under the one in question alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from configs.errors import FacingsError
from configs.policy import PolicySettings
from pipelines.offers.decide import POLICY_VERSION, chances
from pipelines.offers.facts import Facts
from pipelines.offers.log.recorded import Record
from pipelines.offers.view import Reads
from pipelines.offers.worth import NO_OFFER
from pipelines.packed import Ranked


@dataclass(frozen=True)
class LoggedSlot:
    """One slot of one decision; shapes (n,).

    Attributes:
        rank: from 1.
        places: positions in the shop of all that could be shown there under the logged policy.
        propensities: of each to be shown there; they sum to one.
        chosen: index of what was.
        worths: minor units, of each at its best option as the decision weighed it; nan where nobody could say.
        target: of each the probability under the policy in question; they sum to less than one where that one would
            show what could not be shown under the logged one.
        target_worths: as the policy in question weighs them; nan for what is no candidate of it.
        same_offer: whether that one would show it on the same terms: the same offer, or none.
    """

    rank: int
    places: npt.NDArray[np.int32]
    propensities: npt.NDArray[np.float64]
    chosen: int
    worths: npt.NDArray[np.float64]
    target: npt.NDArray[np.float64]
    target_worths: npt.NDArray[np.float64]
    same_offer: npt.NDArray[np.bool_]


def slots(
    record: Record,
    *,
    reads: Reads | None = None,
    own: Ranked | None = None,
    facts: Facts | None = None,
    policy: PolicySettings | None = None,
) -> list[LoggedSlot]:
    """Tell a decision slot by slot, under its own policy and under another.

    Args:
        record: the decision.
        reads: what the policy in question reads, of the same shop; None: what the decision read.
        own: the shopper's own candidates under it; None: those of `reads`.
        facts, policy: what it is told beside that; None: what the decision was told.

    Raises:
        FacingsError: this version does not decide as the one that was logged.
    """
    if record.answer["policy_version"] != POLICY_VERSION:
        raise FacingsError("This decision was made by another version of the policy.")
    ask, now, given = record.ask, record.asked.now, record.places
    pool, logged = chances(record.reads, ask, now, given, facts=record.facts, policy=record.policy, seed=record.seed)
    if len(logged) < len(given) or any(slot.at < 0 for slot in logged):
        raise FacingsError("This decision shows what its record does not hold.")
    if reads is None and own is None and facts is None and policy is None:
        other, judged = pool, logged
    else:
        other, judged = chances(
            reads or record.reads,
            ask,
            now,
            given,
            facts=facts or record.facts,
            policy=policy or record.policy,
            seed=record.seed,
            live=own,
        )
    where = _where(pool.places, other.places)
    found = []
    for rank, slot in enumerate(logged, start=1):
        could = np.flatnonzero(slot.open)
        there = where[could]
        target = judged[rank - 1].propensities() if rank <= len(judged) else np.zeros(len(other.places))
        found.append(
            LoggedSlot(
                rank,
                pool.places[could],
                slot.propensities()[could],
                int(np.searchsorted(could, slot.at)),
                pool.options.worth[could],
                np.append(target, 0.0)[there],
                np.append(other.options.worth, np.nan)[there],
                (there >= 0) & (np.append(other.options.row, NO_OFFER)[there] == pool.options.row[could]),
            )
        )
    return found


def _where(places: npt.NDArray[np.int32], others: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
    """For each place its index among others; -1: it is not there."""
    if not len(others):
        return np.full(len(places), -1)
    order = np.argsort(others)
    at = order[np.minimum(np.searchsorted(others, places, sorter=order), len(others) - 1)]
    return np.where(others[at] == places, at, -1)
