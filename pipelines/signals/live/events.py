"""Checks of interactions that arrive over HTTP, row by row: the same contract as a folder's, without its machinery."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pipelines.signals.contract.tables import MAX_NUMBER, RESERVED, TABLES, Column, unknown_reason

_TABLE = TABLES["interactions"]
_COLUMNS = {column.name: column for column in _TABLE.columns}
MAX_FIELDS = 64
MAX_TEXT = 2000


@dataclass(frozen=True)
class Rejected:
    """A row that does not hold: its place in the batch and one sentence."""

    index: int
    reason: str


class _BadValueError(ValueError):
    pass


def check_interactions(
    rows: Sequence[Any], *, now: datetime, skew_seconds: float, known_stores: frozenset[str] | None
) -> tuple[list[dict[str, Any]], list[Rejected]]:
    """Part rows into those that hold and those that do not.

    Args:
        rows: mappings of the interactions columns; further keys are kept as attributes.
        now: the present moment; an event may lie at most `skew_seconds` after it.
        skew_seconds: tolerated difference of clocks.
        known_stores: ids that store_id may have; None: stores were never ingested, any will do.

    Returns:
        Normalised rows (ids as text, times as ISO 8601 in UTC, event_id always filled), and the rejected ones.
    """
    good, bad = [], []
    for index, row in enumerate(rows):
        try:
            good.append(_row(row, now + timedelta(seconds=skew_seconds), known_stores))
        except _BadValueError as error:
            bad.append(Rejected(index, str(error)))
    return good, bad


def _row(row: Any, latest: datetime, known_stores: frozenset[str] | None) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise _BadValueError("an event must be an object with the interactions columns")
    if len(row) > MAX_FIELDS:
        raise _BadValueError(f"an event may have at most {MAX_FIELDS} fields, this one has {len(row)}")
    kept = {}
    for name, value in row.items():
        column = _COLUMNS.get(name)
        kept[name] = _attribute(name, value) if column is None else _value(column, value)
    for name in _TABLE.required:
        if kept.get(name) is None:
            raise _BadValueError(f"{name} is missing")
    if datetime.fromisoformat(kept["event_time"]) > latest:
        raise _BadValueError("event_time lies in the future")
    store = kept.get("store_id")
    if known_stores is not None and store is not None and store not in known_stores:
        raise _BadValueError(unknown_reason(_COLUMNS["store_id"], store))
    kept = {name: value for name, value in kept.items() if value is not None}
    if "event_id" not in kept:
        text = json.dumps(kept, sort_keys=True, ensure_ascii=False)
        kept["event_id"] = f"auto-{hashlib.sha256(text.encode()).hexdigest()[:32]}"
    return kept


def _value(column: Column, value: Any) -> Any:
    if value is None or (isinstance(value, str) and not value.strip()):  # as in a file's cell
        return None
    match column.kind:
        case "time":
            return _time(column.name, value)
        case "number" | "integer":
            return _number(column, value)
        case _:
            text = _text(column.name, value)
            if column.choices and text not in column.choices:
                raise _BadValueError(f"{column.name} is not one of the known values")
            if column.pattern and not re.fullmatch(column.pattern, text):
                raise _BadValueError(f"{column.name} is not written as expected")
            return text


def _text(name: str, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise _BadValueError(f"{name} is not text")
    text = str(value)
    if len(text) > MAX_TEXT:
        raise _BadValueError(f"{name} has more than {MAX_TEXT} characters")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _BadValueError(f"{name} is not valid text") from None
    if "\0" in text:  # PostgreSQL takes none, and would refuse the batches beside this one with it
        raise _BadValueError(f"{name} is not valid text")
    return text


def _number(column: Column, value: Any) -> float | int:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _BadValueError(f"{column.name} is not a number")
    if abs(value) > MAX_NUMBER or not math.isfinite(value):
        raise _BadValueError(f"{column.name} is not a finite number")
    if column.low is not None and value < column.low:
        raise _BadValueError(f"{column.name} is less than {column.low:g}")
    if column.kind == "integer" and value != int(value):
        raise _BadValueError(f"{column.name} is not a whole number")
    return value


def _time(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise _BadValueError(f"{name} is not a time (write 2026-01-31T09:30:00Z)")
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise _BadValueError(f"{name} is not a time (write 2026-01-31T09:30:00Z)") from None
    try:
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return aware.astimezone(UTC).isoformat()
    except OverflowError:
        raise _BadValueError(f"{name} lies outside the calendar") from None


def _attribute(name: str, value: Any) -> Any:
    if len(name) > 200 or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]*", name):
        raise _BadValueError("a field's name must be letters, digits and _.- only")
    if name.lower() in _COLUMNS or name.lower() in RESERVED:
        raise _BadValueError(f"a field may not be called {name}, which is too near to a name that has a meaning")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return _number(Column(name, "number"), value)
    return _text(name, value)
