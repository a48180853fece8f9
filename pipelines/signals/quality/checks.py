"""What is wrong with the data, from its profile and the last accepted one. Pure: numbers in, sentences out.

docs/data-quality.md states each check, its thresholds and how they were chosen.
"""

from __future__ import annotations

from datetime import date

from configs.quality import QualityRules
from pipelines.signals.quality.days import clock, rows_per_visit, volume
from pipelines.signals.quality.findings import Finding, Severity, note, told_only
from pipelines.signals.quality.prices import catalogue, prices
from pipelines.signals.quality.profile import Accepted, Profile
from pipelines.signals.quality.rows import columns_lost, duplicates, history, missing_values, quarantine, strangers
from pipelines.signals.quality.shifts import shifted, shifts
from pipelines.signals.quality.silence import event_types, stalled, stores_silent


def compare(found: Profile, accepted: Accepted | None, rules: QualityRules) -> list[Finding]:
    """Return what is to be said, the gravest first; without an accepted run only the data's own days are compared.

    Days stop a run only where newer ones came in since an accepted one: without that there is no feed that was whole
    before, and a young shop's days rise and fall.
    """
    known = accepted.changes if accepted else {}
    findings = [*catalogue(found, accepted, rules), *columns_lost(found, accepted, rules)]
    findings += [*history(found, accepted, rules), *stalled(found, accepted, rules)]
    findings += told_only(quarantine(found, rules), only=accepted is None)
    meta, by_day = found.meta, list[Finding]()
    if meta.window is None:
        findings.append(note("nothing", "There are no interactions yet.", "ingest a table of interactions"))
    elif meta.before is None or meta.before.days < rules.reference_minimum:
        days = meta.before.days if meta.before else 0
        sentence = f"Only {days} days lie before the {meta.window.days} newest ones: too few to compare these with."
        findings.append(note("short_history", sentence, "nothing; from more history on, the days are compared"))
    else:
        checks = {
            "volume": volume,
            "rows_per_visit": rows_per_visit,
            "price_level": prices,
            "missing_values": missing_values,
            "duplicates": duplicates,
            "strangers": strangers,
            "clock": clock,
        }
        for code, check in checks.items():
            since = known.get(code, date.min)
            if (meta.window.first - max(since, meta.before.first)).days >= rules.reference_minimum or since == date.min:
                by_day += check(found, rules, since)
            else:
                sentence = f"{code.replace('_', ' ')}: a change was accepted from {since} on; too few days since then."
                findings.append(note("change_accepted", sentence, "nothing; it is judged again when there are more"))
        by_day += [*stores_silent(found, accepted, rules), *event_types(found, rules)]
    # Days that nobody accepted any before, or that were accepted already, are no feed that broke.
    last = accepted.meta.window.last if accepted and accepted.meta.window else None
    findings += told_only(by_day, only=last is None or meta.window is None or meta.window.last <= last)
    findings += [finding for shift in shifts(found) for finding in shifted(shift, rules)]
    order = list(Severity)
    return sorted(findings, key=lambda finding: -order.index(finding.severity))
