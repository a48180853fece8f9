"""What a check says: how grave, the figures in a sentence, and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

FEW_ROWS = 30  # fewer rows prove nothing
CURVE_ROWS = 200  # rows that a distribution needs to be judged by
SHOWN = 5  # names in a sentence


class Severity(StrEnum):
    """How grave a finding is."""

    NOTE = "note"  # worth knowing
    WARN = "warn"  # look at it; the retraining goes on
    STOP = "stop"  # the retraining does not begin


class Finding(BaseModel):
    """One thing found: what, how grave, the figures in a sentence, and what to do.

    `since` is the first day concerned; `subjects` are stores, where it is about stores.
    """

    model_config = ConfigDict(frozen=True)

    code: str
    severity: Severity
    sentence: str
    advice: str
    since: date | None = None
    subjects: tuple[str, ...] = ()


def note(code: str, sentence: str, advice: str) -> Finding:
    """A finding that is worth knowing and no more."""
    return Finding(code=code, severity=Severity.NOTE, sentence=sentence, advice=advice)


def stop_or_warn(grave: bool) -> Severity:
    """Stop where it is grave, else warn."""
    return Severity.STOP if grave else Severity.WARN


def told_only(findings: Iterable[Finding], *, only: bool) -> list[Finding]:
    """The findings, none of them graver than a warning where they are to be told only."""
    return [
        finding.model_copy(update={"severity": Severity.WARN})
        if only and finding.severity is Severity.STOP
        else finding
        for finding in findings
    ]


def when_told(days: Sequence[date]) -> str:
    """From which day to which, in words."""
    return f"on {days[0]}" if len(days) == 1 else f"from {days[0]} to {days[-1]}"


def count_told(number: int, what: str) -> str:
    """How many of what, in words."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def more_told(number: int) -> str:
    """How many are not named in a sentence that names SHOWN of them."""
    return f" and {number - SHOWN:,} more" if number > SHOWN else ""
