"""`facings recommend`: batch top-k lists from what serves."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import click

from cli.output import json_option, progress, settings_of, show
from configs.errors import UsageError

_FALLBACKS = {
    "unknown_shopper": "a shopper the model does not know: served as a stranger, or without a row where it cannot",
    "no_history": "a shopper without a purchase: served by what they watched where the recipe has contents, else like "
    "others of the same attributes, or the best sold",
    "unknown_item": "an item the model does not know: left out",
}


@click.command(epilog="Example: facings recommend --all --k 20 --new-only --out lists.parquet")
@click.option("--shoppers", "file", type=click.Path(path_type=Path), help="CSV or parquet with a column shopper_id.")
@click.option("--all", "everybody", is_flag=True, help="Everybody the model knows.")
@click.option("--k", type=int, required=True, help="Length of the lists, 1 to 10,000.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Where to write (.csv or .parquet).")
@click.option("--new-only", is_flag=True, help="Leave out what a shopper bought before.")
@click.option("--as-of", metavar="T", help="ISO time (UTC): know nothing from then on.")
@click.option("--recipe", metavar="R", help="Train this recipe instead of taking what serves.")
@json_option
@click.pass_context
def recommend(
    context: click.Context,
    file: Path | None,
    everybody: bool,
    k: int,
    out: Path,
    new_only: bool,
    as_of: str | None,
    recipe: str | None,
    as_json: bool,
) -> None:
    """Write the k best items for each shopper: shopper_id, rank (from 1), item_id, score, reason.

    Lists come from the champion. With --as-of its recipe is trained on what was known before that moment, unless a
    model of exactly that moment is there. With --recipe that recipe is trained here and now, and nothing is published;
    a PyTorch recommender then trains on several processes under `torchrun --no-python --nproc-per-node N facings …`.
    """
    settings = settings_of(context)
    if (file is None) == (not everybody):
        raise UsageError("Say for whom: --shoppers FILE or --all.")
    if not 1 <= k <= 10_000:
        raise UsageError(f"k is {k}; it must lie between 1 and 10,000.")
    if out.suffix not in {".csv", ".parquet"}:
        raise UsageError(f"--out {out} must end in .csv or .parquet.")
    moment = None if as_of is None else _moment(as_of)
    import pandas as pd

    from configs.recipe import load_recipe
    from pipelines.training.batch import batch_lists, read_shoppers, write_table

    lists = batch_lists(
        settings,
        None if file is None else read_shoppers(file),
        k,
        new_only=new_only,
        as_of=None if moment is None else pd.Timestamp(moment),
        recipe=None if recipe is None else load_recipe(recipe),
        clock=settings.clock(),
        progress=progress,
    )
    if int(os.environ.get("RANK", "0")):  # torchrun: the others only helped to train
        return
    write_table(lists, out)
    served = int(lists["shopper_id"].nunique())
    fallbacks = lists.attrs["fallbacks"]
    told = {"shoppers": served, "rows": len(lists), "out": str(out), "fallbacks": fallbacks}
    lines = [f"{len(lists):,} rows for {served:,} shoppers in {out}"]
    lines += [f"{count:,} × {_FALLBACKS[name]}" for name, count in fallbacks.items() if count]
    show(told, lines, as_json=as_json)


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"--as-of {text!r} is not an ISO time; write e.g. 2026-01-31 or 2026-01-31T09:30:00Z."
        ) from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
