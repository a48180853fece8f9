"""Erase a shopper everywhere, with a receipt.

The order: what is served goes first, then what it is made of, so that a job that is cut off has done the part that
the shopper would notice. Every step erases what is still there, so running again finishes. A tombstone (a keyed hash)
stays before any table is touched: from then on no ingest and no event brings the shopper back.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable
from datetime import datetime

from pydantic import BaseModel, ConfigDict

from configs.clock import Clock
from configs.errors import FacingsError, UsageError
from configs.secrets import secret
from configs.settings import Settings
from identity.vault import Vault
from pipelines.faces import faces_lock
from pipelines.forget_models import forget_in_models, forget_in_tables
from pipelines.signals.erase import erase_in_lake
from pipelines.snapshot import forget_in_snapshots
from state.consent import Consents
from state.decisions import erase_decisions, open_decisions
from state.engine import open_engine
from state.events import erase_events
from state.files import drop_drafts, exclusive
from state.forgotten import lift_tombstone, pseudonym, remember_forgotten
from state.receipts import keep_receipt
from state.scrub import scrub

Progress = Callable[[str], None]


class Receipt(BaseModel):
    """What was erased: how many of what, by place. It names the shopper only by the tombstone's keyed hash."""

    model_config = ConfigDict(frozen=True)

    receipt_id: str
    shopper_hash: str
    erased: dict[str, int]
    at: datetime


def forget(settings: Settings, shopper_id: str, *, clock: Clock, progress: Progress) -> Receipt:
    """Erase a shopper from templates, what is served, tables, features, events and models.

    Waits for a retraining that is under way: it holds the shopper in memory and would write them down again. Safe to
    kill and to run again; a shopper forgotten before gets another receipt, of nothing.

    Returns:
        The receipt, which is also kept in the state database.

    Raises:
        UsageError: the id is empty.
        FacingsError: nothing was known of the shopper (no tombstone is left then), or a store is damaged.
    """
    if not shopper_id.strip():
        raise UsageError("The shopper's id is empty; name whom to forget.")
    home = settings.paths
    engine = open_engine(settings.state_uri)
    key = secret(home, "pseudonym")
    progress("Erasing consent and templates")
    erased = _faces(settings, shopper_id, clock)
    fresh = remember_forgotten(engine, shopper_id, key, clock)
    progress("Erasing from what is served")
    erased["snapshots"] = forget_in_snapshots(home, shopper_id, drafts=False)
    erased["events"] = erase_events(engine, shopper_id)
    decisions = open_decisions(settings.decisions_uri)
    erased["decisions"] = erase_decisions(decisions, pseudonym(shopper_id, key))
    progress("Waiting for a retraining or a comparison, if one is under way")
    with (
        exclusive(home.runs / "retrain.lock", "retraining", wait=True),
        exclusive(home.runs / "compare.lock", "comparison", wait=True),
        exclusive(home.runs / "compare-training.lock", "training of a comparison", wait=True),
    ):
        progress("Erasing from tables, features and models")
        drop_drafts(home.runs)  # half-written tables can be neither read nor cleared of anybody
        erased |= erase_in_lake(home, shopper_id)
        shutil.rmtree(home.suspicions, ignore_errors=True)  # flags name shoppers; they are found anew
        erased["features"] = _features(settings, clock, shopper_id)
        roots = [root for root in (home.runs, home.mlflow_artifacts) if root.is_dir()]
        erased["models"] = sum(forget_in_models(root, shopper_id) for root in roots)
        erased["lists"] = sum(forget_in_tables(root, shopper_id) for root in roots)
        erased["pages"] = _pages(settings) if any(erased.values()) or not fresh else 0
        erased["snapshots"] += forget_in_snapshots(home, shopper_id)  # what that retraining published
    erased["decisions"] += erase_decisions(decisions, pseudonym(shopper_id, key))  # what a server had still to write
    scrub(engine)
    if erased["decisions"]:
        scrub(decisions)
    if fresh and not any(erased.values()):
        lift_tombstone(engine, shopper_id, key)
        raise FacingsError("Nothing is known of this shopper; check the id.")
    receipt = Receipt(
        receipt_id=secrets.token_hex(8), shopper_hash=pseudonym(shopper_id, key), erased=erased, at=clock.now()
    )
    keep_receipt(engine, receipt_id=receipt.receipt_id, shopper=receipt.shopper_hash, erased=erased, at=receipt.at)
    return receipt


def _faces(settings: Settings, shopper_id: str, clock: Clock) -> dict[str, int]:
    """The consent first: from then on no gallery takes the templates, even if they were left behind."""
    home = settings.paths
    consents = Consents(open_engine(settings.state_uri), home)
    with faces_lock(home):
        withdrawn = consents.withdraw(shopper_id, at=clock.now())
        return {"consent": withdrawn, "vault": Vault(home).remove(shopper_id)}


def _pages(settings: Settings) -> int:
    """Comparisons show what some shoppers bought, without saying who: all go, `facings compare` makes new ones."""
    pages = list(settings.paths.reports.glob("compare-*.html"))
    for page in pages:
        page.unlink()
    return len(pages)


def _features(settings: Settings, clock: Clock, shopper_id: str) -> int:
    """Feast takes seconds to import: only where there are features."""
    if not settings.paths.features.is_dir():
        return 0
    from features.store import FeatureStore

    store = FeatureStore(settings, clock=clock)
    try:
        return sum(store.forget(shopper_id).values())
    finally:
        store.close()
