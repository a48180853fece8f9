"""`facings forget`: erase a shopper everywhere, with a receipt."""

from __future__ import annotations

import click

from cli.output import json_option, progress, settings_of, show


@click.command(epilog="Example: facings forget 4711 --json")
@click.argument("shopper")
@json_option
@click.pass_context
def forget(context: click.Context, shopper: str, as_json: bool) -> None:
    """Erase SHOPPER from templates, features, events, tables, what is served, and trained models.

    A keyed tombstone stays, so that a later ingest of the same data does not bring the shopper back. Safe to kill and
    to run again. Exit code 1 when nothing was known of the shopper.
    """
    settings = settings_of(context)
    from pipelines.forget import forget as erase

    receipt = erase(settings, shopper, clock=settings.clock(), progress=progress)
    counts = ", ".join(f"{place} {count}" for place, count in receipt.erased.items() if count)
    lines = [f"Erased: {counts or 'nothing was left to erase'}.", f"Receipt {receipt.receipt_id} of {receipt.at}."]
    show(receipt.model_dump(mode="json"), lines, as_json=as_json)
