"""The deployment ledger: which version served when, and what a rollback goes back to.

Each row is one deployment. `previous` is the deployment that a rollback from it returns to, so the rows form chains:
after publish 1, publish 2, rollback, publish 3, a rollback from 3 returns to 1. A version that is scored anew goes on
under another row, from which a rollback returns to where it returned to before. The snapshot pointer is the truth of
what serves; a row is written before the pointer is switched (publishing) and settled after it (serving).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Column, Connection, DateTime, Engine, Integer, String, Table, Text, insert, select, update

from state.engine import metadata


class Action(StrEnum):
    """What made a deployment."""

    PUBLISH = "publish"
    ROLLBACK = "rollback"
    PROMOTE = "promote"
    RESCORE = "rescore"  # the same version, its odds told by newer data


class Status(StrEnum):
    """Where a deployment stands."""

    PUBLISHING = "publishing"  # written down, the pointer not known to be switched
    SERVING = "serving"  # in force now
    ENDED = "ended"  # was in force until a later one took over
    ROLLED_BACK = "rolled_back"  # was in force and was taken back
    ABANDONED = "abandoned"  # the job died before the pointer was switched


deployments = Table(
    "deployments",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at", DateTime(timezone=True), nullable=False, comment="UTC"),
    Column("action", String(16), nullable=False),
    Column("version", String(32), nullable=False, comment="version in the model registry"),
    Column("recipe", String(128), nullable=False),
    Column("snapshot_id", String(128), nullable=False),
    Column("previous", Integer, nullable=True, comment="the deployment that a rollback returns to; null: none"),
    Column("reason", Text, nullable=False),
    Column("status", String(16), nullable=False),
)


@dataclass(frozen=True)
class Deployment:
    """One row of the ledger; `at` is UTC."""

    id: int
    at: datetime
    action: Action
    version: str
    recipe: str
    snapshot_id: str
    previous: int | None
    reason: str
    status: Status

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; the time in ISO 8601."""
        return {**asdict(self), "at": self.at.isoformat(), "action": str(self.action), "status": str(self.status)}


class Ledger:
    """Reads and writes the deployments of one installation."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def history(self) -> list[Deployment]:
        """Every deployment, the newest first."""
        with self._engine.connect() as connection:
            rows = connection.execute(select(deployments).order_by(deployments.c.id.desc())).mappings()
            return [_deployment(row) for row in rows]

    def get(self, number: int) -> Deployment | None:
        """Return one deployment by its id."""
        with self._engine.connect() as connection:
            row = connection.execute(select(deployments).where(deployments.c.id == number)).mappings().first()
            return None if row is None else _deployment(row)

    def serving(self) -> Deployment | None:
        """Return the deployment in force as the ledger knows it (settle it by the pointer first)."""
        return next((row for row in self.history() if row.status is Status.SERVING), None)

    def of_snapshot(self, snapshot_id: str) -> Deployment | None:
        """Return the newest deployment of a snapshot."""
        return next((row for row in self.history() if row.snapshot_id == snapshot_id), None)

    def begun(self, deployment: Deployment) -> Deployment:
        """Return the row by which its version came into force: of one that was scored anew the row before that."""
        if deployment.action is not Action.RESCORE:
            return deployment
        return next(
            row
            for row in self.history()
            if row.id < deployment.id
            and row.version == deployment.version
            and row.action is not Action.RESCORE
            and row.status is not Status.ABANDONED
        )

    def begin(
        self,
        action: Action,
        *,
        at: datetime,
        version: str,
        recipe: str,
        snapshot_id: str,
        previous: int | None,
        reason: str,
    ) -> Deployment:
        """Write down what is about to be switched to; the newest row, if unfinished and the same, is taken up."""
        values = {
            "action": str(action),
            "version": version,
            "recipe": recipe,
            "snapshot_id": snapshot_id,
            "previous": previous,
        }
        newest = next(iter(self.history()), None)
        unfinished = newest is not None and newest.status in {Status.PUBLISHING, Status.ABANDONED}
        with self._engine.begin() as connection:
            if unfinished and newest is not None and {key: getattr(newest, key) for key in values} == values:
                number = newest.id
                again = {"at": at, "reason": reason, "status": str(Status.PUBLISHING)}
                connection.execute(update(deployments).where(deployments.c.id == number).values(again))
            else:
                row = {**values, "at": at, "reason": reason, "status": str(Status.PUBLISHING)}
                made = insert(deployments).values(row).returning(deployments.c.id)
                number = connection.execute(made).scalar_one()
        return Deployment(number, at, action, version, recipe, snapshot_id, previous, reason, status=Status.PUBLISHING)

    def settle(self, serving: int | None) -> None:
        """Make `serving` the one deployment in force, in one transaction; unfinished others are abandoned.

        The deployment that it takes over from is `rolled_back` when the new one is a rollback, else `ended`.
        """
        with self._engine.begin() as connection:
            taken_back = serving is not None and _action(connection, serving) is Action.ROLLBACK
            _move(connection, Status.SERVING, Status.ROLLED_BACK if taken_back else Status.ENDED, but=serving)
            _move(connection, Status.PUBLISHING, Status.ABANDONED, but=serving)
            if serving is not None:
                chosen = update(deployments).where(deployments.c.id == serving)
                connection.execute(chosen.values(status=str(Status.SERVING)))


def _move(connection: Connection, old: Status, new: Status, *, but: int | None) -> None:
    those = update(deployments).where(deployments.c.status == str(old))
    if but is not None:
        those = those.where(deployments.c.id != but)
    connection.execute(those.values(status=str(new)))


def _action(connection: Connection, number: int) -> Action | None:
    found = connection.execute(select(deployments.c.action).where(deployments.c.id == number)).scalar_one_or_none()
    return None if found is None else Action(found)


def _deployment(row: Mapping[Any, Any]) -> Deployment:
    at = row["at"] if row["at"].tzinfo else row["at"].replace(tzinfo=UTC)  # SQLite keeps no zone
    return Deployment(
        id=row["id"],
        at=at,
        action=Action(row["action"]),
        version=row["version"],
        recipe=row["recipe"],
        snapshot_id=row["snapshot_id"],
        previous=row["previous"],
        reason=row["reason"],
        status=Status(row["status"]),
    )
