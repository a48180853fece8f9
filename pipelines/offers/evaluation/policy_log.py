"""A log of decisions to judge a policy from: one row for each action that was taken, read and checked.

Columns: decision_id, action, propensity (of the action under the policy that took it), reward, target_probability (of
the same action under the policy in question); optional, both or neither: model_logged and model_target (what a reward
model expects of the logged action, and of the policy in question there). Rows of one decision, such as the slots of a
slate, bear the same decision_id: estimates are per row, and their intervals allow for what rows of a decision share.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from configs.errors import FacingsError, UsageError

NEEDED = ("decision_id", "action", "propensity", "reward", "target_probability")
MODEL = ("model_logged", "model_target")
_IDS = ("decision_id", "action")
_SLACK = 1e-9  # probabilities that were summed may miss 1 by rounding


def read_log(path: Path) -> pl.DataFrame:
    """Read a log from parquet or CSV.

    Returns:
        The columns of NEEDED, and of MODEL where there are such; ids are strings, all else Float64.

    Raises:
        UsageError: the file is of another kind.
        FacingsError: it is not there, cannot be read, or `check_log` refuses it.
    """
    if path.suffix not in {".csv", ".parquet"}:
        raise UsageError(f"{path} is no log: give a .parquet or .csv file.")
    if not path.is_file():
        raise FacingsError(f"There is no file {path}; give the log that `--log-out` wrote, or your own.")
    try:
        rows = pl.scan_csv(path, infer_schema=False) if path.suffix == ".csv" else pl.scan_parquet(path)
        known = rows.collect_schema().names()
        return check_log(rows.select([name for name in (*NEEDED, *MODEL) if name in known]).collect(), str(path))
    except pl.exceptions.PolarsError as error:
        raise FacingsError(f"{path} cannot be read: {' '.join(str(error).split())[:200]}.") from None


def check_log(log: pl.DataFrame, where: str = "The log") -> pl.DataFrame:
    """Return the log with ids as strings and numbers as Float64, each row of it usable.

    Raises:
        FacingsError: columns are missing, there are no rows, or rows do not hold; the sentence counts them by kind.
            Nothing is guessed or left out: an estimate from the rest would be of another policy.
    """
    missing = [name for name in NEEDED if name not in log.columns]
    if missing:
        raise FacingsError(f"{where} has no column {', '.join(missing)}; a log has {', '.join(NEEDED)}.")
    if len(lone := [name for name in MODEL if name in log.columns]) == 1:
        raise FacingsError(f"{where} has {lone[0]} without the other of {' and '.join(MODEL)}; give both or neither.")
    if log.is_empty():
        raise FacingsError(f"{where} has no rows; there is nothing to judge from.")
    numbers = [name for name in (*NEEDED, *MODEL) if name in log.columns and name not in _IDS]
    odd = [name for name in numbers if not _castable(log.schema[name])]
    if odd:
        raise FacingsError(f"{where} has no numbers in column {', '.join(odd)}.")
    log = log.select(
        *(pl.col(name).cast(pl.String) for name in _IDS),
        *(pl.col(name).cast(pl.Float64, strict=False) for name in numbers),
    )
    faults = {
        **{f"without {name}": pl.col(name).is_null() for name in _IDS},
        **{f"without a finite number as {name}": ~_finite(name) for name in numbers},
        "with a propensity that is not positive": _finite("propensity") & (pl.col("propensity") <= 0),
        "with a propensity above 1": _finite("propensity") & (pl.col("propensity") > 1 + _SLACK),
        "with a target_probability outside [0, 1]": _finite("target_probability")
        & ~pl.col("target_probability").is_between(0, 1 + _SLACK),
    }
    counts = log.select(rule.sum().alias(name) for name, rule in faults.items()).row(0, named=True)
    counts["that repeat the action of their decision"] = _repeats(log)
    found = [f"{count:,} {name}" for name, count in counts.items() if count]
    if found:
        raise FacingsError(
            f"{where} has {log.height:,} rows, of which {', '.join(found)}; correct what writes the log: "
            "nothing is left out or guessed."
        )
    return log


def _castable(kind: pl.DataType) -> bool:
    return kind.is_numeric() or kind in (pl.String, pl.Boolean, pl.Null)


def _finite(name: str) -> pl.Expr:
    return pl.col(name).is_finite().fill_null(False)


def _repeats(log: pl.DataFrame) -> int:
    """Rows beyond the first of a decision and action; the common log with one row a decision is settled at once."""
    if log["decision_id"].n_unique() == log.height:
        return 0
    return log.height - int(log.select(pl.struct(*_IDS).n_unique()).item())
