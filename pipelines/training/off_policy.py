"""What a challenger's slates would have earned in the shop, from the decisions logged while the champion served.

The slates are those of the challenger as it was fit before the cut, so that it knows nothing of what the decisions led
to; each logged decision is taken again with them (`pipelines.offers.evaluation.logged`).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import polars as pl

from configs.errors import FacingsError
from configs.recipe import GateRecipe, Recipe
from configs.settings import Settings
from models.registry import load
from pipelines import snapshot
from pipelines.offers.evaluation.logged import Reward, logged
from pipelines.training.gate import Check
from pipelines.training.policy_gate import LEAST_DECISIONS, judge_model
from state.decisions import answers_between, open_decisions
from state.files import exclusive

_NAME = "logged decisions"
_MOST = 20_000


def judge_by_log(
    settings: Settings,
    artifact: Path,
    recipe: Recipe,
    rules: GateRecipe,
    since: datetime,
    until: datetime,
    *,
    value: Path | None = None,
    progress: Callable[[str], None],
) -> list[Check]:
    """Check a model that was fit before `since` by the decisions of [since, until).

    Args:
        settings: the home's.
        artifact: folder of the challenger, fit before the cut.
        recipe: the challenger's.
        rules: of the gate.
        since, until: when the decisions were made, and not by what had learned from what they led to.
        value: folder of the value model that served then; the challenger's own is trained once it has passed.
        progress: told how far it is.
    """
    few = _too_few(settings, since, until)
    if few is not None:
        return [Check.unjudged(_NAME, few)]
    with exclusive(settings.paths.snapshots / "build.lock", "build of slates", wait=True):
        built = snapshot.build_slates(
            settings.paths,
            load(artifact),
            version="try",
            recipe=recipe.name,
            candidates=recipe.slate.candidates,
            progress=progress,
            value=value,
        )
    try:
        return judge_model(_taken_again(settings, built, since, until), rules)
    except FacingsError as error:
        return [Check.unjudged(_NAME, str(error).rstrip("."))]
    finally:
        shutil.rmtree(settings.paths.snapshots / "slates" / built, ignore_errors=True)


def _taken_again(settings: Settings, slates_id: str, since: datetime, until: datetime) -> pl.DataFrame:
    """The log, by profit where costs are known, else by revenue; parted into the two kinds of decisions."""
    rewards: tuple[Reward, ...] = ("profit", "revenue")
    for reward in rewards:
        try:
            table = logged(settings, since, until, slates_id=slates_id, reward=reward, most=_MOST).table
            break
        except FacingsError:
            if reward == rewards[-1]:
                raise
    whom = pl.when(pl.col("personal")).then(pl.lit("named shoppers")).otherwise(pl.lit("nobody in particular"))
    return table.with_columns(slice=whom)


def _too_few(settings: Settings, since: datetime, until: datetime) -> str | None:
    """Why the log cannot tell: it is counted no further than needed."""
    count = 0
    for count, _ in enumerate(answers_between(open_decisions(settings.decisions_uri), since, until), start=1):
        if count >= LEAST_DECISIONS:
            return None
    return (
        f"{count:,} decisions were logged since {since:%Y-%m-%d %H:%M} UTC; fewer than {LEAST_DECISIONS:,} cannot tell"
    )
