"""Exploration: what each slot draws, always the same for the same question within a while.

Slot by slot, with the probability of `PolicySettings.exploration` the slot does not go to the best: a part of these
draws takes any that may be shown there, each alike, so that whatever may be shown is shown now and then; the others
lean to contenders, by their rank behind the best. The log tells with which probability: what off-policy estimates
divide by.

By rank, not by worth: ranks have no unit, so that levels and goods without odds mix, and a worth that is far off does
not draw everything. An estimate's place is off by a factor rather than by a number of places, hence ever wider steps:
half of the leaning draws fall within the next `reach` places, a quarter beyond three times as many.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BYTES = 16
_WHOLE, _SPARE = np.dtype("<u8"), np.uint64(11)
NO_SEED = "0" * 2 * _BYTES
"""For a decision of which nobody wants other draws another time."""


def seed_of(key: bytes, who: str, placement: str, now: datetime, minutes: float) -> str:
    """The seed of a question: the same within `minutes`, so that a screen does not flicker; 32 hex digits.

    Args:
        key: secret; without it nobody can tell the draws, or whom a seed was made for.
        who: the shopper, else the screen or the store.
        placement: where.
        now: the moment of the decision.
        minutes: length of the bucket of time.
    """
    bucket = int((now - _EPOCH).total_seconds() // (minutes * 60))
    told = f"{len(who)}:{who}{placement}/{bucket}".encode()
    return hashlib.blake2b(told, key=key[:64], digest_size=_BYTES, person=b"exploration").hexdigest()


def draws(seed: str, slots: int) -> npt.NDArray[np.float64]:
    """Two uniform numbers of [0, 1) for each slot, shape (slots, 2); the same on every machine."""
    raw = hashlib.shake_128(bytes.fromhex(seed)).digest(16 * slots)
    whole = np.frombuffer(raw, _WHOLE).reshape(slots, 2) >> _SPARE  # 53 bits, as many as a float holds
    return whole.astype(np.float64) * 2.0**-53
