"""`facings plan`: allocate offers to shoppers under budgets, stock and caps."""

from __future__ import annotations

from pathlib import Path

import click

from cli.output import json_option, progress, settings_of, show
from configs.errors import UsageError

_FILE = click.Path(path_type=Path)


@click.command(epilog="Example: facings plan --values v.parquet --campaigns c.csv --slots 3 --out plan.csv")
@click.option("--values", type=_FILE, required=True, help="shopper_id, offer_id, item_id, campaign_id, value, cost.")
@click.option("--campaigns", type=_FILE, required=True, help="campaign_id, budget (empty: unlimited), max_per_shopper.")
@click.option("--out", type=_FILE, required=True, help="Where to write the plan (.csv or .parquet).")
@click.option("--slots", type=int, default=1, show_default=True, help="Offers for one shopper at most.")
@click.option("--stock", type=_FILE, help="item_id, units; without it the rule is off.")
@click.option("--makers", type=_FILE, help="maker_id, budget; campaigns then need maker_id.")
@json_option
@click.pass_context
def plan(
    context: click.Context,
    values: Path,
    campaigns: Path,
    out: Path,
    slots: int,
    stock: Path | None,
    makers: Path | None,
    as_json: bool,
) -> None:
    """Give each shopper the offers that are worth most together within budgets, stock and caps; some get none.

    Written are shopper_id, slot (from 1) and offer_id. No budget, stock or cap is exceeded; nobody gets an offer or an
    item twice. `gap` tells by how much of the bound (what no plan can exceed) the plan may be below the best.
    Tables are CSV or parquet by their extension. Columns starts and ends of the campaigns are checked where given.
    """
    settings = settings_of(context)
    if out.suffix not in {".csv", ".parquet"}:
        raise UsageError(f"--out {out} must end in .csv or .parquet.")
    from pipelines.offers.budgets.plan import Files, plan_offers, write_plan

    files = Files(values, campaigns, stock, makers)
    found = plan_offers(files, slots=slots, now=settings.clock().now(), progress=progress)
    write_plan(found.table, out)
    told = {**found.totals, "out": str(out)}
    lines = [
        f"{told['offers']:,} offers for {told['shoppers_served']:,} of {told['shoppers']:,} shoppers in {out}",
        f"worth {told['value']:,.2f}, cost {told['cost']:,.2f}; at most {told['gap']:.4%} below the best possible",
    ]
    if told["unlimited"]:
        lines.append(f"{len(told['unlimited']):,} campaigns have no budget: unlimited")
    if stock is None:
        lines.append("no stock table: the rule is off")
    show(told, lines, as_json=as_json)
