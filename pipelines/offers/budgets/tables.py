"""The planner's tables: read whole, checked whole; what does not hold is refused with one sentence that counts it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv
import pyarrow.parquet as parquet

from configs.errors import FacingsError, UsageError

Array = npt.NDArray[np.float64]
VALUES = ("shopper_id", "offer_id", "item_id", "campaign_id", "value", "cost")
CAMPAIGNS, CAMPAIGNS_MORE = ("campaign_id", "budget"), ("max_per_shopper", "maker_id", "starts", "ends")
STOCK, MAKERS = ("item_id", "units"), ("maker_id", "budget")
_NUMBERS = {"value", "cost", "budget", "units", "max_per_shopper"}
_TIMES = {"starts", "ends"}
_FEW = {"offer_id", "item_id", "campaign_id", "maker_id"}


def read_table(path: Path, needed: Sequence[str], more: Sequence[str] = ()) -> pa.Table:
    """Read columns of a CSV or parquet file: ids as they are (in CSV as text), numbers as float64.

    Raises:
        UsageError: another extension, or a column is missing.
        FacingsError: the file is not there, cannot be read, or a number is none.
    """
    if path.suffix not in {".csv", ".parquet"}:
        raise UsageError(f"{path} must be a .csv or .parquet file.")
    if not path.is_file():
        raise FacingsError(f"There is no file {path}; give a .csv or .parquet table.")
    try:
        table = _csv(path) if path.suffix == ".csv" else _parquet(path, (*needed, *more))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise FacingsError(f"{path} cannot be read ({' '.join(str(error).split())[:200]}).") from None
    missing = [name for name in needed if name not in table.column_names]
    if missing:
        raise UsageError(
            f"{path} has no column {', '.join(missing)}; it needs {', '.join(needed)} and has "
            f"{', '.join(table.column_names) or 'none'}."
        )
    table = table.select([name for name in (*needed, *more) if name in table.column_names])
    for name in table.column_names:
        kind = pa.float64() if name in _NUMBERS else pa.timestamp("us", "UTC") if name in _TIMES else None
        if kind is None:
            continue
        try:
            column = table[name]
            if name in _TIMES and pa.types.is_timestamp(column.type) and column.type.tz is None:
                column = pc.assume_timezone(column.cast(pa.timestamp("us")), "UTC")
            table = table.set_column(table.column_names.index(name), name, column.cast(kind))
        except pa.ArrowException as error:
            what = "a time" if name in _TIMES else "a number"
            told = " ".join(str(error).split())[:120]
            raise FacingsError(
                f"{path}: column {name} holds what is not {what} ({told}); correct it and plan again."
            ) from None
    return table


def _csv(path: Path) -> pa.Table:
    with path.open("rb") as file:
        names = csv.open_csv(file).schema.names
    text = {name: pa.string() for name in names if name not in _NUMBERS and name not in _TIMES}
    options = csv.ConvertOptions(column_types=text, strings_can_be_null=True, quoted_strings_can_be_null=False)
    options.null_values = [""]
    return csv.read_csv(path, convert_options=options)


def _parquet(path: Path, names: Sequence[str]) -> pa.Table:
    schema = parquet.read_schema(path)
    held = [name for name in names if name in schema.names]
    # Few different values each come as codes; different shoppers are too many for that to pay.
    text = (pa.types.is_string, pa.types.is_large_string)
    ids = [name for name in held if name in _FEW and any(is_(schema.field(name).type) for is_ in text)]
    return parquet.read_table(path, columns=held, read_dictionary=ids, use_threads=False)


@dataclass(frozen=True)
class Coded:
    """A column of ids as codes into its different values; -1 for a missing one."""

    codes: npt.NDArray[np.int32]
    names: pa.Array


def coded(column: pa.ChunkedArray) -> Coded:
    """Number a column's values in the order in which they first come."""
    if not len(column):
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        return Coded(np.zeros(0, np.int32), pa.array([], kind))
    if not pa.types.is_dictionary(column.type):
        return _by_runs(pa.concat_arrays(column.chunks))
    column = column.unify_dictionaries()
    indices = [chunk.indices.fill_null(-1).to_numpy(zero_copy_only=False) for chunk in column.chunks]
    return Coded(np.concatenate(indices).astype(np.int32), column.chunk(0).dictionary)


def _by_runs(values: pa.Array) -> Coded:
    """Number values of which equal ones mostly follow each other: each run is looked up once."""
    other = pc.not_equal(values[1:], values[:-1]).fill_null(True).to_numpy(zero_copy_only=False)
    first = np.flatnonzero(np.concatenate([[True], other.astype(bool)]))
    heads = values.take(pa.array(first)).dictionary_encode()
    codes = heads.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int32)
    return Coded(np.repeat(codes, np.diff(np.append(first, len(values)))), heads.dictionary)


def refuse(table: str, faults: Sequence[tuple[int, str]]) -> None:
    """Refuse a table of which `faults` counts what does not hold.

    Raises:
        FacingsError: a count is above 0.
    """
    told = [f"{count:,} {what}" for count, what in faults if count]
    if told:
        raise FacingsError(
            f"{table} cannot be planned with: {'; '.join(told)}. Nothing was written; correct the table and plan again."
        )


def numbers(table: pa.Table, name: str) -> tuple[Array, npt.NDArray[np.bool_]]:
    """A column as float64, and where it is missing (there the number is 0)."""
    column = table[name].combine_chunks() if table.num_rows else pa.array([], pa.float64())
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks)
    missing = column.is_null().to_numpy(zero_copy_only=False).astype(bool)
    return column.fill_null(0.0).to_numpy(zero_copy_only=False).astype(float), missing


def blanks(one: Coded) -> int:
    """How many ids are missing or nothing but spaces."""
    blank = pc.equal(pc.utf8_trim_whitespace(one.names.cast(pa.string())), "").to_numpy(zero_copy_only=False)
    empty = np.append(blank.astype(bool), True)  # code -1 takes the last
    return int(empty[one.codes].sum())


def check_values(path: str, ids: dict[str, Coded], value: Array, cost: Array, missing: int) -> None:
    """Refuse options that cannot be planned.

    Raises:
        FacingsError: as `refuse`.
    """
    shopper, offer = ids["shopper_id"], ids["offer_id"]
    # Stable, as that is quick where a shopper's rows lie together.
    key = np.sort(shopper.codes.astype(np.int64) * (len(offer.names) + 1) + offer.codes, kind="stable")
    refuse(
        path,
        [
            *((blanks(ids[name]), f"rows without {name}") for name in VALUES[:4]),
            (missing, "missing values or costs"),
            (int((~np.isfinite(value)).sum()), "values that are not finite numbers"),
            (int((~np.isfinite(cost)).sum()), "costs that are not finite numbers"),
            (int((cost < 0).sum()), "negative costs"),
            (int((np.diff(key) == 0).sum()), "duplicate rows (the same offer twice for one shopper)"),
        ],
    )


def check_campaigns(path: str, table: pa.Table, ids: Coded, now: datetime) -> tuple[Array, Array]:
    """Refuse campaigns that cannot be planned; return budgets and caps, inf where there is none.

    Raises:
        FacingsError: as `refuse`.
    """
    budget, free = numbers(table, "budget")
    if "max_per_shopper" in table.column_names:
        cap, uncapped = numbers(table, "max_per_shopper")
    else:
        cap, uncapped = np.zeros(table.num_rows), np.ones(table.num_rows, bool)
    faults = [
        (blanks(ids), "rows without campaign_id"),
        (len(ids.codes) - len(ids.names) - int((ids.codes < 0).sum()), "campaigns that are there twice"),
        (int((~np.isfinite(budget)).sum()), "budgets that are not finite numbers (leave it empty for no limit)"),
        (int((budget < 0).sum()), "negative budgets"),
        (int(((cap < 0) | ~np.isfinite(cap)).sum()), "values of max_per_shopper below 0"),
        (int((np.isfinite(cap) & (cap != np.round(cap))).sum()), "values of max_per_shopper that are no whole numbers"),
    ]
    held = set(table.column_names)
    if {"starts", "ends"} <= held:
        faults.append((_count(pc.less_equal(table["ends"], table["starts"])), "campaigns that end before they start"))
    if "ends" in held:
        over = pc.less_equal(table["ends"], pa.scalar(now, pa.timestamp("us", "UTC")))
        faults.append((_count(over), f"campaigns that ended before {now:%Y-%m-%d %H:%M} UTC"))
    refuse(path, faults)
    return np.where(free, np.inf, budget), np.where(uncapped, np.inf, cap)


def check_amounts(path: str, table: pa.Table, ids: Coded, id_name: str, name: str, *, whole: bool) -> Array:
    """Refuse a table of one amount an id that does not hold; return the amounts, inf where one is missing.

    Raises:
        FacingsError: as `refuse`.
    """
    amount, missing = numbers(table, name)
    refuse(
        path,
        [
            (blanks(ids), f"rows without {id_name}"),
            (len(ids.codes) - len(ids.names) - int((ids.codes < 0).sum()), f"rows whose {id_name} was there before"),
            (int(missing.sum()) if whole else 0, f"rows without {name}"),
            (int((~np.isfinite(amount)).sum()), f"values of {name} that are not finite numbers"),
            (int((amount < 0).sum()), f"negative values of {name}"),
            (int((amount != np.floor(amount)).sum()) if whole else 0, f"values of {name} that are no whole numbers"),
        ],
    )
    return np.where(missing, np.inf, amount)


def matched(ids: Coded, known: Coded) -> npt.NDArray[np.int32]:
    """For each value of `ids` its row in a table whose ids are all different, -1: not there."""
    found = pc.index_in(ids.names.cast(pa.string()), known.names.cast(pa.string()))
    return np.append(found.fill_null(-1).to_numpy(zero_copy_only=False), -1).astype(np.int32)


def _count(flags: pa.ChunkedArray) -> int:
    return int(pc.sum(flags.fill_null(False)).as_py() or 0)
