"""`facings compare`: several recipes trained on one split of the home's data, one page and one tracked run."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Sequence
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from pydantic import BaseModel, ConfigDict

from configs.clock import Clock
from configs.errors import FacingsError
from configs.settings import Settings
from models.dataset import Dataset
from pipelines.signals.lake.lake import Lake
from pipelines.training.comparison.child import Costs
from pipelines.training.comparison.examples import examples
from pipelines.training.comparison.measure import (
    ALL,
    Line,
    Measured,
    compare_lines,
    concentration,
    exposure_deciles,
    measure_all,
)
from pipelines.training.comparison.page import Content, comparison_page, plots
from pipelines.training.comparison.plan import ComparisonPlan, Entrant, entrants
from pipelines.training.comparison.training import train_all
from pipelines.training.dataset import (
    FEATURE_SERVICE,
    Moments,
    data_fingerprint,
    moments,
    signals,
    training_dataset,
    what_counts,
)
from pipelines.training.evaluate import Test, make_test
from pipelines.training.model_card import model_card
from pipelines.training.plan import code_digest, commit
from pipelines.training.plots import standalone
from pipelines.training.tracking import JOB, MAIN, METRIC, Tracking, parameters_of, write_recipe
from state.files import exclusive, write_atomic

LOCK = "compare.lock"
_PURCHASES = ("purchase",)


class RecipeResult(BaseModel):
    """The figures of one recipe; a metric that is not defined on this data is null."""

    model_config = ConfigDict(frozen=True)

    label: str
    recipe: str
    recommender: str
    fingerprint: str
    metrics: dict[str, float | None]
    costs: Costs
    exposure_by_popularity: list[float]


class ComparisonResult(BaseModel):
    """What a comparison came to."""

    model_config = ConfigDict(frozen=True)

    key: str
    data: str
    code: str
    cut: str
    end: str
    k: int
    seeds: int
    shoppers: int
    recipes: list[RecipeResult]
    lines: list[Line]
    page: str


class _Ground(NamedTuple):
    """What all recipes are judged on."""

    known: Dataset
    test: Test


def compare(
    settings: Settings,
    references: Sequence[str],
    *,
    seeds: int = 1,
    test_days: int | None = None,
    out: Path | None = None,
    clock: Clock,
    progress: Callable[[str], None],
) -> ComparisonResult:
    """Train the recipes on the same past, judge them on the same test window, and write the page.

    Args:
        settings: names the home.
        references: names or paths of recipes; `champion` is the one that serves. The first sets the split, unless
            `test_days` does, and everything is compared with it.
        seeds: train each recipe with so many seeds, counted from its own; figures are means.
        test_days: length of the test window at the end of the data.
        out: where the page goes; None: the home's reports.
        clock: dates the tracked run.
        progress: told what is being done.

    Raises:
        UsageError: fewer than two recipes, the same twice, an unknown one, or one with a wrong key.
        FacingsError: no data, an empty part of the split, or a recipe that cannot be trained on it.
    """
    asked = entrants(settings, references)
    rules = asked[0].recipe.split
    lake = Lake(settings.paths)
    split = moments(lake, rules)
    if test_days is not None:  # what was asked for holds, however little is left to learn from
        split = Moments(cut=split.end - pd.Timedelta(days=test_days), end=split.end)
    recipes = [entrant.recipe for entrant in asked]
    plan = ComparisonPlan(
        data=data_fingerprint(lake, recipes, settings),
        code=code_digest(),
        cut=split.cut.to_pydatetime(),
        end=split.end.to_pydatetime(),
        k=rules.k,
        seeds=seeds,
        entrants=asked,
    )
    with exclusive(settings.paths.runs / LOCK, "comparison"):
        ground = _ground(settings, lake, plan, split)
        _features(settings, lake, plan, split, clock, progress)
        measured = measure_all(train_all(settings, plan, ground.test.shoppers, progress=progress), ground.test)
        if data_fingerprint(lake, recipes, settings) != plan.data:
            raise FacingsError("Data was ingested while the recipes were trained; run `facings compare` again.")
        progress("compare: comparing and writing the page")
        first = asked[0].recipe
        lines = compare_lines(measured, ground.test, resamples=first.gate.resamples, seed=first.seed)
        content = _content(plan, ground, measured, lines)
        page = out or settings.paths.reports / f"compare-{plan.key}.html"
        _write(page, comparison_page(content))
        progress("compare: tracking the run")
        _track(settings, plan, content, first.gate.metric, clock)
    return _result(plan, content, measured, page)


def _ground(settings: Settings, lake: Lake, plan: ComparisonPlan, split: Moments) -> _Ground:
    """The purchases before the cut, and the test of those after it.

    Raises:
        FacingsError: one of the two is empty.
    """
    first = plan.entrants[0].recipe
    purchases = signals(lake, _PURCHASES, split.end)
    late = purchases["event_time"] >= split.cut
    for part, empty, way in (("before", late.all(), "fewer"), ("from", not late.any(), "more")):
        if empty:
            raise FacingsError(
                f"Nobody bought anything {part} {split.cut:%Y-%m-%d %H:%M} UTC, where the test window begins; give "
                f"{way} `--test-days`, or ingest more data."
            )
    plain = first.model_copy(update={"data": type(first.data)()})
    known = training_dataset(settings, lake, plain, split.cut, interactions=purchases)
    bought = what_counts(settings, lake, purchases, split.end)
    test = make_test(known, bought[bought["event_time"] >= split.cut], plan.k)
    if test.truth.empty:
        raise FacingsError("Nothing that may be recommended was bought in the test window; give more `--test-days`.")
    return _Ground(known, test)


def _features(
    settings: Settings,
    lake: Lake,
    plan: ComparisonPlan,
    split: Moments,
    clock: Clock,
    progress: Callable[[str], None],
) -> None:
    """Compute Feast's features at the cut where a recipe learns from them; the newest moment stays the one online."""
    if any(entrant.recipe.data.shopper_features for entrant in plan.entrants):
        from pipelines.signals.feature_store.materialise import materialise

        materialise(settings, lake, as_of=[split.cut, split.end], clock=clock, progress=progress)


def _content(plan: ComparisonPlan, ground: _Ground, measured: dict[str, Measured], lines: Sequence[Line]) -> Content:
    known, test = ground
    may = pd.Index(known.items["item_id"][known.recommendable])
    named = known.items.set_index("item_id")
    titles = named["title"] if "title" in named.columns else pd.Series(dtype=object)
    first = plan.entrants[0].recipe
    return Content(
        plan=plan,
        test_shoppers=len(test.shoppers),
        items=test.items,
        lines=lines,
        summaries={label: own.summary for label, own in measured.items()},
        deciles={label: exposure_deciles(own.lists, test.popularity, may) for label, own in measured.items()},
        curves={label: concentration(own.lists, test.items) for label, own in measured.items()},
        costs={label: own.costs for label, own in measured.items()},
        examples=examples(measured, test, known.interactions, known.as_of, titles, seed=first.seed),
    )


def _write(page: Path, text: str) -> None:
    try:
        write_atomic(page, text)
    except OSError as error:
        raise FacingsError(f"{page} cannot be written ({error.strerror}); choose another place.") from None


def _track(settings: Settings, plan: ComparisonPlan, content: Content, metric: str, clock: Clock) -> None:
    """One run for the comparison, one below it for each recipe. The examples stay out: they are shoppers' histories."""
    tracking = Tracking(settings)
    at_ms = int(clock.now().timestamp() * 1000)
    common = {
        "data": plan.data,
        "code": plan.code,
        "commit": commit() or "none",
        "package": package_version("facings"),
        "split": plan.sentence,
        METRIC: f"{metric}@{plan.k}",
    }
    labels = [entrant.label for entrant in plan.entrants]
    tags = {**common, JOB: "compare", "recipe": " ".join(labels)}
    parent = tracking.run_for(f"compare-{plan.key}", " · ".join(labels), tags, at_ms=at_ms)
    if tracking.finished(parent):
        return
    for place, entrant in enumerate(plan.entrants, start=1):  # a millisecond apart, so that they stay in this order
        _track_recipe(tracking, plan, content, entrant, metric, common, parent, at_ms + place)
    with tempfile.TemporaryDirectory() as scratch:
        papers = Path(scratch)
        (papers / "report.html").write_text(comparison_page(_nameless(content)))
        (papers / "plots").mkdir()
        for name, plot in plots(content).items():
            (papers / "plots" / f"{name}.svg").write_text(standalone(plot))
        tracking.log(
            parent,
            parameters={
                "recipes": " ".join(labels),
                "cut": plan.cut.isoformat(),
                "end": plan.end.isoformat(),
                "k": plan.k,
                "seeds": plan.seeds,
            },
            metrics=_finite(
                {f"{label}.{name}": value for label in labels for name, value in content.summaries[label].items()}
            ),
            tags=tags,
            artifacts={"": papers},
            at_ms=at_ms,
        )


def _track_recipe(
    tracking: Tracking,
    plan: ComparisonPlan,
    content: Content,
    entrant: Entrant,
    metric: str,
    common: dict[str, str],
    parent: str,
    at_ms: int,
) -> None:
    label, recipe, summary = entrant.label, entrant.recipe, content.summaries[entrant.label]
    features = FEATURE_SERVICE if recipe.data.shopper_features else "none"
    tags = {
        **common,
        JOB: "compare",
        "recipe": recipe.name,
        "fingerprint": recipe.fingerprint,
        "feature_service": features,
    }
    run_id = tracking.run_for(f"compare-{plan.key}-{label}", label, tags, at_ms=at_ms, parent=parent)
    shown = "recall" if metric == "recall" else "ndcg"  # the two that slices are measured by
    slices = [
        (line.scope, line.shoppers, line.mean)
        for line in content.lines
        if line.recipe == label and line.scope != ALL and line.metric == shown
    ]
    card = model_card(recipe, data=plan.data, split=plan.sentence, metrics=summary, slices=slices, metric=shown)
    with tempfile.TemporaryDirectory() as scratch:
        papers = Path(scratch)
        write_recipe(papers, recipe)
        (papers / "model-card.md").write_text(card)
        costs = {f"cost.{name}": float(value) for name, value in content.costs[label].model_dump().items()}
        by_slice = {f"{scope}.{shown}": value for scope, _, value in slices}
        tracking.log(
            run_id,
            parameters=parameters_of(recipe, cut=plan.cut.isoformat(), end=plan.end.isoformat(), seeds=plan.seeds),
            metrics=_finite({**summary, **costs, **by_slice, MAIN: summary.get(metric, math.nan)}),
            tags=tags,
            artifacts={"": papers},
            at_ms=at_ms,
        )


def _nameless(content: Content) -> Content:
    return Content(**{**content.__dict__, "examples": ()})


def _finite(values: dict[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in values.items() if math.isfinite(value)}


def _result(plan: ComparisonPlan, content: Content, measured: dict[str, Measured], page: Path) -> ComparisonResult:
    return ComparisonResult(
        key=plan.key,
        data=plan.data,
        code=plan.code,
        cut=plan.cut.isoformat(),
        end=plan.end.isoformat(),
        k=plan.k,
        seeds=plan.seeds,
        shoppers=content.test_shoppers,
        recipes=[
            RecipeResult(
                label=entrant.label,
                recipe=entrant.recipe.name,
                recommender=entrant.recipe.recommender,
                fingerprint=entrant.recipe.fingerprint,
                metrics={
                    name: value if math.isfinite(value) else None
                    for name, value in measured[entrant.label].summary.items()
                },
                costs=content.costs[entrant.label],
                exposure_by_popularity=list(content.deciles[entrant.label]),
            )
            for entrant in plan.entrants
        ],
        lines=list(content.lines),
        page=str(page),
    )
