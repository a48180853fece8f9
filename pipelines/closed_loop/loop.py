"""The closed loop: a simulated town, the product that serves it and learns from it, and what others would have earned.

Town → ingest → train → gate → serve → respond → events → ingest … for the product; for every other policy a copy of the
same town with the same shoppers, visits and luck. Nothing in it is real.
"""

from __future__ import annotations

import copy
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import yaml

from configs.errors import FacingsError
from configs.policy import PolicySettings, load_policy
from configs.settings import Settings
from pipelines.closed_loop.audit import broken
from pipelines.closed_loop.config import LoopConfig
from pipelines.closed_loop.figures import DARK, ORACLE, PRODUCT, Figures, Played, figures
from pipelines.closed_loop.policies import BASELINES, Policy
from pipelines.closed_loop.product import Answered, Product, Served, TownClock, own_settings
from pipelines.closed_loop.rules import Had, Rules
from pipelines.offers.decide import Ask
from pipelines.offers.eligibility import Placement
from pipelines.offers.experiments.assignment import in_holdout
from pipelines.simulation.config import TownConfig
from pipelines.simulation.draws import Array
from pipelines.simulation.offers import Slates
from pipelines.simulation.tables import as_events, displays
from pipelines.simulation.town import Answer, Town
from pipelines.simulation.visits import Visits
from pipelines.training.job import RetrainResult
from state.files import exclusive
from state.forgotten import pseudonym

Progress = Callable[[str], None]
Tables = dict[str, pl.DataFrame]
Start = Callable[[Settings, str, TownClock, Path], Served]
"""Starts a product on the home of these settings; told the recipe, the town's clock, and where tables are written."""
_WORK, _LOCK = "work", "loop.lock"
_CANDIDATES = 500
_WEEK = 7
_EVENING = timedelta(days=1)


@dataclass(frozen=True)
class Training:
    """One training of the product on the way."""

    day: int
    status: str
    version: str | None
    reasons: list[str]
    seconds: float


@dataclass(frozen=True)
class LoopResult:
    """What a loop came to.

    Attributes:
        config: what was played.
        figures: of all policies.
        trainings: of the product.
        fallbacks: why slates were not the shopper's own, and how many.
        broken: items of the product's slates that broke a hard rule, by rule, counted from the town's truth.
    """

    config: LoopConfig
    figures: Figures
    trainings: list[Training]
    fallbacks: dict[str, int]
    broken: dict[str, int]


def here(settings: Settings, recipe: str, clock: TownClock, folder: Path) -> Served:
    """The product in this process."""
    return Product(settings, recipe, clock, folder, _told)


def run_loop(config: LoopConfig, out: Path | None, *, progress: Progress, start: Start = here) -> LoopResult:
    """Play the days.

    Args:
        config: what is played.
        out: a folder for the product's home while it runs, which is removed at the end; what a killed run left there
            is removed at the start. None: a temporary folder.
        progress: is told each day.
        start: starts the product.

    Raises:
        FacingsError: another loop runs in this folder, or a step of the product failed.
    """
    with _work_folder(out) as folder:
        return _Loop(config, folder, progress, start).run()


@contextmanager
def _work_folder(out: Path | None) -> Iterator[Path]:
    if out is None:
        with tempfile.TemporaryDirectory(prefix="facings-loop-") as root:
            yield Path(root)
        return
    if out.exists() and not out.is_dir():
        raise FacingsError(f"{out} is a file; name a folder.")
    out.mkdir(parents=True, exist_ok=True)
    with exclusive(out / _LOCK, "closed loop"):
        folder = out / _WORK
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            (out / _LOCK).unlink(missing_ok=True)


class _Loop:
    """One run, in a folder that it has to itself."""

    def __init__(self, config: LoopConfig, folder: Path, progress: Progress, start: Start) -> None:
        self._config, self._folder, self._progress, self._start = config, folder, progress, start
        days = config.history_days + config.days
        self._town = Town.build(
            TownConfig(shoppers=config.shoppers, stores=config.stores, days=days, variant=config.variant), config.seed
        )
        self._trainings: list[Training] = []
        self._fallbacks: dict[str, int] = defaultdict(int)
        self._broken: dict[str, int] = {}

    def run(self) -> LoopResult:
        """Play it."""
        config, begins = self._config, self._config.history_days
        history, by_day = self._history()
        clock = TownClock(self._town.names.time(begins))
        settings = own_settings(self._folder / "home", config.seed)
        policy = load_policy(settings.policy)
        product = self._start(settings, self._recipe(), clock, self._folder / "tables")
        try:
            others = self._others(by_day)
            played = {name: Played.empty() for name in (PRODUCT, *(one.name for one, _ in others))}
            waiting: Tables = history
            for day in range(begins, begins + config.days):
                visits = self._town.visits(day)
                self._morning(product, clock, day, waiting)
                holdout = self._holdout(product, policy, visits)
                answered = self._serve(product, visits)
                shown = _slates(self._town, answered)
                for rule, count in broken(self._town, visits, shown, policy.maker_cap).items():
                    self._broken[rule] = self._broken.get(rule, 0) + count
                answer = self._happen(self._town, visits, shown, holdout, played[PRODUCT], answered)
                waiting = self._town.elsewhere()
                events = as_events(pl.concat([answer.events, waiting.pop("interactions")]))
                product.take(events, self._town.names.time(day) + _EVENING)
                for one, had in others:
                    self._play(one, had, day, product, policy, holdout, played[one.name])
                self._progress(self._day_told(day, played))
            return LoopResult(
                config=config,
                figures=figures(config, played, {one.name: one.knows for one, _ in others}),
                trainings=self._trainings,
                fallbacks=dict(sorted(self._fallbacks.items())),
                broken=self._broken,
            )
        finally:
            product.close()

    # ------------------------------------------------------------------ before the first day

    def _recipe(self) -> str:
        """The recipe asked for, or a quick one: most of what pays was never bought, so every item is a candidate."""
        if self._config.recipe is not None:
            return self._config.recipe
        quick = {
            "name": "loop",
            "recommender": "personal_frequency",
            "config": {"decay_days": 60},
            "slate": {"candidates": _CANDIDATES},
        }
        path = self._folder / "loop.yaml"
        path.write_text(yaml.safe_dump(quick))
        return str(path)

    def _history(self) -> tuple[Tables, list[pl.DataFrame]]:
        """Let the shop show goods and offers at random for a while; its tables, and the interactions of each day."""
        frames: dict[str, list[pl.DataFrame]] = defaultdict(list)
        days = []
        for day in range(self._config.history_days):
            tables = self._town.step(day)
            days.append(tables["interactions"])
            if day % _WEEK == 0:
                frames["promotions"].append(displays(self._town.names, day, self._town.encounters.displayed))
            for name, frame in tables.items():
                frames[name].append(frame)
        rows = sum(frame.height for frame in days)
        self._progress(f"simulated {self._config.history_days} days of history: {rows:,} interactions")
        return {name: pl.concat(parts) for name, parts in frames.items()}, days

    def _others(self, history: list[pl.DataFrame]) -> list[tuple[Policy, Had]]:
        others = []
        for kind in BASELINES:
            one = kind(copy.deepcopy(self._town), self._config.places, self._config.seed)
            had = Had(one.town)
            for day, frame in enumerate(history):
                one.see(day, frame)
                had.see(frame, played=False)
            others.append((one, had))
        return others

    # ------------------------------------------------------------------ a day of the product

    def _morning(self, product: Served, clock: TownClock, day: int, tables: Tables) -> None:
        """What came in since, the shelves and prices of this morning, and on some days a training."""
        now = self._town.names.time(day)
        clock.set(now)
        told = tables | self._town.standing()
        told["stock"] = told["stock"].with_columns(as_of=pl.lit(now, pl.Datetime("us", "UTC")))
        if day % _WEEK == 0:
            told["promotions"] = displays(self._town.names, day, self._town.encounters.displayed)
        train = self._trains(day)
        result = product.learn(f"day-{day:04d}", told, train=train)
        if result is not None:
            self._note(day, result)

    def _trains(self, day: int) -> bool:
        return (day - self._config.history_days) % self._config.retrain_every == 0

    def _note(self, day: int, result: RetrainResult) -> None:
        place = day - self._config.history_days + 1
        self._trainings.append(Training(place, result.status, result.version, result.reasons, result.seconds))
        self._progress(f"day {place}: training {result.status}, version {result.version}, {result.seconds:.0f} s")

    def _holdout(self, product: Served, policy: PolicySettings, visits: Visits) -> Array:
        """Which visits are of shoppers in the permanent holdout: the same for every policy."""
        names = self._town.names.shoppers
        return np.array(
            [in_holdout(pseudonym(names[one], product.key), policy.holdout) for one in visits.shopper], dtype=bool
        )

    def _serve(self, product: Served, visits: Visits) -> list[Answered]:
        """Ask for a slate for each visit that passes a screen, in the order of their times."""
        answered = []
        for row in self._town.visit_table(visits).iter_rows(named=True):
            if row["placement"] is None:
                answered.append(Answered("", [], None))
                continue
            placement: Placement = row["placement"]
            shopper = row["shopper_id"] if row["recognised"] else None
            ask = Ask(placement, row["store_id"], self._config.places, shopper)
            answered.append(product.answer(ask, row["event_time"], screen_id=row["screen_id"]))
            self._fallbacks[answered[-1].fallback or "none"] += 1
        return answered

    # ------------------------------------------------------------------ a day of another policy

    def _play(
        self, one: Policy, had: Had, day: int, product: Served, policy: PolicySettings, holdout: Array, played: Played
    ) -> None:
        town = one.town
        visits = town.visits(day)
        if self._trains(day):
            one.learn()
        rules = Rules(product.view, town, had, town.names.time(day), policy)
        passing = np.flatnonzero(visits.placement >= 0)
        some = visits.take(passing)
        shown = one.slates(some, some.recognised & ~holdout[passing], rules)
        items, discounts = (
            np.full((len(visits), shown.items.shape[1]), -1),
            np.zeros((len(visits), shown.items.shape[1])),
        )
        items[passing], discounts[passing] = shown.items, shown.discounts
        answer = self._happen(town, visits, Slates.of(items, discounts), holdout, played)
        rest = town.elsewhere()
        rows = pl.concat([answer.events, rest["interactions"]])
        one.see(day, rows)
        had.see(rows, played=True)

    def _happen(
        self,
        town: Town,
        visits: Visits,
        slates: Slates,
        holdout: Array,
        played: Played,
        answered: list[Answered] | None = None,
    ) -> Answer:
        """Let the visits of a day happen, and note what they brought."""
        expected = town.expected_profit(visits, slates)
        dark = town.expected_profit(visits, Slates.empty(len(visits)))
        ids = None if answered is None else [one.recommendation_id for one in answered]
        answer = town.respond(visits, slates, recommendation_ids=ids)
        played.add(visits, holdout, expected=expected, dark=dark, profit=answer.profit)
        return answer

    # ------------------------------------------------------------------ telling

    def _day_told(self, day: int, played: dict[str, Played]) -> str:
        """How the product and the oracle stand so far."""
        dark = played[DARK].total()
        ours, theirs = (played[name].total() - dark for name in (PRODUCT, ORACLE))
        place = day - self._config.history_days + 1
        share = f", {ours / theirs:.0%} of the oracle's" if theirs > 0 else ""
        return f"day {place} of {self._config.days}: {ours:,.0f} earned over dark screens so far{share}"


def _slates(town: Town, answered: list[Answered]) -> Slates:
    return town.slates([one.offers for one in answered])


def _told(line: str) -> None:
    """The jobs' own lines are too many to be told by the loop."""
