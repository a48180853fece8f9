"""`facings explain`: one recommendation, told."""

from __future__ import annotations

from collections import Counter
from typing import Any

import click

from cli.output import json_option, settings_of, show

_STEPS = ("impression", "tap", "scan", "redeem", "purchase")
_MOST = 3


@click.command(epilog="Example: facings explain 019ace0c5a1f7d30c4b2e8f6a1d0b9c3 --json")
@click.argument("recommendation_id")
@json_option
@click.pass_context
def explain(context: click.Context, recommendation_id: str, as_json: bool) -> None:
    """Tell of RECOMMENDATION_ID what was shown, why, what else could have been, what was refused, and what it led to.

    The decision is made again from its record, and must come out as it was served. Every answer of an offer carries its
    recommendation_id; events that bear it as attribution_token are joined to it. Nobody is named. Exit code 1 when the
    log holds no such decision.
    """
    settings = settings_of(context)
    from pipelines.offers.log.explanation import explain as tell

    told = tell(settings, recommendation_id)
    show(told, _lines(told, settings.currency), as_json=as_json)


def _lines(told: dict[str, Any], currency: str) -> list[str]:
    where = ", ".join(f"{key} {told[key + '_id']}" for key in ("store", "screen") if told[key + "_id"])
    whose = "a shopper's own" if told["personal"] and told["fallback"] is None else f"fallback {told['fallback']}"
    agrees = told["replay"]["agrees"]
    again = {True: "agrees, bit for bit", False: f"DIFFERS: {told['replay']['why']}"}.get(agrees, told["replay"]["why"])
    lines = [
        f"{told['decided_at']:%Y-%m-%d %H:%M:%S} UTC  {told['placement']}{', ' + where if where else ''}  {whose}",
        f"model {told['model_version']}, policy {told['policy_version']}; made again from its record it {again}"
        if agrees is not None
        else f"model {told['model_version']}, policy {told['policy_version']}; not made again: {again}",
    ]
    for item in told["items"]:
        led = item["led_to"]
        steps = [f"{step} {led[f'{step}_time']:%m-%d %H:%M}" for step in _STEPS if led[f"{step}_time"]]
        kept = (
            f"kept {led['quantity']:g} for {led['revenue']} minor units of {currency}" if led["purchase_time"] else ""
        )
        lines.append(
            f"{item['rank']:>3}  {item['item_id']:<16} {item['reason']:<24} {item['score']:>10.4f}  "
            f"p {item['propensity']:.4f}  " + (" → ".join(steps) or "nothing followed") + (f"; {kept}" if kept else "")
        )
    for slot in told["slots"] or ():
        chances = sorted(zip(slot["propensities"], told["could"], strict=True), key=lambda pair: -pair[0])[:_MOST]
        best = ", ".join(
            f"{one['item_id']} {chance:.4f}" + ("" if one["worth"] is None else f" (worth {one['worth']:.1f})")
            for chance, one in chances
        )
        lines.append(f"Slot {slot['rank']}: {slot['could']} could be shown: {best}, …")
    if told["refused"]:
        codes = Counter(code for one in told["refused"] for code in one["codes"])
        lines.append("Refused: " + ", ".join(f"{count} {code}" for code, count in sorted(codes.items())) + ".")
    saw = ", ".join(f"{one['candidates']} ({one['level']})" for one in told["saw"])
    return [*lines, f"It saw candidates: {saw}."]
