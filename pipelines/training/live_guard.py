"""Look at what was served since the last promotion, and take back what does worse than what served before.

Safe to run at any time, twice, and to kill: what it finds is computed anew from the log of decisions; a rollback is
done under the publishing lock, and only while the deployment that was judged is the one in force.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from html import escape
from typing import Any, Literal

import orjson
import polars as pl
from pydantic import BaseModel, ConfigDict

from configs.clock import Clock
from configs.settings import Settings
from pipelines.signals.behaviour.attribution import attribution
from pipelines.signals.lake.lake import Lake
from pipelines.training.document import document
from pipelines.training.gate import Check
from pipelines.training.guard import SERVED, Watch, watch
from pipelines.training.promote import in_force, open_ledger, publishing_lock, reconcile, rollback
from state.decisions import answers_between, open_decisions
from state.engine import open_engine
from state.events import waiting_events
from state.files import exclusive, write_atomic
from state.ledger import Action, Deployment

_EMPTY = ("nothing_allowed", "no_model", "unknown_shopper", "too_few")
_HOLDOUT = "holdout"


class GuardResult(BaseModel):
    """What a look at what serves came to."""

    model_config = ConfigDict(frozen=True)

    status: Literal["fine", "rolled_back", "nothing"]
    version: str | None  # what serves now
    taken_back: str | None = None  # the version that was rolled back
    deployment: int | None = None  # the deployment that was looked at
    since: datetime | None = None  # when it came into force
    decisions: int = 0  # since then, as far as they are ripe
    reasons: list[str]
    checks: list[Check] = []
    report: str | None = None


def guard(settings: Settings, *, clock: Clock, progress: Callable[[str], None]) -> GuardResult:
    """Judge the deployment in force by what it led to, and roll it back where it does worse.

    Raises:
        FacingsError: the log or the ledger cannot be read, or what served before cannot be put back.
    """
    ledger = open_ledger(settings)
    with exclusive(publishing_lock(settings), "publish or rollback", wait=True):
        current = reconcile(settings, ledger)
    if current is None:
        return GuardResult(status="nothing", version=None, reasons=["nothing was ever published"])
    serving, current = current.id, ledger.begun(current)  # scored anew, a version is still the one that was promoted
    before = None if current.previous is None else ledger.get(current.previous)
    if current.action is Action.ROLLBACK or before is None:
        why = "a rollback is in force" if current.action is Action.ROLLBACK else "nothing served before it"
        return GuardResult(
            status="nothing",
            version=current.version,
            deployment=current.id,
            reasons=[f"version {current.version}: {why}, so there is nothing to compare it with or to go back to"],
        )
    served = what_was_served(settings, current, before, clock.now())
    found = watch(served, settings.guard)
    page = settings.paths.reports / f"guard-{current.id}.html"
    write_atomic(page, _page(current, before, found, clock.now()))
    result = GuardResult(
        status="fine",
        version=current.version,
        deployment=current.id,
        since=current.at,
        decisions=int(served.filter(pl.col("group") == "after")["decisions"].sum()),
        reasons=[check.sentence for check in found.checks],
        checks=found.checks,
        report=str(page),
    )
    if not found.regressed:
        return result
    progress(f"Version {current.version} does worse than version {before.version} did: {found.why}")
    rollback(settings, reason=f"guard: {found.why}", expected=serving, clock=clock, progress=progress)
    now = in_force(settings, ledger)
    return result.model_copy(
        update={"status": "rolled_back", "taken_back": current.version, "version": None if now is None else now.version}
    )


def what_was_served(settings: Settings, current: Deployment, before: Deployment, now: datetime) -> pl.DataFrame:
    """Decisions of both deployments by hour and store, with what they led to; the columns of `guard.SERVED`.

    A decision is ripe when all that may be counted for it has had the time to happen and to come in: purchases come in
    with the tills' data, so nothing later than the newest of them counts. Where both sides have the same days of the
    week, only these are compared.
    """
    rules = settings.guard
    settle = timedelta(hours=rules.settle_hours)
    lake, waiting = Lake(settings.paths), waiting_events(open_engine(settings.state_uri))
    newest = _newest_purchase(lake, waiting)
    if newest is None:
        return pl.DataFrame(schema=SERVED)
    since, until = current.at - timedelta(days=rules.days), min(now, newest) - 2 * settle
    if until <= current.at:
        return pl.DataFrame(schema=SERVED)
    engine = open_decisions(settings.decisions_uri)
    rows = [
        _row(name, decided_at, orjson.loads(answer), current, before)
        for name, decided_at, answer in answers_between(engine, since, until)
    ]
    schema: dict[str, Any] = {
        "recommendation_id": pl.String(), "decided_at": pl.Int64(), "version": pl.String(), "store_id": pl.String(),
        "group": pl.String(), "failed": pl.Int64(), "milliseconds": pl.Float64(),
    }  # fmt: skip
    decisions = pl.DataFrame([row for row in rows if row is not None], schema=schema, orient="row")
    short = settings.model_copy(update={"attribution_days": settle / timedelta(days=1)})
    led_to = attribution(short, engine, lake, since, until, more=waiting)
    reward = led_to.group_by("recommendation_id").agg(pl.col("revenue").sum().cast(pl.Float64).alias("reward"))
    whole = (
        decisions.join(reward, on="recommendation_id", how="left")
        .with_columns(pl.col("reward").fill_null(0.0), pl.col("decided_at").cast(pl.Datetime("us", "UTC")))
        .with_columns(hour=pl.col("decided_at").dt.truncate("1h"), day=pl.col("decided_at").dt.weekday())
    )
    old, new = (set(whole.filter(pl.col("group") == group)["day"]) for group in ("before", "after"))
    if new <= old:
        whole = whole.filter(pl.col("day").is_in(list(new)))
    return (
        whole.group_by("hour", "store_id", "group")
        .agg(
            pl.len().cast(pl.Int64).alias("decisions"),
            pl.col("reward").sum(),
            pl.col("failed").sum(),
            pl.when(pl.col("milliseconds").null_count() == 0).then(pl.col("milliseconds").sum()).alias("milliseconds"),
        )
        .select(list(SERVED))
        .sort("hour", "store_id", "group")
    )


def _row(name: str, at: int, answer: dict[str, Any], current: Deployment, before: Deployment) -> tuple[Any, ...] | None:
    """One decision of either side; None: another version made it."""
    after = at >= int(current.at.timestamp() * 1e6)
    if answer["model_version"] != (current if after else before).version:
        return None
    fallback = answer["fallback"] or ""
    side = "after" if after else "before"
    group = f"holdout_{side}" if fallback.startswith(_HOLDOUT) else side
    failed = int(not answer["items"] or fallback.startswith(_EMPTY))
    store = answer["store_id"] or ""
    return name, at, answer["model_version"], store, group, failed, answer.get("milliseconds")


def _newest_purchase(lake: Lake, waiting: list[dict[str, Any]]) -> datetime | None:
    known = [datetime.fromisoformat(row["event_time"]) for row in waiting if row.get("event_type") == "purchase"]
    latest = (
        lake.scan("interactions")
        .filter(pl.col("event_type") == "purchase")
        .select(pl.col("event_time").max())
        .collect()
        if lake.has("interactions")
        else None
    )
    if latest is not None and isinstance(latest.item(), datetime):
        known.append(latest.item())
    return max(known, default=None)


def _page(current: Deployment, before: Deployment, found: Watch, now: datetime) -> str:
    word, mark = ("taken back", "no") if found.regressed else ("goes on serving", "yes")
    lines = "".join(
        f"<li class='{('yes' if check.passed else 'no') if check.judged else 'faint'}'>{escape(check.sentence)}</li>"
        for check in found.checks
    )
    parts = [
        f"<h1>Version {escape(current.version)}: <span class='{mark}'>{word}</span></h1>",
        f"<p>In force since {current.at:%Y-%m-%d %H:%M} UTC ({escape(current.recipe)}: {escape(current.reason)}), "
        f"looked at {now:%Y-%m-%d %H:%M}; before it version {escape(before.version)} ({escape(before.recipe)}) "
        "served.</p>",
        f"<h2>Reasons</h2><ul>{lines}</ul>",
        "<p>Bounds hold at all times at once, however often this is looked at. What was taken back is not published "
        "again from the same data, recipe and code.</p>",
    ]
    return document(f"Guard: version {current.version} {word}", parts)
