"""What was served, decided again from its record: the same rules on the same inputs must give the same slate."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from configs.errors import FacingsError
from pipelines.offers.decide import POLICY_VERSION, Slate, decide
from pipelines.offers.log.record import told
from pipelines.offers.log.recorded import Parts, Record, read_record
from state.decisions import read_decision, read_parts


class Replay(BaseModel):
    """Whether a decision, made again, is the one that was served."""

    model_config = ConfigDict(frozen=True)

    agrees: bool | None = Field(description="null: not comparable, see `why`")
    why: str | None = Field(description="why not, or what differs")
    items: list[list[Any]] = Field(description="item_id, score, reason, price, was, offer_id, discount, propensity")
    fallback: str | None


def find_record(engine: Any, recommendation_id: str) -> Record:
    """Read a decision from the log.

    Raises:
        FacingsError: it is not there, or cannot be read.
    """
    row = read_decision(engine, recommendation_id)
    if row is None:
        raise FacingsError(
            "There is no decision of this recommendation_id: it was not made here, is older than FACINGS_DECISION_DAYS "
            "days, was erased with its shopper, or could not be logged (facings_decisions_total tells how many)."
        )
    return read_record(row, parts_of(engine))


def parts_of(engine: Any) -> Parts:
    """The parts of a log, for reading many of its records."""
    return Parts(lambda keys: read_parts(engine, keys))


def decide_again(record: Record, *, explain: bool | None = None) -> Slate:
    """The same decision on what the record holds; with or without what was refused, None: as it was asked."""
    return decide(
        record.reads,
        record.ask,
        record.asked.now,
        facts=record.facts,
        policy=record.policy,
        seed=record.seed,
        explain=record.asked.explain if explain is None else explain,
    )


def replay(record: Record) -> Replay:
    """Decide again on what the record holds, and compare all that was told of each item bit for bit."""
    served = {"items": record.answer["items"], "fallback": record.answer["fallback"]}
    if record.answer["policy_version"] != POLICY_VERSION:
        why = f"it was decided by the policy {record.answer['policy_version']}, this version has {POLICY_VERSION}"
        return Replay(agrees=None, why=why, **served)
    slate = decide_again(record)
    names = {place: item[0] for place, item in zip(record.places, record.answer["items"], strict=True)}
    again = told(slate, [names.get(one.place, f"#{one.place}") for one in slate.items])
    differs = [key for key in served if served[key] != again[key]]
    refused = {item: [str(code) for code in codes] for item, codes in slate.refused.items()}
    if record.asked.explain and refused != record.answer["refused"]:
        differs.append("refused")
    return Replay(agrees=not differs, why=f"{', '.join(differs)} differ" if differs else None, **again)
