"""What the newest events say a shopper bought and was shown: what the rules of a decision ask for.

Events are taken in any order, each as often as it comes: of an item the last purchase and the last return count, and
of showings the minute.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from features.live import micros

KINDS = frozenset({"purchase", "return", "impression"})
_MOST = 5_000  # items bought, and showings, of a shopper that are held; the oldest make room
_MINUTE = 60_000_000


@dataclass(frozen=True)
class Recent:
    """One shopper's newest purchases and showings.

    Attributes:
        bought: of each item the moments of the last purchase and the last return, microseconds since 1970; 0: none.
        shown: items with the minutes (since 1970) in which they were shown, the oldest first.
        noted: whatever its reader wants to keep with it, so that it goes when this does.
    """

    bought: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    shown: tuple[tuple[int, str], ...] = ()
    noted: dict[str, Any] = field(default_factory=dict, compare=False)


NOTHING_RECENT = Recent()


def take(recent: Recent, rows: Iterable[Mapping[str, Any]]) -> Recent:
    """Take interactions of one shopper in; the same object where they say nothing new.

    Args:
        recent: what is known.
        rows: of KINDS, `event_time` in ISO 8601.
    """
    bought, shown = dict(recent.bought), set(recent.shown)
    for row in rows:
        moment, item = micros(datetime.fromisoformat(row["event_time"])), str(row["item_id"])
        if row["event_type"] == "impression":
            shown.add((moment // _MINUTE, item))
        else:
            last, back = bought.get(item, (0, 0))
            came = row["event_type"] == "purchase"
            bought[item] = (max(last, moment), back) if came else (last, max(back, moment))
    if len(bought) > _MOST:
        bought = dict(sorted(bought.items(), key=lambda entry: max(entry[1]))[-_MOST:])
    made = Recent(bought, tuple(sorted(shown)[-_MOST:]))
    return recent if made == recent else made
