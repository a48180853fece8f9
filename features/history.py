"""What has happened, prepared once for many moments: the tables that the feature queries read.

Inside, one private in-memory duckdb: money is counted in integer millionths and times in integer microseconds, so that
a feature does not depend on the order of rows down to the last bit.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import duckdb
import pandas as pd
import pyarrow as pa

from configs.errors import FacingsError
from features.returns import cancelled
from features.tables import CREATED_TIME, EVENT_TIME, View

Rows = pd.DataFrame | Sequence[Path]
"""A table: a frame, or the parquet files that hold it."""

Doubts = pd.DataFrame
"""Purchases that do not count: shopper_id, item_id (None: every item), since, until and known_at (UTC)."""

NOTHING: Any = None
"""What stands for a missing text."""

_NOTHING = "nothing"
_EPOCH = pd.Timestamp(0, tz="UTC")
_TEXT = "VARCHAR"
_BATCH = 10_000  # rows that `events` holds at a time
_COLUMNS: dict[str, dict[str, str]] = {
    "interactions": {
        **dict.fromkeys(
            ("shopper_id", "item_id", "event_type", "event_id", "store_id", "basket_id", "order_id", "session_id"),
            _TEXT,
        ),
        "campaign_id": _TEXT,
        "currency": _TEXT,
        **dict.fromkeys(("retail_disc", "coupon_disc", "coupon_match_disc"), "DOUBLE"),
        "dwell_seconds": "DOUBLE",
        "quantity": "DOUBLE",
        "price": "DOUBLE",
        "event_time": "TIMESTAMPTZ",
    },
    "items": {"item_id": _TEXT, "category": _TEXT},
    "promotions": {"store_id": _TEXT, "item_id": _TEXT, "starts": "TIMESTAMPTZ", "ends": "TIMESTAMPTZ"},
    "contents": {"content_id": _TEXT, "tags": "VARCHAR[]", "item_ids": "VARCHAR[]", "duration_seconds": "DOUBLE"},
    "shoppers": {"shopper_id": _TEXT, "home_store_id": _TEXT},
    "content_views": {
        "shopper_id": _TEXT,
        "content_id": _TEXT,
        "event_type": _TEXT,
        "event_time": "TIMESTAMPTZ",
        "dwell_seconds": "DOUBLE",
    },
}
_REQUIRED = {"interactions": ("shopper_id", "item_id", "event_type", "event_time")}

# What was watched stands in content_views or came as an interaction with a content's id; in both, it counts once.
# A visit is a basket, else an order, else a session, else a day in a store. A line is under promotion when it names a
# campaign, when the same shopper redeemed that item on that day, or when it was advertised in that store then.
_PREPARE = """
CREATE TABLE shared_views AS
    SELECT shopper_id, item_id AS content_id, event_type, event_time, dwell_seconds FROM interactions
    WHERE event_type IN ('content_view', 'like', 'share', 'comment')
        AND item_id IN (SELECT content_id FROM contents)
        AND (shopper_id, item_id, event_type, event_time) NOT IN (
            SELECT (shopper_id, content_id, coalesce(event_type, 'content_view'), event_time) FROM content_views
            WHERE shopper_id IS NOT NULL AND content_id IS NOT NULL AND event_time IS NOT NULL);
CREATE VIEW watching AS
    SELECT shopper_id, content_id, coalesce(event_type, 'content_view') AS event_type, event_time, dwell_seconds
    FROM content_views
    UNION ALL SELECT * FROM shared_views;
CREATE TABLE redeems AS
    SELECT shopper_id, item_id, epoch_us(event_time) AS t FROM interactions WHERE event_type = 'redeem';
CREATE TABLE lines AS
    SELECT shopper_id, item_id, store_id, epoch_us(event_time) AS t,
        coalesce('b' || basket_id, 'o' || order_id, 's' || session_id,
                 'd' || (epoch_us(event_time) // 86400000000) || '@' || coalesce(store_id, '')) AS visit_key,
        CASE WHEN coalesce(currency, $currency) = $currency AND isfinite(price) THEN price END AS paid,
        CAST(round(paid * coalesce(quantity, 1) * 1e6) AS BIGINT) AS amount,
        CASE WHEN paid > 0 THEN CAST(round(paid * 1e6) AS BIGINT) END AS unit,
        campaign_id IS NOT NULL AS in_campaign, order_id,
        CASE WHEN quantity > 0 THEN quantity ELSE 1 END AS pieces,
        greatest(retail_disc, coupon_disc, coupon_match_disc) > 0 AS discounted
    FROM interactions WHERE event_type = 'purchase';
CREATE TABLE visits AS
    SELECT *, row_number() OVER () AS visit FROM (SELECT DISTINCT shopper_id, visit_key FROM lines);
CREATE TABLE advertised AS
    SELECT DISTINCT lines.rowid AS line FROM lines JOIN promotions USING (store_id, item_id)
    WHERE lines.t >= coalesce(epoch_us(starts), 0) AND (ends IS NULL OR lines.t < epoch_us(ends));
CREATE TABLE redeemed AS
    SELECT lines.rowid AS line, min(redeems.t) AS redeemed_at FROM lines JOIN redeems
    ON lines.shopper_id = redeems.shopper_id AND lines.item_id = redeems.item_id
        AND lines.t // 86400000000 = redeems.t // 86400000000 GROUP BY lines.rowid;
CREATE TABLE doubted AS
    SELECT lines.rowid AS line, min(doubts.known_at) AS known_at FROM lines JOIN doubts
    ON lines.shopper_id = doubts.shopper_id AND coalesce(doubts.item_id, lines.item_id) = lines.item_id
        AND lines.t >= doubts.since AND lines.t < doubts.until GROUP BY lines.rowid;
CREATE TABLE purchases AS
    SELECT lines.shopper_id, lines.item_id, lines.store_id, lines.t, visits.visit, lines.amount, lines.unit,
        nullif(array_to_string(string_split(items.category, '/')[1:2], '/'), '') AS category,
        lines.in_campaign OR advertised.line IS NOT NULL AS offered, redeemed_at, discounted,
        lines.rowid AS line, lines.pieces, doubted.known_at AS doubted_at
    FROM lines JOIN visits USING (shopper_id, visit_key)
    LEFT JOIN doubted ON lines.rowid = doubted.line
    LEFT JOIN items ON lines.item_id = items.item_id
    LEFT JOIN advertised ON lines.rowid = advertised.line
    LEFT JOIN redeemed ON lines.rowid = redeemed.line;
DROP TABLE visits; DROP TABLE advertised; DROP TABLE redeemed; DROP TABLE doubted;
"""

_RETURNS = """
SELECT shopper_id, item_id, epoch_us(event_time) AS event_time, quantity, order_id FROM interactions
WHERE event_type = 'return'
"""
_RETURNED_LINES = """
SELECT shopper_id, item_id, t AS event_time, pieces AS quantity, order_id, rowid AS line, store_id, visit_key, amount
FROM lines WHERE (shopper_id, item_id) IN
    (SELECT (shopper_id, item_id) FROM interactions WHERE event_type = 'return')
"""
# What was returned or flagged by the moment does not count; of a line that was returned in part, the rest of its money.
# `level`: unit price over the median unit price of the category. `promotion_facts`: whether anything is known at all.
_MOMENT = """
CREATE OR REPLACE TABLE past AS
    WITH back AS (SELECT line, sum(quantity) AS taken FROM cancelled WHERE t < $as_of GROUP BY line),
    before AS (
        SELECT purchases.* EXCLUDE (line, pieces, doubted_at) REPLACE (
                CASE WHEN taken > 0 THEN CAST(round(amount * (1 - taken / pieces)) AS BIGINT) ELSE amount END AS amount
            ),
            ($as_of - t) / 86400e6 AS age, offered OR coalesce(redeemed_at < $as_of, false) AS promoted
        FROM purchases LEFT JOIN back USING (line)
        WHERE t < $as_of AND coalesce(doubted_at > $as_of, true) AND coalesce(taken < pieces - 1e-9, true)
    ),
    typical AS (SELECT category, median(unit) AS typical FROM before
                WHERE age <= 365 AND category IS NOT NULL GROUP BY category)
    SELECT before.*, unit / typical AS level FROM before LEFT JOIN typical USING (category);
CREATE OR REPLACE TABLE promotion_facts AS
    SELECT $advertised OR EXISTS (SELECT 1 FROM past WHERE promoted)
        OR EXISTS (SELECT 1 FROM redeems WHERE t < $as_of) AS known;
"""


class History:
    """Purchases and views of contents, ready to be asked for features at any moment.

    Args:
        interactions: shopper_id, item_id, event_type, event_time (UTC), and where known store_id, basket_id, order_id,
            session_id, quantity, price (a unit's, major units), currency, campaign_id, retail_disc, coupon_disc,
            coupon_match_disc (money taken off the line).
        items: item_id and category (path with `/`), as known now; None: no item has a category.
        promotions: store_id, item_id, starts, ends; None: nothing is known of advertising.
        contents: content_id, tags, item_ids, duration_seconds; None: no content has tags.
        content_views: shopper_id, content_id, event_type, event_time, dwell_seconds; None: none but those among the
            interactions (a content's event type with a content's id for the item's).
        shoppers: shopper_id, home_store_id, as known now; None: no home store is stated.
        doubts: shopper_id, item_id (None: all that they did), since, until, known_at (UTC): purchases that do not count
            from known_at on; None: all count.
        currency: money in another currency is not counted (a missing currency is this one).
        idle_minutes: so long without an event ends a session.

    Raises:
        FacingsError: interactions lack a column, items name one item twice, or a file cannot be read.
    """

    def __init__(
        self,
        interactions: Rows,
        items: Rows | None = None,
        *,
        promotions: Rows | None = None,
        contents: Rows | None = None,
        content_views: Rows | None = None,
        shoppers: Rows | None = None,
        doubts: Doubts | None = None,
        currency: str = "USD",
        idle_minutes: float = 30.0,
    ) -> None:
        self.idle_minutes = idle_minutes
        self._spill = tempfile.TemporaryDirectory(prefix="facings-features-", ignore_cleanup_errors=True)
        self._duck = duckdb.connect(":memory:", config={"temp_directory": self._spill.name, "memory_limit": "3GB"})
        self._advertised = promotions is not None
        self._moment: int | None = None
        given = {
            "interactions": interactions,
            "items": items,
            "promotions": promotions,
            "contents": contents,
            "content_views": content_views,
            "shoppers": shoppers,
        }
        try:
            for table, rows in given.items():
                self._take(table, rows)
            self._refuse_repeated_items()
            self._take_doubts(doubts)
            self._run(_PREPARE, {"currency": currency})
            self._take_returns()
        except duckdb.Error as error:
            self.close()
            said = str(error).strip().splitlines()[0]
            raise FacingsError(f"Features cannot be computed from these tables: {said}; ingest them again.") from error
        except BaseException:
            self.close()
            raise

    def features(self, view: View, query: str, as_of: pd.Timestamp, **parameters: Any) -> pd.DataFrame:
        """Answer `query` with what happened before `as_of`.

        Args:
            view: the table to return.
            query: SQL over `past` (purchases before as_of with `age` in days) that gives the keys and the features.
            as_of: the moment, UTC when it has no zone; events at or after it are not seen.
            parameters: further named parameters of the query.

        Returns:
            The view's columns, sorted by key, event_timestamp = created_timestamp = as_of.
        """
        return dated(view, self.table(query, as_of, **parameters), as_of)

    def table(self, query: str, as_of: pd.Timestamp, **parameters: Any) -> pd.DataFrame:
        """Answer `query` as `features` does, with the query's own columns and order."""
        self._go_to((in_utc(as_of) - _EPOCH) // pd.Timedelta(microseconds=1))
        names = {"as_of": self._moment, **parameters}
        frame: pd.DataFrame = self._duck.execute(
            query, {name: names[name] for name in names if f"${name}" in query}
        ).df()
        return frame

    def events(self, as_of: pd.Timestamp, *, days: int) -> Iterator[tuple[str, int, str, str, str]]:
        """Yield all that shoppers did in the days before `as_of`, shopper by shopper; read it before asking for more.

        Yields:
            shopper_id, time in microseconds since 1970, event_id (made of the row where it has none), event_type,
            item_id.
        """
        moment = (in_utc(as_of) - _EPOCH) // pd.Timedelta(microseconds=1)
        found = self._duck.execute(
            """
            SELECT shopper_id, epoch_us(event_time) AS t, coalesce(event_id, concat_ws(' ', t, event_type, item_id)),
                event_type, item_id
            FROM interactions WHERE epoch_us(event_time) < $as_of AND epoch_us(event_time) >= $as_of - $width
            ORDER BY shopper_id
            """,
            {"as_of": moment, "width": days * 86_400_000_000},
        )
        while rows := found.fetchmany(_BATCH):
            yield from rows

    def close(self) -> None:
        """Let go of memory and temporary files."""
        self._duck.close()
        self._spill.cleanup()

    def __enter__(self) -> Self:
        """Return this history; leaving the block closes it."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def _go_to(self, moment: int) -> None:
        if moment != self._moment:
            self._run(_MOMENT, {"as_of": moment, "advertised": self._advertised})
            self._moment = moment

    def _run(self, script: str, parameters: dict[str, Any]) -> None:
        for statement in filter(str.strip, script.split(";")):
            used = {name: value for name, value in parameters.items() if f"${name}" in statement}
            self._duck.execute(statement, used)

    def _take(self, table: str, rows: Rows | None) -> None:
        """Make a view of the columns we use, typed; columns that are not there are NULL."""
        wanted = _COLUMNS[table]
        relation = self._relation(rows, wanted)
        types = dict(zip(relation.columns, map(str, relation.types), strict=True))
        missing = [name for name in _REQUIRED.get(table, ()) if name not in types and relation.columns != [_NOTHING]]
        if missing:
            raise FacingsError(f"The table {table} has no column {missing[0]}; features cannot be computed without it.")
        columns = [_typed(name, kind, types.get(name)) for name, kind in wanted.items()]
        relation.project(", ".join(columns)).create_view(table)

    def _take_doubts(self, doubts: Doubts | None) -> None:
        columns = ["shopper_id", "item_id", "since", "until", "known_at"]
        self._duck.execute(
            "CREATE TABLE doubts (shopper_id VARCHAR, item_id VARCHAR, since BIGINT, until BIGINT, known_at BIGINT)"
        )
        if doubts is not None and len(doubts):
            times = {name: doubts[name].astype("datetime64[us, UTC]").astype("int64") for name in columns[2:]}
            given = pa.Table.from_pandas(doubts[columns].assign(**times), preserve_index=False)
            self._duck.from_arrow(given).insert_into("doubts")

    def _take_returns(self) -> None:
        """Say for each line what was taken back of it and when; only pairs with a return are looked at."""
        back = self._duck.execute(_RETURNS).df()
        self._duck.execute("CREATE TABLE cancelled (line BIGINT, t BIGINT, quantity DOUBLE)")
        if len(back):
            lines = self._duck.execute(_RETURNED_LINES).df()
            taken = cancelled(lines.drop(columns="line"), back)
            if len(taken):
                made = pd.DataFrame(
                    {
                        "line": lines["line"].to_numpy()[taken["row"].to_numpy(int)],
                        "t": taken["returned_at"].to_numpy(),
                        "quantity": taken["quantity"].to_numpy(),
                    }
                )
                self._duck.from_arrow(pa.Table.from_pandas(made, preserve_index=False)).insert_into("cancelled")
        self._duck.execute("DROP TABLE lines")

    def _relation(self, rows: Rows | None, wanted: Iterable[str]) -> Any:
        """The rows in duckdb; one without any of the columns we use, or without rows, is an empty relation."""
        if isinstance(rows, pd.DataFrame):
            present = [name for name in wanted if name in rows.columns]
            if present:
                return self._duck.from_arrow(pa.Table.from_pandas(rows[present], preserve_index=False))
        elif rows:
            return self._duck.read_parquet([str(path) for path in rows], union_by_name=True)
        return self._duck.sql(f"SELECT NULL AS {_NOTHING} WHERE false")

    def _refuse_repeated_items(self) -> None:
        """The row-count contract of the one join with items: a repeated item would count its sales twice."""
        row = self._duck.execute("SELECT item_id FROM items GROUP BY item_id HAVING count(*) > 1 LIMIT 1").fetchone()
        if row:
            raise FacingsError(f"The table items has the item {row[0]} more than once; keep one row for each item_id.")


def in_utc(moment: pd.Timestamp) -> pd.Timestamp:
    """Return `moment` in UTC; one without a zone is taken as UTC."""
    moment = pd.Timestamp(moment)
    return moment.tz_localize("UTC") if moment.tzinfo is None else moment.tz_convert("UTC")


def dated(view: View, frame: pd.DataFrame, as_of: pd.Timestamp) -> pd.DataFrame:
    """Return `frame` (keys and features) as the view's rows of the moment `as_of`, known since then."""
    moment = in_utc(as_of).as_unit("us")
    return tidy(view, frame.assign(**{EVENT_TIME: moment, CREATED_TIME: moment}))


def tidy(view: View, frame: pd.DataFrame) -> pd.DataFrame:
    """Bring `frame` into the view's exact columns, dtypes (object, datetime64[us, UTC], float64) and order of keys."""
    numbers = {feature.name: "float64" for feature in view.features if feature.kind == "number"}
    frame = frame[view.columns].astype({**numbers, **dict.fromkeys((EVENT_TIME, CREATED_TIME), "datetime64[us, UTC]")})
    for name in [*view.keys, *(feature.name for feature in view.features if feature.kind == "text")]:
        frame[name] = frame[name].astype("object").where(frame[name].notna(), NOTHING)
    return frame.sort_values([*view.keys, EVENT_TIME, CREATED_TIME], ignore_index=True)


def _typed(name: str, kind: str, found: str | None) -> str:
    """SQL that gives column `name` as `kind`; a text that should be a list is split at `|`."""
    if found is None or found.strip('"').upper() == "NULL":
        return f"CAST(NULL AS {kind}) AS {name}"
    if kind == "VARCHAR[]" and not found.endswith("[]"):
        return f"list_transform(string_split(CAST({name} AS VARCHAR), '|'), lambda word: trim(word)) AS {name}"
    # A source may carry anything under a name that only we know; the contract's own numbers are checked at ingest.
    return f"{'TRY_CAST' if kind == 'DOUBLE' else 'CAST'}({name} AS {kind}) AS {name}"
