"""What the checks keep in a home: the profiles of the newest data, the accepted one, and which prices hold.

`quality/<name>/` is a profile, whole or absent. `quality/accepted.json` points to the accepted one, and
`quality/held-prices.json` to the one whose catalogue prices hold while the newest ones are in doubt. Each is
replaced in one step.
"""

from __future__ import annotations

import shutil
from datetime import date, datetime
from pathlib import Path
from typing import Literal

import polars as pl
from pydantic import BaseModel, ConfigDict

from configs.home import Home
from pipelines.signals.quality.findings import Finding, Severity
from pipelines.signals.quality.profile import ITEM_COLUMNS, Accepted, Profile, load_accepted, read_items
from state.files import build_folder, write_atomic

_KEPT = 5  # profiles of the newest reports, besides those in use
_ACCEPTED, _HELD, _REPORT = "accepted.json", "held-prices.json", "report.json"


class DataReport(BaseModel):
    """What the checks found in the data of one moment.

    Attributes:
        key: hash of all that the report depends on.
        lake: fingerprint of the rows.
        verdict: pass, warn, or stop: the retraining does not begin.
        findings: the gravest first.
        page: where the page lies.
        at: when it was made.
    """

    model_config = ConfigDict(frozen=True)

    key: str
    lake: str
    verdict: Literal["pass", "warn", "stop"]
    findings: tuple[Finding, ...]
    page: str
    at: datetime

    @property
    def stops(self) -> list[Finding]:
        """The findings that keep a retraining from beginning."""
        return [finding for finding in self.findings if finding.severity is Severity.STOP]

    def told(self) -> dict[str, object]:
        """Plain values for JSON."""
        told = self.model_dump(mode="json", include={"verdict", "findings"})
        return {**told, "report": self.page}


class _Pointer(BaseModel):
    model_config = ConfigDict(frozen=True)

    profile: str
    at: datetime
    changes: dict[str, date] = {}
    silent: dict[str, date] = {}


class _Held(BaseModel):
    model_config = ConfigDict(frozen=True)

    profile: str | None  # none: no prices were ever accepted


def keep_profile(home: Home, name: str, found: Profile) -> None:
    """Write a profile under its name; one that is there stays."""
    build_folder(home.quality / name, found.save)


def keep_report(home: Home, report: DataReport) -> None:
    """Make this the newest report; catalogue prices in doubt are held back first, and let go when they are not."""
    in_doubt = any(finding.code == "catalogue_prices" for finding in report.stops)
    if in_doubt:
        pointer = _pointer(home)
        write_atomic(home.quality / _HELD, _Held(profile=pointer.profile if pointer else None).model_dump_json())
    else:
        (home.quality / _HELD).unlink(missing_ok=True)
    write_atomic(home.quality / _REPORT, report.model_dump_json(indent=1))
    _prune(home)


def newest_report(home: Home) -> DataReport | None:
    """The report that was made last; None: none yet, or of another version."""
    try:
        return DataReport.model_validate_json((home.quality / _REPORT).read_text())
    except (OSError, ValueError):
        return None


def accepted_name(home: Home) -> str | None:
    """Something that changes with each acceptance; None: nothing was accepted yet."""
    pointer = _pointer(home)
    return None if pointer is None else f"{pointer.profile} {pointer.at.isoformat()}"


def accepted(home: Home) -> Accepted | None:
    """What the newest data is compared with; None: nothing was accepted yet."""
    pointer = _pointer(home)
    if pointer is None or not (home.quality / pointer.profile).is_dir():
        return None
    return load_accepted(home.quality / pointer.profile, at=pointer.at, changes=pointer.changes, silent=pointer.silent)


def accept(home: Home, report: DataReport, *, at: datetime) -> bool:
    """Let the report's data be what later data is compared with, and what it found be known; False: it is gone.

    A change that a person accepted counts from its first day on. Held prices are let go.
    """
    if not (home.quality / report.key).is_dir():
        return False
    before = _pointer(home)
    changes = dict(before.changes) if before else {}
    silent = dict(before.silent) if before else {}
    for finding in report.findings:
        if finding.code == "silent_store":
            silent |= dict.fromkeys(finding.subjects, finding.since or date.max)
        elif finding.severity is Severity.STOP and finding.since is not None:
            changes[finding.code] = finding.since
    pointer = _Pointer(profile=report.key, at=at, changes=changes, silent=silent)
    write_atomic(home.quality / _ACCEPTED, pointer.model_dump_json(indent=1))
    (home.quality / _HELD).unlink(missing_ok=True)
    return True


def is_accepted(home: Home, report: DataReport) -> bool:
    """Whether this report's data was accepted last."""
    pointer = _pointer(home)
    return pointer is not None and pointer.profile == report.key


def held_name(home: Home) -> str | None:
    """Of which accepted profile the catalogue's prices hold; empty: none do; None: the newest ones are not in doubt."""
    held = _held(home)
    return None if held is None else held.profile or ""


def held_prices(home: Home) -> pl.DataFrame | None:
    """item_id, price and currency to show instead of the catalogue's; None: the catalogue's are not in doubt."""
    held = _held(home)
    if held is None:
        return None
    if held.profile is None:
        return pl.DataFrame(schema=ITEM_COLUMNS).select("item_id", "price", "currency")
    return read_items(home.quality / held.profile).select("item_id", "price", "currency")


def _pointer(home: Home) -> _Pointer | None:
    try:
        return _Pointer.model_validate_json((home.quality / _ACCEPTED).read_text())
    except (OSError, ValueError):
        return None


def _held(home: Home) -> _Held | None:
    try:
        return _Held.model_validate_json((home.quality / _HELD).read_text())
    except (OSError, ValueError):
        return None


def _prune(home: Home) -> None:
    """Remove old profiles that nothing points to, and drafts of killed runs are left to the next one of their name."""
    pointer, held = _pointer(home), _held(home)
    used = {pointer.profile if pointer else None, held.profile if held else None}
    folders = [path for path in home.quality.iterdir() if path.is_dir()]
    newest = sorted(folders, key=lambda path: path.stat().st_mtime, reverse=True)
    for path in newest[_KEPT:]:
        if path.name not in used:
            shutil.rmtree(path, ignore_errors=True)


def page_path(home: Home, key: str) -> Path:
    """Where the page of a report lies."""
    return home.reports / f"data-{key}.html"
