"""What is true at the moment of a decision and stands in no snapshot; a decision's record keeps it by value.

Items are named by their position in the shop, makers by their code there (`pipelines.offers.view.ShopReads`), times are
microseconds since 1970 (UTC).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

NEVER_AGAIN = (1 << 63) - 1
"""As a moment: an item that is not bought twice is held back until then."""


@dataclass(frozen=True)
class Facts:
    """What a decision is told beside its view; nothing known by default, which lets no rule refuse anything.

    Attributes:
        held: until when each item that the shopper bought is not shown to them, and whether that is because their
            supply lasts (True) or because they just bought it (False): position → (moment, lasts).
        shown: how often each item was shown to the shopper within the caps' window: position → times.
        quiet_until: nobody is recognised before this moment (somebody said `not me`); None: no quiet period.
        blocked_items, blocked_makers: what the trust part keeps from being shown, sorted.
        shadow: of each campaign with a budget the price of one unit of its money now; 0: it is not scarce, inf: spent.
        holdout: the shopper never gets personal offers.
        variants: of each experiment that counts here the variant the shopper is in.
        exposure: by maker code the least share of the slots that is a new maker's by right; None: of all that joined
            of late the share of the settings.
    """

    held: Mapping[int, tuple[int, bool]] = field(default_factory=dict)
    shown: Mapping[int, int] = field(default_factory=dict)
    quiet_until: int | None = None
    blocked_items: tuple[int, ...] = ()
    blocked_makers: tuple[int, ...] = ()
    shadow: Mapping[str, float] = field(default_factory=dict)
    holdout: bool = False
    variants: Mapping[str, str] = field(default_factory=dict)
    exposure: Mapping[int, float] | None = None

    def told(self) -> dict[str, Any]:
        """As JSON values, without what is not known; `read_facts` reads them."""
        made: dict[str, Any] = {
            "held": [[place, until, lasts] for place, (until, lasts) in self.held.items()],
            "shown": list(map(list, self.shown.items())),
            "quiet_until": self.quiet_until,
            "blocked_items": list(self.blocked_items),
            "blocked_makers": list(self.blocked_makers),
            # JSON has no infinity
            "shadow": {name: None if math.isinf(price) else price for name, price in self.shadow.items()},
            "holdout": self.holdout,
            "variants": dict(self.variants),
        }
        known = {key: value for key, value in made.items() if value}
        return known if self.exposure is None else known | {"exposure": list(map(list, self.exposure.items()))}


NOTHING = Facts()


def together(several: Sequence[Facts]) -> Facts:
    """What holds where any of several people may stand: what one of them has is held back, what one saw often as well.

    Of the moment (quiet, blocked, shadow, exposure) all of them tell the same. Nobody is in a variant.
    """
    held: dict[int, tuple[int, bool]] = {}
    shown: dict[int, int] = {}
    for facts in several:
        for place, what in facts.held.items():
            held[place] = max(what, held.get(place, what))
        for place, times in facts.shown.items():
            shown[place] = max(times, shown.get(place, 0))
    return replace(several[0], held=held, shown=shown, variants={})


def read_facts(told: Mapping[str, Any]) -> Facts:
    """Read what `Facts.told` wrote."""
    return Facts(
        held={place: (until, lasts) for place, until, lasts in told.get("held", ())},
        shown=dict(told.get("shown", ())),
        quiet_until=told.get("quiet_until"),
        blocked_items=tuple(told.get("blocked_items", ())),
        blocked_makers=tuple(told.get("blocked_makers", ())),
        shadow={name: math.inf if price is None else price for name, price in told.get("shadow", {}).items()},
        holdout=bool(told.get("holdout", False)),
        variants=dict(told.get("variants", {})),
        exposure=dict(told["exposure"]) if "exposure" in told else None,
    )
