"""What was planted, for whoever judges a method: the content of `truth.json`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np

from pipelines.simulation import aftermath, encounters, mischief, offers, response
from pipelines.simulation.catalogue import NO_TOPIC
from pipelines.simulation.shops import GAP_DAYS
from pipelines.simulation.tables import named
from pipelines.simulation.tastes import BOT, FAKER, SEGMENTS, WATCH_ONLY
from pipelines.simulation.town import Town
from pipelines.simulation.words import ORIGINS, TOPICS


def truth_of(town: Town) -> dict[str, Any]:
    """Everything planted in a town's history up to its present day, as JSON values."""
    config, names, goods, tally = town.config, town.names, town.catalogue, town.tally
    days = town.day + 1
    return {
        "simulated": True,
        "seed": town.seed,
        "variant": config.variant,
        "config": config.model_dump(mode="json"),
        "starts": _time(town, 0),
        "ends": _time(town, days),
        "faces": "switched off: there are no images; a shopper is recognised by a code on the phone",
        "response": _constants(),
        "topics": [
            {
                "tag": topic.name,
                "goods_tag": topic.tag,
                "goods": f"origin {ORIGINS[topic.origin]}"
                if topic.origin >= 0
                else f"category {', '.join(topic.roots)}",
            }
            for topic in TOPICS
        ],
        "neighbourhoods": _neighbourhoods(town),
        "segments": _segments(town),
        "categories": [
            {
                "category": path,
                "repurchase_interval_days": float(goods.interval[number]),
                "price_response": round(float(goods.price_response[number]), 4),
                "share_of_needs": round(float(goods.popularity[number]), 5),
            }
            for number, path in enumerate(goods.paths)
        ],
        "makers": _makers(town, days),
        "counterfeits": {
            "maker_ids": [names.makers[one] for one in np.flatnonzero(goods.counterfeiter)],
            "item_ids": [names.items[one] for one in np.flatnonzero(goods.counterfeit)],
        },
        "supply_gaps": _supply_gaps(town, days),
        "bots": [names.shoppers[one] for one in np.flatnonzero(town.shoppers.role == BOT)],
        "brushing": {
            "accounts": [names.shoppers[one] for one in np.flatnonzero(town.shoppers.role == FAKER)],
            "bursts": [
                {
                    "maker_id": names.makers[burst.maker],
                    "item_ids": [names.items[item] for item in burst.items],
                    "shopper_ids": [names.shoppers[one] for one in burst.accounts],
                    "starts": _time(town, burst.day, burst.second),
                    "ends": _time(town, burst.day, burst.second + mischief.BURST_SECONDS),
                    "purchases": burst.rows,
                }
                for burst in town.bursts
                if burst.day < days
            ],
        },
        "watch_only": _watch_only(town),
        "units_sold": int(tally.sold.sum()),
    }


def _constants() -> dict[str, Any]:
    return {
        "loyalty": response.LOYALTY,
        "screen_lift": response.LIFT,
        "fatigue_a_showing": response.WEARING,
        "fatigue_days": encounters.MEMORY_DAYS,
        "display_lift": response.DISPLAY_LIFT,
        "outside": response.OUTSIDE,
        "look_at_first_place": dict(zip(("entrance", "aisle", "checkout"), encounters.LOOK, strict=True)),
        "look_decay": encounters.DECAY,
        "offered_probability": offers.SHOWN,
        "counterfeit_reviewed_returned_complained": list(aftermath.OF_COUNTERFEITS),
    }


def _neighbourhoods(town: Town) -> list[dict[str, Any]]:
    places = town.places

    def by_topic(row: Any) -> dict[str, float]:
        return {topic.name: round(float(row[number]), 4) for number, topic in enumerate(TOPICS)}

    return [
        {
            "neighbourhood": name,
            "store_ids": [town.names.stores[one] for one in np.flatnonzero(town.store_place == number)],
            "watching": by_topic(places.watching[number]),
            "liking": by_topic(places.liking[number]),
            "content_to_sales_slope": by_topic(places.slope[number]),
        }
        for number, name in enumerate(named("nb", len(places), 2))
    ]


def _segments(town: Town) -> list[dict[str, Any]]:
    found = []
    for number, name in enumerate(SEGMENTS):
        mine = town.shoppers.segment == number
        offers_seen = int(town.tally.offers[number])
        found.append(
            {
                "segment": name,
                "shoppers": int(mine.sum()),
                "mean_price_elasticity": round(-float(town.shoppers.sensitivity[mine].mean()), 4),
                "randomised_offers": offers_seen,
                "uplift_of_purchase_if_noticed": round(float(town.tally.uplift[number]) / max(1, offers_seen), 5),
            }
        )
    return found


def _makers(town: Town, days: int) -> list[dict[str, Any]]:
    goods = town.catalogue
    sold = np.bincount(goods.maker, weights=town.tally.sold, minlength=len(goods.since))
    items = np.bincount(goods.maker[goods.launch < days], minlength=len(goods.since))
    appeal = np.bincount(goods.maker, weights=goods.appeal, minlength=len(goods.since))
    return [
        {
            "maker_id": town.names.makers[one],
            "quality": round(float(goods.quality[one]), 4),
            "mean_appeal": round(float(appeal[one] / max(1, (goods.maker == one).sum())), 4),
            "items": int(items[one]),
            "units_sold": int(sold[one]),
            "new": bool(goods.since[one] >= 0),
            "since": _time(town, int(goods.since[one])),
            "counterfeiter": bool(goods.counterfeiter[one]),
        }
        for one in np.flatnonzero(goods.since < days)
    ]


def _supply_gaps(town: Town, days: int) -> list[dict[str, Any]]:
    makers = np.flatnonzero(town.catalogue.since < days)
    return [
        {
            "maker_id": town.names.makers[maker],
            "starts": _time(town, day),
            "ends": _time(town, min(day + GAP_DAYS, days)),
        }
        for day in range(0, days, GAP_DAYS)
        for maker in makers[town.shelves.gap(makers, day)]
    ]


def _watch_only(town: Town) -> dict[str, Any]:
    pairs = town.tally.first_bought
    who = np.concatenate([np.empty(0, np.int64), *(one for one, _ in pairs)])
    item = np.concatenate([np.empty(0, np.int64), *(one for _, one in pairs)])
    later: dict[int, list[str]] = {}
    for shopper, bought in zip(who.tolist(), item.tolist(), strict=True):
        later.setdefault(shopper, []).append(town.names.items[bought])
    places = named("nb", len(town.places), 2)
    return {
        "until": _time(town, town.config.watch_only_days),
        "shoppers": [
            {
                "shopper_id": town.names.shoppers[one],
                "neighbourhood": places[town.shoppers.neighbourhood[one]],
                "interest": {
                    TOPICS[topic].name: round(float(town.shoppers.interest[one, topic]), 4)
                    for topic in range(NO_TOPIC)
                    if town.shoppers.interest[one, topic] > 0
                },
                "later_bought": list(dict.fromkeys(later.get(int(one), []))),
            }
            for one in np.flatnonzero(town.shoppers.role == WATCH_ONLY)
        ],
    }


def _time(town: Town, day: int, second: int = 0) -> str:
    moment: datetime = town.names.time(day)
    return moment.fromtimestamp(moment.timestamp() + second, moment.tzinfo).isoformat()
