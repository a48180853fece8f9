"""Reading a shop's own database: the rows of a query in chunks, through SQLAlchemy; nothing is written there."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote

import polars as pl
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.util import immutabledict

from configs.errors import FacingsError, UsageError

CHUNK_ROWS = 100_000
_TIME = pl.Datetime("us", "UTC")
_TEXTS = (dt.time, uuid.UUID)


@contextmanager
def open_database(url: str, beside: Path) -> Iterator[Connection]:
    """Connect to a database, to read only; all that is read is of one transaction, as the database isolates it.

    Args:
        url: SQLAlchemy URL. Its password is in no message.
        beside: folder from which the relative path of an SQLite file is meant.

    Raises:
        UsageError: the URL cannot be parsed, or its driver is not installed.
        FacingsError: the database does not answer, or there is no such SQLite file.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # the latter for a port that is no number
        raise UsageError(
            "The url is not a database URL; write e.g. sqlite:///shop.db or postgresql+psycopg://reader@host/shop."
        ) from None
    try:
        engine = create_engine(_read_only(parsed, beside))
    except (NoSuchModuleError, ModuleNotFoundError) as error:
        raise UsageError(
            f"No driver for {parsed.drivername} is installed ({error}); install it beside Facings."
        ) from None
    try:
        with engine.connect().execution_options(stream_results=True, max_row_buffer=CHUNK_ROWS) as connection:
            if engine.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN")  # its driver starts none for a SELECT
            yield connection
    except DBAPIError as error:
        said = _short(error).replace(parsed.password or "\0", "…")  # a driver may show what it was given
        raise FacingsError(f"The database {shown(parsed)} does not answer: {said}; check its url.") from None
    finally:
        engine.dispose()


def read_query(connection: Connection, query: str, what: str) -> Iterator[pl.DataFrame]:
    """Yield the rows of a query in its order, at most CHUNK_ROWS at a time, and at least one frame.

    Whole numbers, fractions, texts, true or false, days and moments keep their kind; a Decimal becomes a number, a time
    of day and a UUID text, and a column whose values are of several kinds text. Moments with a zone are UTC.

    Args:
        connection: of `open_database`.
        query: one SELECT.
        what: how to name the query in a message.

    Raises:
        FacingsError: the query fails, or a column holds bytes or structures.
    """
    try:
        with connection.execute(text(query)) as result:
            names = list(result.keys()) if result.returns_rows else []
            if not names:
                raise FacingsError(f"{what} returns no rows; write a SELECT.")
            empty = True
            for rows in result.yield_per(CHUNK_ROWS).partitions():
                columns = zip(*rows, strict=True)
                series = [column_of(name, values, what) for name, values in zip(names, columns, strict=True)]
                yield _frame(names, series, what)
                empty = False
            if empty:
                yield _frame(names, [pl.Series(name, [], pl.Null) for name in names], what)
    except SQLAlchemyError as error:
        raise FacingsError(f"{what} fails: {_short(error)}; correct the query.") from None


def shown(url: URL | str) -> str:
    """The URL without its password and without its options, which may hold one."""
    return make_url(url)._replace(password=None, query=immutabledict()).render_as_string()


def _read_only(url: URL, beside: Path) -> URL:
    """An SQLite file is opened to read, so that a wrong path makes no empty one; other engines have rights for that."""
    if url.get_backend_name() != "sqlite":
        return url
    path = beside / (url.database or "")
    if not url.database or not path.is_file():
        raise FacingsError(f"There is no SQLite file {path}; correct the url.")
    return url.set(database=f"file:{quote(path.resolve().as_posix())}", query={"mode": "ro", "uri": "true"})


def _frame(names: Sequence[str], series: list[pl.Series], what: str) -> pl.DataFrame:
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise FacingsError(f"{what} names a column {twice} twice; give each a name of its own with AS.")
    return pl.DataFrame(series)


def column_of(name: str, values: Sequence[Any], what: str) -> pl.Series:
    """One column of a chunk in a type that the tables know."""
    kinds = {type(value) for value in values if value is not None}
    if Decimal in kinds:
        values, kinds = _numbers(values), {type(_number(value)) for value in values if value is not None}
    if kinds <= {int} and all(value is None or abs(value) < 2**63 for value in values):
        return pl.Series(name, values, pl.Int64 if kinds else pl.Null)
    if kinds <= {int, float}:
        whole = kinds == {int}  # beyond 64 bits a number is an id, whose digits count
        return (
            pl.Series(name, [_text(one) for one in values], pl.String)
            if whole
            else pl.Series(name, [None if one is None else float(one) for one in values], pl.Float64)
        )
    if kinds == {bool}:
        return pl.Series(name, values, pl.Boolean)
    if kinds == {dt.date}:
        return pl.Series(name, values, pl.Date)
    if kinds == {dt.datetime}:
        zoned = {value.tzinfo is not None for value in values if value is not None}
        if zoned == {False}:
            return pl.Series(name, values, pl.Datetime("us"))
        if zoned == {True}:
            return pl.Series(name, [None if one is None else one.astimezone(dt.UTC) for one in values], _TIME)
    if kinds == {list} and all(isinstance(one, str | int) for value in values for one in value or ()):
        return pl.Series(name, [None if one is None else [str(part) for part in one] for one in values])
    odd = next((kind for kind in kinds if not issubclass(kind, (str, int, float, dt.date, *_TEXTS))), None)
    if odd is not None:
        said = "bytes" if odd in (bytes, bytearray, memoryview) else f"values of type {odd.__name__}"
        raise FacingsError(
            f"{what}: column {name} holds {said}, which no table holds; select it as text or leave it out."
        )
    return pl.Series(name, [_text(one) for one in values], pl.String)


def _numbers(values: Sequence[Any]) -> list[Any]:
    return [_number(value) for value in values]


def _number(value: Any) -> Any:
    """A Decimal as a whole number where it is one, else as a fraction; other values as they are."""
    if not isinstance(value, Decimal):
        return value
    return int(value) if value.is_finite() and value == value.to_integral_value() else float(value)


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return value.isoformat() if isinstance(value, dt.date | dt.time) else str(value)


def _short(error: SQLAlchemyError) -> str:
    """What the database says, without the statement and without its values."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return " ".join(str(cause).split())[:200]
