"""Money of campaigns: what sales took, what shown offers may still take, and the prices that pace it. No shopper in it.

A sale counts once, however often and by whichever way it is told: its digest is kept beside the total, in one
transaction. Amounts are minor units, times microseconds since 1970 (UTC).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    Float,
    Integer,
    String,
    Table,
    and_,
    delete,
    func,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from state.engine import metadata

_ID = String(2100)
_sales = Table(
    "budget_sales",
    metadata,
    Column("digest", String(32), primary_key=True, comment="of the event's id"),
    Column("campaign_id", _ID, nullable=False),
)
_totals = Table(
    "budget_totals",
    metadata,
    Column("campaign_id", _ID, primary_key=True),
    Column("spent", BigInteger, nullable=False, comment="minor units"),
)
_committed = Table(
    "budget_commitments",
    metadata,
    Column("campaign_id", _ID, primary_key=True),
    Column("at", BigInteger, primary_key=True, autoincrement=False, comment="when the bucket begins; 0: all due"),
    Column("offers", BigInteger, nullable=False),
    Column("money", Float(53), nullable=False, comment="expected, minor units"),
    Column("variance", Float(53), nullable=False),
)
_prices = Table(
    "budget_prices",
    metadata,
    Column("campaign_id", _ID, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("price", Float(53), nullable=False),
    Column("committed", Float(53), nullable=False),
    Column("used", Float(53), nullable=False),
    Column("offers", BigInteger, nullable=False),
    Column("steps", Integer, nullable=False),
    Column("before", Float(53), nullable=False),
)
_traffic = Table(
    "budget_traffic",
    metadata,
    Column("day", Integer, primary_key=True, autoincrement=False, comment="days since 1970"),
    Column("hour", Integer, primary_key=True, autoincrement=False),
    Column("slates", BigInteger, nullable=False),
)
_CHUNK = 500


class Sale(NamedTuple):
    """Money that one sale took from a campaign, minor units."""

    event_id: str
    campaign_id: str
    money: int


def note_sales(connection: Connection, sales: Sequence[Sale]) -> int:
    """Count sales that were not told before, within the caller's transaction; return how many these were."""
    by_digest = {_digest(sale.event_id): sale for sale in sales}
    new: list[Sale] = []
    rows = [{"digest": digest, "campaign_id": sale.campaign_id} for digest, sale in by_digest.items()]
    for start in range(0, len(rows), _CHUNK):
        statement = _upsert(connection)(_sales).on_conflict_do_nothing().returning(_sales.c.digest)
        found = connection.execute(statement, rows[start : start + _CHUNK])
        new += [by_digest[digest] for digest in found.scalars()]
    money: dict[str, int] = {}
    for sale in new:
        money[sale.campaign_id] = money.get(sale.campaign_id, 0) + sale.money
    for campaign, much in sorted(money.items()):  # in one order, so that two writers do not wait for each other
        total = _upsert(connection)(_totals).values(campaign_id=campaign, spent=much)
        connection.execute(
            total.on_conflict_do_update(index_elements=["campaign_id"], set_={"spent": _totals.c.spent + much})
        )
    return len(new)


def add_sales(engine: Engine, sales: Sequence[Sale]) -> int:
    """Count sales as `note_sales`, in a transaction of their own."""
    with engine.begin() as connection:
        return note_sales(connection, sales)


def spent(engine: Engine) -> dict[str, int]:
    """What sales took from each campaign, minor units."""
    with engine.connect() as connection:
        return {row.campaign_id: int(row.spent) for row in connection.execute(select(_totals))}


def add_commitments(
    engine: Engine,
    rows: Mapping[tuple[str, int], tuple[int, float, float]],
    slates: Mapping[tuple[int, int], int],
) -> None:
    """Add to commitments, (campaign, bucket) → (offers, money, variance), and to slates by (day, hour)."""
    with engine.begin() as connection:
        for (campaign, at), sums in sorted(rows.items()):
            _add(connection, campaign, at, sums)
        for (day, hour), count in sorted(slates.items()):
            seen = _upsert(connection)(_traffic).values(day=day, hour=hour, slates=count)
            connection.execute(
                seen.on_conflict_do_update(index_elements=["day", "hour"], set_={"slates": _traffic.c.slates + count})
            )


def commitments(engine: Engine) -> dict[str, list[tuple[int, int, float, float]]]:
    """For each campaign its buckets: (at, offers, money, variance)."""
    found: dict[str, list[tuple[int, int, float, float]]] = {}
    with engine.connect() as connection:
        for row in connection.execute(select(_committed)):
            found.setdefault(row.campaign_id, []).append((row.at, row.offers, row.money, row.variance))
    return found


def fold_commitments(engine: Engine, before: int) -> None:
    """Keep buckets that began before that moment as one sum, at 0: by then all of them was due."""
    old = and_(_committed.c.at > 0, _committed.c.at < before)
    with engine.begin() as connection:
        columns = (_committed.c.campaign_id, _committed.c.offers, _committed.c.money, _committed.c.variance)
        sums: dict[str, tuple[int, float, float]] = {}
        for campaign, offers, money, variance in connection.execute(delete(_committed).where(old).returning(*columns)):
            held = sums.get(campaign, (0, 0.0, 0.0))
            sums[campaign] = held[0] + offers, held[1] + money, held[2] + variance
        for campaign, folded in sorted(sums.items()):
            _add(connection, campaign, 0, folded)


def _add(connection: Connection, campaign_id: str, at: int, sums: tuple[int, float, float]) -> None:
    offers, money, variance = sums
    row = _upsert(connection)(_committed).values(
        campaign_id=campaign_id, at=at, offers=offers, money=money, variance=variance
    )
    more = {
        "offers": _committed.c.offers + offers,
        "money": _committed.c.money + money,
        "variance": _committed.c.variance + variance,
    }
    connection.execute(row.on_conflict_do_update(index_elements=["campaign_id", "at"], set_=more))


def prices(engine: Engine) -> dict[str, dict[str, Any]]:
    """For each campaign its price: at, price, committed, used, offers, steps, before."""
    with engine.connect() as connection:
        rows = [dict(row) for row in connection.execute(select(_prices)).mappings()]
    return {str(row.pop("campaign_id")): row for row in rows}


def move_price(engine: Engine, campaign_id: str, before: int, to: Mapping[str, Any]) -> bool:
    """Replace a campaign's price of the moment `before` (0: it has none); false when another process was faster."""
    with engine.begin() as connection:
        if before == 0:
            first = _upsert(connection)(_prices).values(campaign_id=campaign_id, **to).on_conflict_do_nothing()
            return connection.execute(first.returning(_prices.c.campaign_id)).first() is not None
        same = and_(_prices.c.campaign_id == campaign_id, _prices.c.at == before)
        return bool(connection.execute(update(_prices).where(same).values(**to)).rowcount)


def traffic(engine: Engine, since_day: int, before_day: int) -> dict[int, int]:
    """Slates by hour of the day over the days of [since, before)."""
    query = (
        select(_traffic.c.hour, func.sum(_traffic.c.slates))
        .where(_traffic.c.day >= since_day, _traffic.c.day < before_day)
        .group_by(_traffic.c.hour)
    )
    with engine.connect() as connection:
        return {int(hour): int(count) for hour, count in connection.execute(query)}


def drop_traffic(engine: Engine, before_day: int) -> None:
    """Forget the slates of earlier days."""
    with engine.begin() as connection:
        connection.execute(delete(_traffic).where(_traffic.c.day < before_day))


def _digest(event_id: str) -> str:
    return hashlib.blake2b(event_id.encode(errors="surrogatepass"), digest_size=16).hexdigest()


def _upsert(connection: Connection) -> Any:
    return postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
