"""Look at the data, say what is wrong with it, and write that down as a page."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

from configs.clock import Clock
from configs.quality import load_quality_rules
from configs.settings import Settings
from pipelines.signals.behaviour.suspicion import count_flagged, suspicions
from pipelines.signals.lake.lake import Lake
from pipelines.signals.quality.checks import compare
from pipelines.signals.quality.findings import Severity
from pipelines.signals.quality.page import data_page
from pipelines.signals.quality.profile import profile
from pipelines.signals.quality.store import (
    DataReport,
    accept,
    accepted,
    accepted_name,
    held_name,
    is_accepted,
    keep_profile,
    keep_report,
    newest_report,
    page_path,
)
from pipelines.signals.quarantine.rows import read_quarantine
from pipelines.snapshot import refresh_shop
from state.acceptances import note_acceptance, noted_acceptances
from state.engine import open_engine
from state.files import write_atomic

LATEST = "data-report.html"
_PAGES = 30
_VERSION = 1


def check_data(settings: Settings, lake: Lake, *, clock: Clock, progress: Callable[[str], None]) -> DataReport:
    """Compare what the lake holds with the last accepted run, and write the page; the same data is looked at once.

    Args:
        settings: names the home and the rules.
        lake: the ingested tables.
        clock: dates the report.
        progress: told the verdict, what stops, and where the page lies.

    Raises:
        UsageError: the rules are wrong.
    """
    try:
        report = _checked(settings, lake, clock)
    except FileNotFoundError:  # an ingest or a forget replaced a part after the manifest was read
        report = _checked(settings, lake, clock)
    counts = {severity: sum(f.severity is severity for f in report.findings) for severity in Severity}
    told = ", ".join(f"{count} {severity}" for severity, count in reversed(counts.items()) if count)
    progress(f"data: {report.verdict}{f' ({told})' if told else ''}; {report.page}")
    for finding in report.stops:
        progress(f"  {finding.sentence}")
    return report


def _checked(settings: Settings, lake: Lake, clock: Clock) -> DataReport:
    home = settings.paths
    rules = load_quality_rules(settings.quality_rules)
    manifest = lake.manifest()
    told = [rules.model_dump(mode="json"), settings.suspicion.model_dump(mode="json")]
    facts = [_VERSION, lake.fingerprint(), manifest.quarantine, accepted_name(home), told]
    key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
    page = page_path(home, key)
    known = newest_report(home)
    if known is not None and known.key == key and page.exists() and (home.quality / key).is_dir():
        return known
    before = accepted(home)
    found = profile(
        lake,
        rules,
        accepted=before,
        quarantine=read_quarantine(lake, manifest),
        lake=lake.fingerprint(),
        at=clock.now(),
    )
    findings = compare(found, before, rules)
    gravest = findings[0].severity if findings else Severity.NOTE
    verdict = {Severity.STOP: "stop", Severity.WARN: "warn", Severity.NOTE: "pass"}[gravest]
    report = DataReport.model_validate(
        {"key": key, "lake": found.meta.lake, "verdict": verdict, "findings": findings, "page": str(page),
         "at": found.meta.at}
    )  # fmt: skip
    keep_profile(home, key, found)
    by_hand = noted_acceptances(open_engine(settings.state_uri))
    flagged = count_flagged(lake, suspicions(settings, lake))
    content = data_page(found, before, findings, rules, flagged=flagged, by_hand=by_hand)
    write_atomic(page, content)
    write_atomic(home.reports / LATEST, content)
    keep_report(home, report)
    pages = sorted(home.reports.glob("data-????????????????.html"), key=lambda path: path.stat().st_mtime)
    for old in pages[:-_PAGES]:
        old.unlink(missing_ok=True)
    return report


def note_data(settings: Settings, report: DataReport, reason: str, *, clock: Clock) -> None:
    """Write down that a person accepted data that would have stopped the retraining."""
    sentences = [finding.sentence for finding in report.stops]
    engine = open_engine(settings.state_uri)
    note_acceptance(engine, report=report.key, reason=reason, findings=sentences, at=clock.now())


def settle_data(
    settings: Settings, lake: Lake, report: DataReport, *, clock: Clock, progress: Callable[[str], None]
) -> None:
    """Let the data of a run that ended be what later data is compared with; done again, it changes nothing.

    Data that stops is accepted only where a person said so. Prices that were held back are shown from then on.
    """
    home = settings.paths
    if is_accepted(home, report):
        return
    noted = noted_acceptances(open_engine(settings.state_uri)) if report.stops else []
    if report.stops and not any(row["report"] == report.key for row in noted):
        return
    held = held_name(home) is not None
    if accept(home, report, at=clock.now()) and held:
        refresh_shop(home, lake, settings, now=clock.now(), progress=progress)
