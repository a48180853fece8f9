"""What makes a row a duplicate: a 128-bit key of its event_id or, without one, of all its values."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

Keys = npt.NDArray[np.uint64]
# The finaliser of splitmix64 (Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators").
_MULTIPLIERS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_SHIFTS = (np.uint64(30), np.uint64(27), np.uint64(31))


def row_keys(frame: pl.DataFrame, leave_out: Iterable[str] = ()) -> Keys:
    """Keys of the rows, uint64 of shape (rows, 2).

    A value counts by its column's name and its plain text (5 and 5.0 are the same, a missing value is as good as no
    column), so that neither the order of columns nor the file's format matters, and no library's version does.

    Args:
        frame: typed rows.
        leave_out: columns that do not belong to the content.
    """
    skipped = {*leave_out, "event_id"}
    sums = np.zeros((frame.height, 2), np.uint64)
    named = frame["event_id"].is_not_null().to_numpy() if "event_id" in frame.columns else np.zeros(frame.height, bool)
    if not named.all():
        for name in frame.columns:
            if name not in skipped:
                sums += _column_keys(name, frame[name])
    if named.any():
        sums[named] = _column_keys("event_id", frame["event_id"])[named]
    # Sums of hashes would make swapped cells of two rows look the same in the sum over a table; mixed ones do not.
    low = _mix(sums[:, 1] ^ _mix(sums[:, 0]))
    return np.stack([_mix(sums[:, 0] + low), low], axis=1)


def _mix(values: Keys) -> Keys:
    first, second, third = _SHIFTS
    values = (values ^ (values >> first)) * _MULTIPLIERS[0]
    values = (values ^ (values >> second)) * _MULTIPLIERS[1]
    mixed: Keys = values ^ (values >> third)
    return mixed


def _column_keys(name: str, values: pl.Series) -> Keys:
    """Hash each distinct value once; a missing value gives zeros."""
    if isinstance(values.dtype, pl.Datetime):
        values = values.cast(pl.Int64)
    elif not (values.dtype.is_numeric() or values.dtype in (pl.String, pl.Boolean)):
        values = values.cast(pl.String)
    coded = values.to_arrow().dictionary_encode()
    prefix = f"{name}=".encode(errors="surrogatepass")
    digests = b"".join(
        hashlib.blake2b(prefix + _text(value).encode(), digest_size=16).digest()
        for value in coded.dictionary.to_pylist()
    )
    table = np.frombuffer(digests + bytes(16), dtype="<u8").reshape(-1, 2).astype(np.uint64)
    codes = coded.indices.fill_null(len(table) - 1).to_numpy(zero_copy_only=False)
    keys: Keys = table[codes]
    return keys


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and math.isfinite(value) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return str(value)
